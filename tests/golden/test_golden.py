"""Every method and scoring command gives the numbers of the golden record (see make.py)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.golden import make, values
from tests.golden.pieces import Data

AGAIN = (
    "\nIf the change is meant, look at it with make.py --full before and after, and write the "
    "record anew: python tests/golden/make.py"
)
# pieces with SGELA or AGE, whose initial weights are of torch's trunc_normal_: 2.6 draws others
DRAWN_OTHERWISE = ("age", "sgela", "pictures")
TOLERANCE = 1e-4  # of losses and weights, where processor or libraries round otherwise


@cache
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(make.RECORD.read_text())
    return found


def torch_version() -> str:
    return str(values.machine()["torch"])


@cache
def rounds_alike() -> bool:
    return record()["machine"] == values.machine()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("golden"))


def test_the_record_has_every_piece() -> None:
    assert tuple(record()["pieces"]) == make.NAMES
    assert record()["versions"] == make.versions()


def test_other_numbers_need_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    old, name = record(), "himpc-KS20-exact"
    other = old["pieces"] | {name: {}, "simmc_variants": {}, "sizes": {}}
    assert make.not_raised(old, old["pieces"]) == []
    assert make.not_raised(old, other) == ["himpc", "simmc"]
    monkeypatch.setitem(old, "versions", old["versions"] | {"simmc": 0})
    assert make.not_raised(old, other) == ["himpc"]


@pytest.mark.parametrize("name", make.NAMES)
def test_the_numbers_are_those_of_the_record(name: str, data: Data, tmp_path: Path) -> None:
    old = record()["pieces"][name]
    new = values.shortened(make.piece(name, data, tmp_path))
    if rounds_alike():
        found = values.differences(old, new)
        assert not found, "\n".join([*found, AGAIN])
        return
    assert old.keys() <= new.keys()
    far = far_apart(old, new)
    if far and name.startswith(DRAWN_OTHERWISE) and record()["machine"]["torch"] != torch_version():
        pytest.skip(f"torch {torch_version()} draws other initial weights: {far[0]}")
    assert not far, "\n".join([*far, AGAIN])
    pytest.skip(f"compared to {TOLERANCE:g} only: this machine rounds otherwise than the record's")


def far_apart(old: values.Record, new: values.Record) -> list[str]:
    """Losses and weights that another rounding does not explain; top-1 and mAP move by steps."""
    return [
        f"{file}: {key}: {plain[key]} -> {new[file].get(key)}"
        for file, plain in old.items()
        for key, apart in values.distances(plain, new[file]).items()
        if not key.endswith(("top1", "mAP")) and not apart <= TOLERANCE
    ]
