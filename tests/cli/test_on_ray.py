"""A training whose clustering runs on Ray, on an instance that the command starts and ends."""

import pytest

from tests.cli.conftest import metrics_of, results_of


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_run_on_ray_is_the_run_without(train, capsys):
    import ray

    flags = ("--epochs", 1, "--fidelity", "exact")
    here = train(*flags, root="here")
    assert "ray:" not in capsys.readouterr().out
    there = train(*flags, "--executor", "ray", root="there")
    assert "ray: 1 core on 1 machine" in capsys.readouterr().out
    assert not ray.is_initialized()
    assert metrics_of(here) == metrics_of(there)
    one, other = results_of(here), results_of(there)
    assert (one["settings"].pop("executor"), other["settings"].pop("executor")) == ("local", "ray")
    assert one == other


def test_an_address_where_nobody_is(train, capsys):
    train("--executor", "ray", "--address", "127.0.0.1:1", code=2)
    assert "error: --address 127.0.0.1:1: no connection" in capsys.readouterr().err
