"""Whatever the user gets wrong: a message with what, where and what to do next; nothing is lost.

Each test calls a command as the command line does. The single rules are tested beside their code.
"""

import errno
import io
import os
import shutil
import signal

import numpy as np
import pytest
import torch

from simmc.data import specs
from simmc.data.store import dataset_folder, file_path, split_folder
from simmc.methods.simmc import SimMC
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from tests.cli.conftest import QUICK, assert_same_run, contents, run

# flags and values


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epz", 1], ["--epz", "did you mean --eps?"]),
        (["--batchsize", 1], ["--batchsize", "did you mean --batch_size?"]),
        (["twelve"], ["'twelve'", "--name value", "--help"]),
        (["--eps"], ["--eps", "--help"]),
        (["--dataset", "KGDB"], ["KGDB", "KGBD"]),
        (["--dataset", "KGBD", "--probe", "A"], ["--probe 'A'", "KGBD", "allowed: probe"]),
        (["--dataset", "IAS"], ["--probe 'probe'", "allowed: A, B"]),
        (["--dataset", "CASIA_B", "--probe_type", "nm.cl"], ["--probe_type 'nm.cl'", "nm.nm"]),
        (["--dataset", "KGBD", "--probe_type", "nm.nm"], ["--probe_type nm.nm", "CASIA_B"]),
        (["--probe_type", "0.45"], ["--probe_type '0.45'", "0.30"]),
        (["--probe", "0.30", "--probe_type", "0.60"], ["--probe 0.30", "--probe_type 0.60"]),
        (["--mode", "Test"], ["--mode 'Test'", "Train or Eval"]),
        (["--fidelity", "paper"], ["--fidelity 'paper'", "released or exact"]),
        (["--length", "six"], ["--length 'six'", "whole number"]),
        (["--length", 0], ["--length '0'", "1 or more"]),
        (["--seed", -1], ["--seed '-1'", "0"]),
        (["--mask_x", 6], ["--mask_x 6", "--length 6", "0 to 5"]),
        (["--mask_x_2", 9], ["--mask_x_2 9", "0 to 5"]),
        (["--q", 3], ["--q '3'", "from 1 to 2"]),
        (["--q", 1], ["--q 1", "--lambda 0"]),
        (["--lambda", 1.5], ["--lambda '1.5'", "from 0 to 1"]),
        (["--t", 0], ["--t '0'", "above 0"]),
        (["--eps", 1], ["--eps '1'", "strictly between 0 and 1"]),
        (["--min_samples", 0], ["--min_samples '0'", "1 or more"]),
        (["--k1", 4, "--k2", 5], ["--k2 5", "--k1 4"]),
        (["--lr", "nan"], ["--lr 'nan'", "above 0"]),
        (["--batch_size", 0], ["--batch_size '0'", "1 or more"]),
        (["--epochs", -1], ["--epochs '-1'", "0 or more"]),
        (["--patience", 0], ["--patience '0'", "1 or more"]),
        (["--encoder", "lstm"], ["--encoder 'lstm'", "mlp or none"]),
        (["--mask_replay", "batch"], ["--mask_replay 'batch'", "index or window"]),
        (["--root", "knee"], ["--root 'knee'", "hip_center"]),
        (["--kgbd_order", "upside"], ["--kgbd_order 'upside'", "mirrored"]),
        (["--save_model", "maybe"], ["--save_model 'maybe'", "0 or 1"]),
        (["--threads", 0], ["--threads '0'", "from 1 to 1024"]),
        (["--threads", 100000], ["--threads '100000'", "from 1 to 1024"]),
        (["--gpu", "first"], ["--gpu", "'first'", "such as 0"]),
        (["--device", "tpu"], ["--device 'tpu'", "cuda"]),
        (["--config", "nowhere.toml"], ["--config", "nowhere.toml"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_flags(words, said, refused, tmp_path):
    refused("simmc", *words, "--model_root", tmp_path / "runs", said=said)
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_insisted_on(refused):
    refused("simmc", "--device", "cuda", said=["--device cuda", "--device cpu"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("eps = ", "not valid TOML"),
        ("epz = 0.5", ["'epz'", "did you mean eps?"]),
        ("eps = 2", ["eps = 2", "strictly between 0 and 1"]),
        ("t = 0.1\ntau = 0.2", "a second time"),
    ],
)
def test_a_file_of_settings(text, said, refused, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    said = [said] if isinstance(said, str) else said
    refused("simmc", "--config", path, said=[path, *said])


@pytest.mark.parametrize(
    ("flag", "name"), [("--run", "../elsewhere"), ("--run", "latest"), ("--save_flag", "a/b")]
)
def test_names_of_runs(flag, name, prepared, refused, tmp_path):
    words = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--batch_size", 8]
    refused("simmc", *words, "--model_root", tmp_path, flag, name, said=[flag, name])
    assert not (tmp_path / "elsewhere").exists()


# prepared data


@pytest.fixture
def windows(prepared, tmp_path):
    """A copy of the windows of KGBD, to be damaged."""
    shutil.copytree(prepared("KGBD") / "KGBD", tmp_path / "windows" / "KGBD")
    return tmp_path / "windows"


@pytest.fixture
def refused_training(refused, windows, tmp_path):
    """A training on the damaged windows must be refused before it leaves anything behind."""

    def check(*flags, said):
        words = ["--dataset", "KGBD", "--data_root", windows, "--model_root", tmp_path / "runs"]
        message = refused("simmc", *words, *QUICK, "--batch_size", 8, *flags, said=said)
        assert not (tmp_path / "runs").exists()
        return message

    return check


def data_file(root, split, what):
    """A file of a split of KGBD at the length 6."""
    spec = specs.get("KGBD")
    folder = split_folder(dataset_folder(root, spec, 6), spec, split)
    return file_path(folder, spec, 6, split, what)


def changed(path, change):
    np.save(path, change(np.load(path)))


def test_data_that_is_not_there(refused, tmp_path):
    words = ["--dataset", "KGBD", "--data_root", tmp_path / "none"]
    said = [tmp_path / "none", "Preprocess.py 6 --dataset KGBD", "--data_root"]
    refused("simmc", *words, said=said)
    refused("simmc", *words, "--mode", "Eval", said=["there is no run", "--mode Train"])


def test_a_length_that_was_not_prepared(refused_training):
    refused_training("--length", 8, said=["Preprocess.py 8 --dataset KGBD"])


def test_views_that_were_not_prepared(prepared, refused, tmp_path):
    data = tmp_path / "windows"
    shutil.copytree(prepared("KS20") / "KS20", data / "KS20")
    words = ["--probe", "0.30", "--data_root", data]
    refused("simmc", *words, said="Preprocess.py 6 --dataset KS20 --protocol CVE")


@pytest.mark.parametrize("split", ["train", "probe", "gallery"])
@pytest.mark.parametrize("what", ["x", "z", "frame_id"])
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_truncated_file(split, what, share, windows, refused_training):
    path = data_file(windows, split, what)
    os.truncate(path, int(path.stat().st_size * share))
    refused_training(said=[path, "Preprocess.py"])


@pytest.mark.parametrize("what", ["y", "ids"])
def test_a_file_that_is_missing(what, windows, refused_training):
    path = data_file(windows, "probe", what)
    path.unlink()
    data_file(windows, "probe", "frame_id").unlink()
    refused_training(said=[path, "missing", "Preprocess.py"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("split", "axis"), [("train", "x"), ("probe", "y"), ("gallery", "z")])
def test_numbers_that_are_none(bad, split, axis, windows, refused_training):
    path = data_file(windows, split, axis)

    def spoil(values):
        values[0, 3] = bad
        return values

    if split == "train":  # sampling may leave a window out, so spoil one frame of each

        def spoil(values):
            values[::6, 3] = bad
            return values

    changed(path, spoil)
    refused_training(said=[path.parent, f"the {axis} coordinates", "not finite", "Preprocess.py"])


def test_another_number_of_joints(windows, refused_training):
    for axis in "xyz":
        changed(data_file(windows, "train", axis), lambda values: values[:, :19])
    refused_training(said=[data_file(windows, "train", "x"), "20", "19"])


def test_frames_that_fill_no_whole_window(windows, refused_training):
    path = data_file(windows, "train", "x")
    changed(path, lambda values: values[:-1])
    refused_training(said=[path, "Preprocess.py"])


def test_fewer_labels_than_windows(windows, refused_training):
    path = data_file(windows, "probe", "frame_id")
    changed(path, lambda labels: labels[:-1])
    refused_training(said=[path, "Preprocess.py"])


def test_an_empty_probe(windows, refused_training):
    for what in ("x", "y", "z", "frame_id"):
        changed(data_file(windows, "probe", what), lambda values: values[:0])
    refused_training(said=[data_file(windows, "probe", "x"), "holds no window"])


def test_a_probe_smaller_than_a_batch(refused_training, windows):
    said = ["--batch_size 5000", "--part_batches keep", windows / "KGBD"]
    refused_training("--batch_size", 5000, said=said)


class Evil:
    """On unpickling, makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("what", ["ids", "frame_id"])
def test_a_pickle_that_would_run_code(what, windows, refused_training, tmp_path):
    marker = tmp_path / "was run"
    data_file(windows, "train", "frame_id").unlink()
    path = data_file(windows, "train", what)
    np.save(path, np.array({0: [Evil(marker)]} if what == "ids" else [Evil(marker)], dtype=object))
    refused_training(said=[path, "do not trust"])
    assert not marker.exists()


def test_an_unreadable_pickle(windows, refused_training):
    data_file(windows, "train", "frame_id").unlink()
    path = data_file(windows, "train", "ids")
    os.truncate(path, path.stat().st_size - 20)
    refused_training(said=[path, "Preprocess.py"])


def test_a_damaged_manifest(windows, refused_training):
    path = next(windows.rglob("manifest.json"))
    path.write_text("{")
    refused_training(said=[path])


# runs and checkpoints


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    """A run of three epochs on KGBD that ended as it should."""
    home = tmp_path_factory.mktemp("finished")
    assert run("simmc", *words_for(prepared, home), "--epochs", 3) == 0
    return RunDirectory.latest(home, "KGBD", "probe")


def words_for(prepared, home):
    data = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--model_root", home]
    return [*data, *QUICK, "--batch_size", 8]


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to be damaged."""
    home = tmp_path / "runs" / "KGBD" / "probe"
    shutil.copytree(finished.path.parent, home)
    return RunDirectory(home / finished.path.name)


@pytest.fixture
def refused_again(refused, prepared, copy):
    """Eval or --resume on the copy must be refused and leave every file as it is."""

    def check(*flags, said):
        before = contents(copy.path)
        refused("simmc", *words_for(prepared, copy.path.parents[2]), *flags, said=said)
        assert contents(copy.path) == before

    return check


EVAL, RESUME = ("--mode", "Eval"), ("--resume", "--epochs", 5)


@pytest.mark.parametrize("mode", [EVAL, RESUME])
def test_no_run(mode, prepared, refused, tmp_path):
    said = ["there is no run in", tmp_path / "KGBD" / "probe", "--mode Train", "--model_root"]
    refused("simmc", *words_for(prepared, tmp_path), *mode, said=said)


@pytest.mark.parametrize("mode", [EVAL, RESUME])
def test_no_run_of_that_name(mode, refused_again, copy):
    refused_again(*mode, "--run", "mine", said=["--run mine", copy.path.name])


@pytest.mark.parametrize("flags", [("--H", 8), ("--D", 2)])
def test_a_checkpoint_of_another_shape(flags, refused_again, copy):
    refused_again(*EVAL, *flags, said=[copy.best, "another shape", "--H"])


@pytest.mark.parametrize(
    ("flag", "value", "old"),
    [
        ("--H", 8, 32),
        ("--lr", 0.1, 0.00035),
        ("--seed", 7, 0),
        ("--mask_x", 1, 2),
        ("--mask_replay", "window", "index"),
        ("--fidelity", "exact", "released"),
        ("--length", 8, 6),
    ],
)
def test_a_continued_run_with_another_recipe(flag, value, old, refused_again, copy):
    said = [f"{flag} {value}", copy.last, f"with {old}", "without --resume"]
    refused_again(*RESUME, flag, value, said=said)


def test_a_continued_run_on_other_data(copy, windows, refused_again):
    changed(data_file(windows, "train", "x"), lambda values: values * 1.01)
    said = [copy.last, "other training windows", "--data_root"]
    refused_again(*RESUME, "--data_root", windows, said=said)


def test_a_run_that_another_process_trains(copy, prepared, refused_again):
    with copy.hold():
        said = [copy.path, "another process", "--run", "--resume"]
        refused_again(*RESUME, "--data_root", "missing", said=said)  # before data are looked for
        assert run("simmc", *words_for(prepared, copy.path.parents[2]), *EVAL) == 0
    assert run("simmc", *words_for(prepared, copy.path.parents[2]), *RESUME) == 0


def sealed(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return checkpoints.sealed(buffer.getvalue())


@pytest.mark.parametrize(("mode", "file"), [(EVAL, "best.pt"), (RESUME, "last.pt")])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "other torch file"])
def test_an_unreadable_checkpoint(mode, file, damage, copy, refused_again):
    path = copy.path / file
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    bad = {
        "cut": good[: len(good) // 2],
        "flipped": bytes(flipped),
        "empty": b"",
        "foreign": b"not a checkpoint",
        "other torch file": sealed({"weights": torch.zeros(3)}),
    }
    path.write_bytes(bad[damage])
    refused_again(*mode, said=[path, "Train again"])


@pytest.mark.parametrize(("mode", "file"), [(EVAL, "best.pt"), (RESUME, "last.pt")])
def test_a_checkpoint_that_would_run_code(mode, file, copy, refused_again, tmp_path):
    marker = tmp_path / "was run"
    head = {"schema": checkpoints.SCHEMA, "version": checkpoints.VERSION}
    (copy.path / file).write_bytes(sealed(head | {"state": {"network": Evil(marker)}}))
    refused_again(*mode, said=[copy.path / file, "could run code"])
    assert not marker.exists()


def test_a_run_without_weights(copy, refused_again):
    for file in ("best.pt", "label_free.pt"):
        (copy.path / file).unlink()
    refused_again(*EVAL, said=[copy.path, "no best.pt", "--run"])


@pytest.mark.parametrize("mode", [EVAL, RESUME])
@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"settings": {"lambda": 7}}'])
def test_a_damaged_config(mode, text, copy, refused_again):
    copy.config_path.write_text(text)
    refused_again(*mode, said="config.json")


def test_a_damaged_line_of_metrics(copy, refused_again):
    lines = copy.metrics_path.read_text().splitlines(keepends=True)
    copy.metrics_path.write_text("".join([lines[0], "??\n", *lines[1:]]))
    refused_again(*RESUME, said=[copy.metrics_path, "line 2", "start a new run"])


def test_metrics_that_were_deleted(prepared, tmp_path):
    """Not worth refusing, also where nothing is left to do that could be logged."""
    words = [*words_for(prepared, tmp_path), "--epochs", 9, "--patience", 2]
    assert run("simmc", *words) == 0
    made = RunDirectory.latest(tmp_path, "KGBD", "probe")
    before = made.read_results()
    made.metrics_path.unlink()
    assert run("simmc", *words, "--resume") == 0
    assert made.read_results()["protocols"] == before["protocols"]
    assert made.read_results()["counts"]["epochs"] == before["counts"]["epochs"]


# the machine


def test_a_model_root_in_which_nothing_can_be_made(prepared, refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    home = tmp_path / "file" / "runs"
    refused("simmc", *words_for(prepared, home), said=["cannot write", home, "--model_root"])
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_model_root(prepared, refused, tmp_path, monkeypatch):
    data = prepared("KGBD")

    def mkdir(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", mkdir)
        words = words_for(prepared, tmp_path / "runs")
        refused("simmc", *words, said=[tmp_path / "runs", "Read-only", "--model_root"])
    assert data.is_dir()


def on_epoch(monkeypatch, number, action):
    """Calls `action` in the middle of an epoch, before its steps."""
    contrast = SimMC.contrast

    def patched(self, *args):
        if self.epoch == number:
            action()
        return contrast(self, *args)

    monkeypatch.setattr(SimMC, "contrast", patched)


@pytest.mark.parametrize("written", [0, 1])
def test_a_full_disk(written, finished, prepared, refused, tmp_path, monkeypatch):
    """In the middle of a run, after so many more files have found room."""
    words = [*words_for(prepared, tmp_path), "--epochs", 3]
    fsync, left = os.fsync, [written]

    def full(handle):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        fsync(handle)

    with monkeypatch.context() as patch:
        on_epoch(patch, 2, lambda: patch.setattr(os, "fsync", full))
        refused("simmc", *words, said=[tmp_path, "No space left", "--model_root"])
    hurt = RunDirectory.latest(tmp_path, "KGBD", "probe")
    assert checkpoints.load(hurt.last)["epoch"] in (2, 2 + written)
    assert checkpoints.load(hurt.best)["epoch"] >= 1
    assert not list(hurt.path.rglob("*.part"))
    assert run("simmc", *words, "--resume") == 0
    assert_same_run(finished, hurt)


def test_ctrl_c(finished, prepared, tmp_path, monkeypatch, capsys):
    words = [*words_for(prepared, tmp_path), "--epochs", 3]
    # a suite that a shell runs in the background inherits deafness to Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            on_epoch(patch, 2, lambda: signal.raise_signal(signal.SIGINT))
            assert run("simmc", *words) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    err = capsys.readouterr().err
    assert "interrupted" in err and "--resume" in err and "Traceback" not in err
    hurt = RunDirectory.latest(tmp_path, "KGBD", "probe")
    assert checkpoints.load(hurt.last)["epoch"] == 2
    assert [row["epoch"] for row in hurt.read_metrics()] == [0, 1]
    assert run("simmc", *words, "--resume") == 0
    assert_same_run(finished, hurt)


def test_a_training_that_diverges(prepared, refused, tmp_path):
    words = [*words_for(prepared, tmp_path), "--lr", "1e30"]
    refused("simmc", *words, said=["diverged", "--lr", "1e+30"])


# the other commands


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([0], ["--length '0'", "1 or more"]),
        ([6, "--dataset", "KGDB"], ["KGDB", "KGBD"]),
        ([6, "--protocol", "XYZ"], ["--protocol 'XYZ'", "RVE or CVE"]),
        ([6, "--ias_cut", "both"], ["--ias_cut 'both'", "symmetric"]),
        ([6, "--dataset", "KGBD"], ["KGBD", "--raw_root"]),
        ([6], ["--raw_root"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_preprocessing(words, said, refused, tmp_path):
    where = ["--raw_root", tmp_path, "--data_root", tmp_path / "windows"]
    refused("preprocess", *words, *where, said=said)
    assert not (tmp_path / "windows").exists()


def test_walkers_never_take_the_place_of_recordings(refused, tmp_path):
    mine = tmp_path / "KGBD" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("real")
    words = ["--dataset", "KGBD", "--raw_root", tmp_path]
    refused("generate", *words, said=[tmp_path / "KGBD", "--raw_root"])
    assert mine.read_text() == "real"
