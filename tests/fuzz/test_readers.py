"""Damaged files end well or in a message to the user, in bounded time and memory.

Some inputs a reader in the suite, always the same ones; SIMMC_FUZZ_INPUTS=5000 draws more.
`python -m tests.fuzz.run` draws very many, in processes of their own.
"""

import contextlib
import os
import subprocess

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from simmc.errors import UserError
from tests.fuzz import mutate
from tests.fuzz.engine import READERS, REFUSED, VALID, Case, limited, outcome

INPUTS = int(os.environ.get("SIMMC_FUZZ_INPUTS", "25"))


@pytest.fixture(scope="module", params=READERS)
def case(request, tmp_path_factory):
    """The valid files of one reader."""
    return Case(READERS[request.param], tmp_path_factory.mktemp("fuzz") / "files")


def test_valid_files_are_read(case):
    case.restore()
    case.reader.call(case.here)
    case.dirty = True


def test_damaged_files(case):
    @settings(
        max_examples=INPUTS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def check(rng):
        kind, said = outcome(case, rng)
        assert kind in (VALID, REFUSED), f"{kind}: {said}"

    check()


@pytest.mark.parametrize("form", mutate.FORMATS)
def test_every_mutator_takes_anything(form):
    from random import Random

    for seed in range(60):
        rng = Random(seed)
        data = rng.choice((b"", b"\0", b"[1]", *mutate.TOKENS))
        assert isinstance(mutate.mutate(data, form, rng), bytes)


def test_the_guards_see_what_they_name(tmp_path):
    """A reader that raises, waits, or takes memory is found out."""

    def build(root):
        root.joinpath("a.bin").write_bytes(b"12345")

    def raises(root):
        raise KeyError("x")

    def waits(root):
        while True:
            pass

    def takes(root):
        bytearray(300 << 20)

    def runs(root):
        eval("1")

    def starts(root):
        with contextlib.suppress(OSError):
            subprocess.run(["no-such-program"])

    def writes(root):
        (root.parent.parent / "elsewhere").mkdir()

    def refuses(root):
        raise UserError("a.bin: damaged")

    def hides(root):
        raise UserError(f"{root}: a file is damaged")

    from random import Random

    from tests.fuzz import engine
    from tests.fuzz.readers import Reader

    found = {}
    for call in (raises, takes, runs, starts, writes, refuses, hides, build):
        made = Case(Reader(build, call, {"a.bin": "bytes"}), tmp_path / call.__name__)
        found[call.__name__] = outcome(made, Random(5))[0]
    assert found["raises"].startswith("KeyError")
    assert (found["refuses"], found["build"]) == (REFUSED, VALID)
    assert found["hides"].startswith("unnamed")
    assert found["takes"] == "memory"
    assert found["runs"].startswith("ran exec")
    assert found["starts"].startswith("ran subprocess.Popen")
    assert found["writes"].startswith("os.mkdir of")
    with pytest.raises(engine.Overdue), limited(0.05):
        waits(None)
