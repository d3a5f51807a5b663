"""Whatever the user gets wrong: a message with what, where and what to do next; nothing is lost.

Each test calls a command as the command line does. The single rules are tested beside their code.
"""

import os
import shutil

import numpy as np
import pytest
import torch

from tests.cli.conftest import QUICK, Evil, changed, data_file

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
def refused_training(refused, windows, tmp_path):
    """A training on the damaged windows must be refused before it leaves anything behind."""

    def check(*flags, said):
        words = ["--dataset", "KGBD", "--data_root", windows, "--model_root", tmp_path / "runs"]
        message = refused("simmc", *words, *QUICK, "--batch_size", 8, *flags, said=said)
        assert not (tmp_path / "runs").exists()
        return message

    return check


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
    refused_training(said=[path.parent, f"{axis} coordinates", "not finite", "Preprocess.py"])


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
