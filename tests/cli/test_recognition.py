"""`simmc recognition`: what it says of a model's size, and of runs that are no source models."""

import re

import pytest

from simmc.cli.console import CONSOLE
from simmc.methods.registry import METHODS
from tests.cli.conftest import run

# values that a head judges of 20 joints and six frames, as the papers' presets have the encoders
WIDTHS = {("AGE", "ap"): 768, ("AGE", "sc"): 6 * 768, ("SM-SGE", "prefix"): 4 * 256}


def said_of(capsys, *words):
    assert run("recognition", "--dataset", "IAS", "--probe", "A", *words, "--model_size") == 0
    text = capsys.readouterr().out
    pattern = r"([\d,]+) parameters .*, and ([\d,]+) for each .* itself has ([\d,]+), (.*)"
    *counts, verb = re.search(pattern, text).groups()
    return [int(n.replace(",", "")) for n in counts], verb


@pytest.mark.parametrize(("source", "views"), WIDTHS)
@pytest.mark.parametrize("hidden", [7, 0])
def test_the_size_of_a_head(source, views, hidden, capsys):
    """Two layers: width x hidden + hidden, and hidden + 1 for each identity."""
    width = WIDTHS[source, views]
    units = hidden or width
    words = ["--source", source, "--views", views, "--hidden", hidden]
    (head, each, below), verb = said_of(capsys, *words, "--train", "head")
    assert (head, each, verb) == (width * units + units, units + 1, "not trained")
    (whole, *same), verb = said_of(capsys, *words, "--train", "all")
    assert (whole, same, verb) == (head + below, [each, below], "all trained")


def test_the_size_follows_the_run_that_is_built_upon(prepared, tmp_path, capsys):
    where = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--model_root", tmp_path]
    small = ["--H", 8, "--epochs", 0, "--batch_size", 16, "--threads", 1]
    assert run("sgela", *where, *small) == 0
    made = (tmp_path / "KGBD" / "probe" / "latest_sgela").read_text().strip()
    path = tmp_path / "KGBD" / "probe" / made
    words = ["--source", "SGELA", "--views", "ap", "--hidden", 5, "--encoder_run", path]
    capsys.readouterr()
    (head, each, _), _ = said_of(capsys, *words)
    assert (head, each) == (3 * 8 * 5 + 5, 6)
    # a run of something else is refused with what to do
    assert run("recognition", *where, "--source", "AGE", "--encoder_run", path) == 2
    err = capsys.readouterr().err
    assert "simmc sgela, not of AGE" in err and "simmc age with --encoder_run" in err


@pytest.mark.parametrize("score", ["classify", "match"])
def test_a_run_says_which_protocols_it_serves(score, capsys):
    method = METHODS["recognition"]
    protocols = method.protocols(method.settings.of(score=score))
    CONSOLE.stage(protocols, method.explained)
    said = capsys.readouterr().out
    assert re.findall(r"(?m)^  ([\w-]+) protocol: ", said) == [
        p.replace("_", "-") for p in protocols
    ]
    assert "the the" not in said
