"""Exact copies of probe windows, counted against a plain comparison of bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.cli import console
from simmc.data import preprocess
from simmc.data.experiment.experiment import count_copies
from simmc.data.experiment.load import Request, load_experiment
from simmc.data.recordings import Recording, same_recordings
from simmc.data.store import StoredSplit
from tests.data import make


def split_of(rows: list[int], kind: type = np.float64) -> StoredSplit:
    """Windows of 2 frames and 3 joints; equal numbers give equal windows."""
    made = [np.random.default_rng(row).normal(size=(3, 2, 3)) for row in rows]
    planes = np.stack(made, axis=1).astype(np.float32).astype(kind)
    return StoredSplit(tuple(planes), np.zeros(len(rows), np.int64), None, Path("x"))


@given(
    probe=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    other=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    data=st.data(),
)
def test_counts_are_those_of_a_plain_comparison(probe: list[int], other: list[int], data) -> None:
    probes = np.array(data.draw(st.lists(st.sampled_from(range(len(probe))), unique=True)), int)
    others = np.array(data.draw(st.lists(st.sampled_from(range(len(other))), unique=True)), int)
    known = {other[i] for i in others}
    for kind in (np.float64, np.float32):
        found = count_copies(split_of(probe), probes, split_of(other, kind), others)
        assert found == sum(probe[i] in known for i in probes)


def test_one_number_that_differs_makes_no_copy() -> None:
    one, other = split_of(list(range(600))), split_of(list(range(600)))
    every = np.arange(600)
    assert count_copies(one, every, other, every) == 600
    other.planes[2][7, 1, 2] = np.nextafter(other.planes[2][7, 1, 2], 9)
    assert count_copies(one, every, other, every) == 599


def test_recordings_with_the_same_frames_are_grouped() -> None:
    frames = [np.random.default_rng(i).normal(size=(4, 2, 3)) for i in range(3)]
    inner = frames[0].copy()
    inner[1, 0, 0] += 1  # the first and the last frame are those of another
    made = [frames[0], frames[1], frames[0].copy(), inner, frames[1], frames[1], frames[2]]
    made += [np.empty((0, 2, 3))] * 2
    recordings = [Recording(f"r{i}", 0, one) for i, one in enumerate(made)]
    assert same_recordings(recordings) == [["r0", "r2"], ["r1", "r4", "r5"]]


def test_preprocessing_and_loading_name_copies(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from simmc.cli import run

    make.kgbd_raw(tmp_path, {1: 3, 2: 3}, n_frames=90)
    folder = next((tmp_path / "KGBD").glob("*/Person001"))
    content = (folder / "1.txt").read_bytes()
    for walk in (2, 3):
        (folder / f"{walk}.txt").write_bytes(content)
    words = ["6", "--dataset", "KGBD", "--raw_root", str(tmp_path), "--data_root", str(tmp_path)]
    assert run("preprocess", words) == 0
    shown = capsys.readouterr().out
    names = [f"Person001/{walk}.txt" for walk in (1, 2, 3)]
    assert all(name in shown for name in names)
    data = load_experiment(
        Request(tmp_path, "KGBD", 6, "probe", part_batches="keep"), rng=np.random.default_rng(0)
    )
    copied = int((data.probe.identity == 0).sum())
    assert copied and data.copies == {"train": copied, "gallery": copied}
    console.Console().data(data)
    assert f"{copied} in train, {copied} in gallery" in capsys.readouterr().out


def test_probes_that_are_the_gallery_are_no_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.read_by_name(monkeypatch, tmp_path, {"CASIA_B": make.casia(n_frames=140)})
    preprocess.preprocess(tmp_path, tmp_path, ["CASIA_B"], 40)
    data = load_experiment(
        Request(tmp_path, "CASIA_B", 40, "nm.nm", class_sampling="off", part_batches="keep"),
        rng=np.random.default_rng(0),
    )
    assert data.same_windows and data.copies == {"train": 0}
