from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simmc import cli
from simmc.cli import preprocess as command
from simmc.data import preprocess, specs, store, windows
from simmc.data.experiment import load as loaders
from simmc.data.experiment.load import Request
from simmc.data.raw import kgbd, write
from simmc.data.recordings import ReadOptions, Recording
from simmc.errors import UserError
from tests.conftest import ROOT, contents, shared_file
from tests.data import make

WALKS = {1: 5, 2: 4, 5: 5, 9: 3}


def _run(*words: object) -> int:
    return cli.run("preprocess", [str(word) for word in words])


def test_command_writes_the_set_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = make.kgbd_raw(tmp_path / "raw data", WALKS)
    assert _run(6, "--raw_root", tmp_path / "raw data", "--data_root", tmp_path / "out") == 0
    out = capsys.readouterr().out
    frames = sum(map(len, written.values()))
    row = next(line for line in out.splitlines() if line.startswith("KGBD "))
    total = sum((len(f) - 20) // 6 for f in written.values())
    assert row.split()[:-1] == [
        "KGBD",
        "4",
        "17",
        f"{frames:,}",
        f"{frames - 20 * 17:,}",
        f"{total}",
    ]
    assert "skipped IAS: no folder" in out
    for split in ("train", "gallery", "probe"):
        count = len(store.read_split(tmp_path / "out", "KGBD", 6, split))
        assert f"{split} {count}" in out


def test_windows_are_the_cut_recordings_of_the_manifest(tmp_path: Path) -> None:
    written = make.kgbd_raw(tmp_path, WALKS)
    preprocess.preprocess(tmp_path, tmp_path, ["KGBD"], 4, seed=3)
    manifest, _ = store.read_manifest(tmp_path / "KGBD" / "4")
    assert manifest is not None
    assert (manifest["seed"], manifest["length"]) == (3, 4)
    for split in ("train", "gallery", "probe"):
        found = store.read_split(tmp_path, "KGBD", 4, split)
        entries = [r for r in manifest["recordings"] if r["split"] == split]
        expected = [written[r["name"]][10:-10] for r in entries]
        assert (found.windows == windows.windows_of(expected, 4)).all()
        labels = [r["identity"] for r in entries for _ in range((r["frames"] - 20) // 4)]
        assert found.labels.tolist() == labels
        assert manifest["counts"][split]["windows"] == len(found)
    for entry in manifest["recordings"]:
        data = (tmp_path / "KGBD" / entry["name"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()


def test_same_seed_same_bytes_other_seed_other_split(tmp_path: Path) -> None:
    make.kgbd_raw(tmp_path, WALKS)
    made = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        preprocess.preprocess(tmp_path, tmp_path / name, seed=seed)
        made[name] = contents(tmp_path / name)
    assert made["a"] == made["b"]
    assert made["a"] != made["c"]


def test_split_does_not_depend_on_other_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.read_by_name(monkeypatch, tmp_path, {"KGBD": _small_kgbd(), "KS20": make.ks20()})
    preprocess.preprocess(tmp_path, tmp_path / "both")
    preprocess.preprocess(tmp_path, tmp_path / "one", ["KS20"])
    assert contents(tmp_path / "both" / "KS20") == contents(tmp_path / "one" / "KS20")


@pytest.mark.parametrize("dataset", specs.DATASETS)
def test_every_dataset_from_raw_files_to_an_experiment(tmp_path: Path, dataset: str) -> None:
    spec = specs.get(dataset)
    recordings = make.RAW[dataset]()
    getattr(write, f"write_{dataset.lower()}")(tmp_path / dataset, recordings)
    made = preprocess.preprocess(tmp_path, tmp_path / "out", length=spec.default_length).done[0]
    assert made.recordings == len(recordings)
    assert made.frames_read == sum(len(recording.frames) for recording in recordings)
    assert set(made.windows) == {specs.TRAIN, *spec.test_splits}
    frames = {recording.name: recording.frames for recording in recordings}
    for probe in spec.probes:
        found = loaders.load_experiment(
            Request(
                *(tmp_path / "out", dataset, spec.default_length, probe),
                part_batches="keep",
                root="none",
                batch_size=32,
            ),
            rng=np.random.default_rng(0),
        )
        assert found.checksum is not None
        for split in (found.train, found.probe, found.gallery):
            assert split.windows.shape[1:] == (spec.default_length, spec.n_joints, 3)
            window, place = split.windows[-1], split.recording[-1]
            source = frames[found.recordings[place]["name"]].astype(np.float32)
            steps = range(len(source) - len(window) + 1)
            assert any((source[i : i + len(window)] == window).all() for i in steps)


def _small_kgbd() -> list[Recording]:
    frames = np.random.default_rng(0).normal(size=(50, 20, 3))
    return [Recording(f"{p}/{w}", p, frames, sha256="0") for p in range(3) for w in range(4)]


def test_ks20_windows_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.read_by_name(monkeypatch, tmp_path, {"KS20": make.ks20(n_frames=30, persons=4)})

    def counts(**options: str) -> dict[str, int]:
        made = preprocess.preprocess(
            tmp_path, tmp_path / "out", ["KS20"], options=ReadOptions(**options)
        )
        return dict(made.done[0].windows)

    lengths = [30, 31, 32, 33]  # of persons 0 to 3, the same in every repetition
    dense = sum(len(s) for n in lengths for s in windows.starts(n, 6, "repeated"))
    assert counts(ks20_roles="own") == {
        "train": 5 * dense,
        "gallery": 5 * sum(n // 6 for n in lengths),
        "probe": 5 * sum(n // 6 for n in lengths),
    }
    once = counts(ks20_roles="own", dense_starts="once")
    assert once["train"] == 5 * sum(n - 5 for n in lengths)
    stride = counts(ks20_roles="own", dense_starts="stride")
    assert stride["train"] == 5 * sum((n - 6) // 3 + 1 for n in lengths)
    slip = counts()
    assert sum(slip.values()) != sum(counts(ks20_roles="own").values())


def test_ks20_by_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.read_by_name(monkeypatch, tmp_path, {"KS20": make.ks20(n_frames=30, persons=1)})
    made = preprocess.preprocess(tmp_path, tmp_path / "out", protocol="CVE").done[0]
    assert made.folder == tmp_path / "out" / "KS20_CVE" / "6"
    for view in specs.KS20_VIEWS.values():
        assert made.windows[view] == 3 * 5
        assert made.windows[specs.train_view(view)] == 3 * (2 * (30 - 6 + 1) - 3)


def test_casia_trains_at_half_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.read_by_name(monkeypatch, tmp_path, {"CASIA_B": make.casia(n_frames=101, persons=8)})
    made = preprocess.preprocess(tmp_path, tmp_path / "out", ["CAISA_B"], 40).done[0]
    # 81 frames are left: starts 0, 20, 40 in training; 0, 40 in tests
    assert made.windows == {"train": 4 * 6 * 3, "nm": 4 * 2 * 2, "bg": 4 * 2 * 2, "cl": 4 * 2 * 2}


def test_ias_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).normal(size=(50, 20, 3))
    roles = ("Training", "TestingA", "TestingB")
    make.read_by_name(
        monkeypatch, tmp_path, {"IAS": [Recording(role, 0, frames, role) for role in roles]}
    )
    for cut, left in (("asymmetric", 40), ("symmetric", 30)):
        made = preprocess.preprocess(
            tmp_path, tmp_path / "out", options=ReadOptions(ias_cut=cut, dense_starts="once")
        ).done[0]
        assert made.windows == {"train": left - 5, "A": 5, "B": 5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["7"], "length 7 fits no dataset found .KGBD: 4, 6, 8, 10, 12"),
        (["40", "--dataset", "KGBD"], "length 40: KGBD takes one of 4, 6, 8, 10, 12"),
        (["six"], "--length 'six'"),
        (["1.0s", "--dataset", "KGBD"], "length 1.0s .30 at 30 Hz.: KGBD takes one of 4, 6, 8"),
        (["--dataset", "KGBT"], "--dataset KGBT: no such dataset"),
        (["--dataset", "KS20", "IAS"], "no raw dataset found; looked for the folders /.*/IAS. Put"),
        (["--dataset", "KS20"], "no raw dataset found; looked for the folder /.*/KS20. Put"),
        (["--protocol", "CVE", "--dataset", "KGBD"], "--protocol CVE is only for KS20 and CASIA_B"),
        (["--lenth", "6"], "did you mean --length"),
        (["--seed", "-1"], "--seed"),
        (["--ks20_time", "digits"], "--ks20_time"),
    ],
)
def test_wrong_input_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    make.kgbd_raw(tmp_path, {1: 3})
    roots = ["--raw_root", tmp_path, "--data_root", tmp_path / "out"]
    assert _run(*words, *roots) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert not (tmp_path / "out").exists()
    assert re.search(message, error)


def test_missing_datasets_and_other_lengths_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.read_by_name(monkeypatch, tmp_path, {"KGBD": _small_kgbd(), "CASIA_B": make.casia()})
    outcome = preprocess.preprocess(tmp_path, tmp_path / "out", length=6)
    assert [done.dataset for done in outcome.done] == ["KGBD"]
    assert set(outcome.skipped) == {"IAS", "BIWI", "KS20", "CASIA_B"}
    assert "40, 50, 60" in outcome.skipped["CASIA_B"]


def test_a_length_in_seconds_is_as_many_frames_and_stored(tmp_path: Path) -> None:
    make.kgbd_raw(tmp_path, WALKS)
    made = [
        preprocess.preprocess(tmp_path, tmp_path / str(f), length=f).done[0] for f in (6, "0.2s")
    ]
    assert made[0].windows == made[1].windows
    assert made[1].folder.name == "6"
    manifests = [json.loads((one.folder / "manifest.json").read_text()) for one in made]
    assert [one["seconds"] for one in manifests] == [None, 0.2]
    assert {one["frame_rate"] for one in manifests} == {30}


def test_seconds_are_refused_where_the_frame_rate_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.read_by_name(monkeypatch, tmp_path, {"IAS": []})
    with pytest.raises(UserError, match="frame rate of IAS is not known"):
        preprocess.preprocess(tmp_path, tmp_path / "out", ["IAS"], length="0.2s")


def test_too_short_recordings_are_named_and_write_nothing(tmp_path: Path) -> None:
    make.kgbd_raw(tmp_path, {1: 3, 2: 3}, n_frames=18)
    with pytest.raises(UserError, match="KGBD, train: 2 recordings give no window of 6 frames"):
        preprocess.preprocess(tmp_path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.npy"))


def test_fault_in_a_file_keeps_the_previous_set(tmp_path: Path) -> None:
    make.kgbd_raw(tmp_path, WALKS)
    preprocess.preprocess(tmp_path, tmp_path / "out")
    before = contents(tmp_path / "out")
    path = tmp_path / "KGBD" / kgbd.FOLDER / "Person005" / "2.txt"
    path.write_text(path.read_text()[:-200])
    with pytest.raises(UserError, match=r"Person005/2\.txt"):
        preprocess.preprocess(tmp_path, tmp_path / "out", seed=1)
    assert contents(tmp_path / "out") == before


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_killed_run_leaves_no_set_that_loads(tmp_path: Path) -> None:
    make.kgbd_raw(tmp_path, WALKS)
    # writing the last split hangs, with everything else of the set in place
    script = (
        "import sys, time; from pathlib import Path; from simmc.data import preprocess\n"
        "preprocess.write_manifest = lambda *_: (print('now', flush=True), time.sleep(60))\n"
        "preprocess.preprocess(Path(sys.argv[1]), Path(sys.argv[1]) / 'out')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.kill()
    assert list((tmp_path / "out").rglob("*.npy"))
    with pytest.raises(UserError, match=r"does not exist; run `python Preprocess.py 6"):
        store.read_split(tmp_path / "out", "KGBD", 6, "train")
    preprocess.preprocess(tmp_path, tmp_path / "out")
    assert len(store.read_split(tmp_path / "out", "KGBD", 6, "train"))


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["6"], ["--length", "6"]),
        (["6", "--dataset", "KGBD", "IAS"], ["--length", "6", "--dataset", "KGBD,IAS"]),
        (["--dataset", "A", "B", "--seed", "1"], ["--dataset", "A,B", "--seed", "1"]),
        (["--seed", "1", "--dataset", "A"], ["--seed", "1", "--dataset", "A"]),
        ([], []),
    ],
)
def test_public_way_of_writing(words: list[str], flags: list[str]) -> None:
    assert command.flags(words) == flags


def test_switches_reach_the_manifest(tmp_path: Path) -> None:
    make.kgbd_raw(tmp_path, WALKS)
    exact = ["--fidelity", "exact", "--dense_starts", "stride"]
    assert _run(6, "--raw_root", tmp_path, "--data_root", tmp_path, *exact) == 0
    manifest = json.loads((tmp_path / "KGBD" / "6" / "manifest.json").read_text())
    assert manifest["options"] == {
        "ias_label_order": "name",
        "ias_cut": "symmetric",
        "ks20_time": "number",
        "ks20_roles": "own",
        "zero_joints": "missing",
        "dense_starts": "stride",
    }


def test_generated_walkers_are_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make.kgbd_raw(tmp_path, WALKS)
    for marked in (False, True):
        if marked:
            write.mark_generated(tmp_path / "KGBD", {})
        assert _run(6, "--raw_root", tmp_path, "--data_root", tmp_path / "out") == 0
        assert ("synthetic walkers" in capsys.readouterr().out) == marked
        manifest, _ = store.read_manifest(tmp_path / "out" / "KGBD" / "6")
        assert manifest is not None
        assert manifest["generated"] is marked


def test_length_follows_casia_when_it_is_named_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.read_by_name(monkeypatch, tmp_path, {"CASIA_B": make.casia()})
    roots = ["--raw_root", tmp_path, "--data_root", tmp_path / "out"]
    assert _run("--dataset", "CASIA_B", *roots) == 0
    assert (tmp_path / "out" / "CASIA_B_match" / "40").is_dir()


@pytest.fixture(scope="module")
def all_of_kgbd(
    kgbd_full: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, preprocess.Summary]:
    """All of KGBD at f = 6: the data root and what was made."""
    data_root = tmp_path_factory.mktemp("datasets")
    return data_root, preprocess.preprocess(kgbd_full, data_root, ["KGBD"], 6).done[0]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "kgbd_order"),
    [("parity_simmc_epoch.npz", "raw"), ("parity_himpc_epoch.npz", "mirrored")],
)
def test_windows_of_the_public_programs_are_ours(
    all_of_kgbd: tuple[Path, preprocess.Summary], file: str, kgbd_order: str
) -> None:
    # their split is another draw, but windows are cut at the same places whatever a walk's role
    with np.load(shared_file(file), allow_pickle=False) as public:
        windows, people = public["windows"], public["identity"]
    ours = loaders.load_experiment(
        Request(*(all_of_kgbd[0], "KGBD", 6, "probe"), kgbd_order=kgbd_order, part_batches="keep"),
        rng=np.random.default_rng(0),
    )
    known = {
        (window.tobytes(), person)
        for split in (ours.train, ours.probe, ours.gallery)
        for window, person in zip(split.windows, split.identity.tolist(), strict=True)
    }
    assert all(
        (window.tobytes(), person) in known
        for window, person in zip(windows, people.tolist(), strict=True)
    )


@pytest.mark.realdata
def test_all_of_kgbd(all_of_kgbd: tuple[Path, preprocess.Summary]) -> None:
    done = all_of_kgbd[1]
    assert (done.persons, done.recordings) == (164, 822)
    assert (done.frames_read, done.frames_kept) == (491_747, 475_307)
    assert sum(done.windows.values()) == 78_879
    # two gallery walks and one probe walk a person, of Person015 one each
    manifest, _ = store.read_manifest(done.folder)
    assert manifest is not None
    walks = {split: count["recordings"] for split, count in manifest["counts"].items()}
    assert walks == {"train": 331, "gallery": 327, "probe": 164}
