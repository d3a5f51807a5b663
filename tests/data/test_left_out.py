"""What preprocessing does not use, fills or cannot check: counted in the manifest and in text."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simmc import cli
from simmc.data import preprocess, specs, store
from simmc.data.raw import biwi, kgbd, write
from simmc.data.recordings import ReadOptions, Recording
from tests.data import make


def _biwi(root: Path, people: dict[int, np.ndarray], lost: dict[str, np.ndarray]) -> None:
    recordings = [
        Recording(f"{part}/{person:03d}", person, frames, role)
        for role, part in biwi.SETS.items()
        for person, frames in people.items()
    ]
    write.write_biwi(root / "BIWI", recordings, lost)


def test_probes_whose_person_has_no_gallery_window_are_named(tmp_path, capsys):
    frames = np.random.default_rng(0).uniform(-1, 1, (40, 20, 3))
    _biwi(tmp_path, {1: frames, 2: frames + 1}, {"Testing/Still/002": np.zeros((40, 20), bool)})
    assert (
        cli.run(
            "preprocess", ["6", "--raw_root", str(tmp_path), "--data_root", str(tmp_path / "out")]
        )
        == 0
    )
    out = capsys.readouterr().out
    manifest, _ = store.read_manifest(tmp_path / "out" / "BIWI" / "6")
    assert manifest is not None
    left = manifest["left_out"]
    assert left["counts"] == {"lost_frames": 40}
    assert left["without_windows"] == {
        "Still": {"recordings": ["Testing/Still/002"], "persons": [2]}
    }
    assert left["unmatched_probes"] == {"Walking": [2]}
    assert "Testing/Still/002" in out
    assert "probe Walking: 1 person has no window in the gallery" in out


def test_recordings_without_a_window_or_a_split_are_named(tmp_path):
    made = make.ks20(n_frames=30, persons=3)
    cut = made[0].name
    write.write_ks20(
        tmp_path / "KS20", [replace(r, frames=r.frames[:3]) if r.name == cut else r for r in made]
    )
    for roles, lost in (("own", []), ("slip", [r.name for r in made if "gc3_body3" in r.name])):
        done = preprocess.preprocess(
            tmp_path, tmp_path / "out", options=ReadOptions(ks20_roles=roles)
        ).done[0]
        assert sorted(done.left_out["recordings_without_split"]) == sorted(lost)
        (entry,) = done.left_out["without_windows"].values()
        assert entry == {"recordings": [cut], "persons": []}
        assert any(cut in note for note in done.notes)


@pytest.mark.parametrize("dataset", specs.DATASETS)
def test_files_that_are_not_read_are_counted(tmp_path, dataset):
    root = tmp_path / dataset
    getattr(write, f"write_{dataset.lower()}")(root, make.RAW[dataset]())
    write.mark_generated(root, {})
    (root / ".hidden").write_text("")
    odd = [root / "notes.txt", root / "more" / "0_SKEL.TXT", root / "extra" / "1.DAT", root / "x"]
    folder = root / kgbd.FOLDER if dataset == "KGBD" else root / "old"
    odd += [folder / "person001" / "1.txt", folder / "Person001" / "deep" / "7.txt"]
    for path in odd:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    length = specs.get(dataset).default_length
    done = preprocess.preprocess(tmp_path, tmp_path / "out", length=length).done[0]
    found = done.left_out["unused_files"]
    assert {kind: entry["files"] for kind, entry in found.items()} == {".txt": 4, ".dat": 1, "": 1}
    assert found[".dat"]["first"] == "extra/1.DAT"
    assert any("6 files are not used" in note and "extra/1.DAT" in note for note in done.notes)


@pytest.mark.parametrize("dataset", specs.DATASETS)
def test_zeros_and_nan_are_joints_not_seen_for_every_reader(tmp_path, dataset):
    made = [replace(r, frames=r.frames / 4) for r in make.RAW[dataset]()]
    place = next(i for i, r in enumerate(made) if r.identity == made[-1].identity)
    intact = made[place].frames
    frames = {mark: intact.copy() for mark in (0.0, np.nan)}
    for mark, marked in frames.items():
        marked[20, 3] = mark  # seen before
        marked[12:14] = mark  # no joint seen
        marked[:, 5] = mark  # never seen
    expected = np.delete(intact, [12, 13], axis=0)
    expected[18, 3] = expected[17, 3]
    rest = np.delete(np.arange(intact.shape[1]), 5)
    seen = expected[:, rest].copy()
    seen[18, 3] = np.nan  # does not count in the mean
    expected[:, 5] = np.nanmean(seen, axis=1)
    results = {}
    for mark, marked in frames.items():
        root = tmp_path / f"{mark}"
        recordings = [replace(r, frames=marked) if i == place else r for i, r in enumerate(made)]
        getattr(write, f"write_{dataset.lower()}")(root / dataset, recordings)
        spec = specs.get(dataset)
        for zeros in ("keep", "missing"):
            options = ReadOptions(zero_joints=zeros)
            done = preprocess.preprocess(
                *(root, root / zeros, [dataset], spec.default_length), options=options
            ).done[0]
            kept = _stored(root / zeros, dataset, spec.default_length, made[place].name)
            results[mark, zeros] = kept
            counts = done.left_out["counts"]
            name = "zero_joints" if mark == 0 else "nan_joints"
            joints = len(intact) + 2 * (intact.shape[1] - 1) + 1
            assert counts[name] == joints
            filled = mark != 0 or zeros == "missing"
            assert counts.get("unseen_frames", 0) == (2 if filled else 0)
            assert counts.get("filled_joints", 0) == (len(intact) - 1 if filled else 0)
            assert any(f"{joints:,} joints" in note for note in done.notes)
    for (mark, zeros), found in results.items():
        source = frames[0.0] if (mark, zeros) == (0.0, "keep") else expected
        starts = range(len(source) - found.shape[1] + 1)
        possible = {source[i : i + found.shape[1]].round(9).tobytes() for i in starts}
        assert len(found)
        assert {window.round(9).tobytes() for window in found} <= possible


def _stored(data_root: Path, dataset: str, length: int, name: str) -> np.ndarray:
    """The windows of one recording."""
    spec = specs.get(dataset)
    folder = store.dataset_folder(data_root, spec, length)
    manifest, _ = store.read_manifest(folder)
    assert manifest is not None
    entries = manifest["recordings"]
    place = next(i for i, entry in enumerate(entries) if entry["name"] == name)
    found = store.read_split(data_root, dataset, length, entries[place]["split"])
    assert found.recording is not None
    return np.asarray(found.windows[found.recording == place])


def test_bodies_that_cannot_be_in_metres_are_named(tmp_path):
    made = make.ks20(persons=3)
    for factor, kind in ((0.01, "small_frames"), (50.0, "tall_frames")):
        root = tmp_path / kind
        write.write_ks20(root / "KS20", [replace(r, frames=r.frames * factor) for r in made])
        done = preprocess.preprocess(root, root / "out").done[0]
        assert done.left_out["counts"] == {kind: done.frames_read}
        assert any("metres" in note for note in done.notes)


def test_a_recording_of_which_no_frame_is_seen_gives_no_window(tmp_path):
    made = make.kgbd(persons=2)
    made[0] = replace(made[0], frames=np.zeros_like(made[0].frames))
    write.write_kgbd(tmp_path / "KGBD", made)
    options = ReadOptions(zero_joints="missing")
    done = preprocess.preprocess(tmp_path, tmp_path / "out", options=options).done[0]
    (entry,) = done.left_out["without_windows"].values()
    assert entry["recordings"] == [made[0].name]
