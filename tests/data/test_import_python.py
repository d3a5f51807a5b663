"""`simmc.import_recordings`: arrays and data frames in memory."""

from __future__ import annotations

import numpy as np
import pytest

import simmc
from simmc.data import store
from simmc.errors import UserError
from tests.data.imports import JOINTS, content, frames


class Frame:
    """What pandas and polars frames share."""

    def __init__(self, table) -> None:
        self.table = table

    def __arrow_c_stream__(self, schema=None):
        return self.table.__arrow_c_stream__(schema)


def test_lists_of_arrays_and_frames(tmp_path):
    pa = pytest.importorskip("pyarrow")
    xyz = [frames(n, 13 + n) for n in range(9)]
    who = ["ann", "ben", "ida"] * 3
    arrays = {"joints": JOINTS, "person": who, "recording": [f"r{n}" for n in range(9)]}
    simmc.import_recordings(xyz, tmp_path / "Arrays", **arrays)
    names = [f"{joint}_{axis}" for joint in JOINTS for axis in "xyz"]
    tables = [
        Frame(
            pa.table(
                {"subject": [w] * len(x), **dict(zip(names, x.reshape(-1, 15).T, strict=True))}
            )
        )
        for x, w in zip(xyz, who, strict=True)
    ]
    simmc.import_recordings(
        tables, tmp_path / "Tables", person="subject", recording=arrays["recording"]
    )
    for split in ("train", "gallery", "probe"):
        a, b = (store.read_split(tmp_path, n, 6, split) for n in ("Arrays", "Tables"))
        assert np.array_equal(a.windows, b.windows) and np.array_equal(a.labels, b.labels)
    assert content(tmp_path / "Arrays")["persons"] == {"ann": 0, "ben": 1, "ida": 2}
    with pytest.raises(UserError, match="2 values for 9"):
        simmc.import_recordings(xyz, tmp_path / "X", person=["a", "b"])
    with pytest.raises(UserError, match="array of numbers"):
        simmc.import_recordings([*xyz, "text"], tmp_path / "X")


def test_labels_below_zero_where_nobody_is_known(tmp_path):
    simmc.import_recordings([frames(n) for n in range(6)], tmp_path / "Mine", joints=JOINTS)
    for split in ("train", "gallery", "probe"):
        assert (store.read_split(tmp_path, "Mine", 6, split).labels == -1).all()


def test_units_axes_and_pixels(tmp_path):
    xyz = [frames(n) for n in range(9)]
    turned = [1000 * np.stack([x[..., 0], -x[..., 2], x[..., 1]], -1) for x in xyz]
    one = simmc.import_recordings(xyz, tmp_path / "A", joints=JOINTS)
    two = simmc.import_recordings(turned, tmp_path / "B", joints=JOINTS, unit="mm", up="z")
    for split in ("train", "gallery", "probe"):
        a, b = (store.read_split(tmp_path, n, 6, split).windows for n in "AB")
        assert np.allclose(a, b, atol=1e-12)
    pixels = [300 * x[..., :2] * (1, -1) for x in xyz]
    simmc.import_recordings(pixels, tmp_path / "C", joints=JOINTS, unit="px", up="-y")
    high = np.ptp(store.read_split(tmp_path, "C", 6, "train").windows[..., 1], axis=-1)
    assert 1.4 < np.median(high) < 2 and content(tmp_path / "C")["given"]["dimensions"] == 2
    assert one.name == two.name == "6"
