"""Whatever the user gets wrong: a message with what, where and what to do next; nothing is lost.

Each test calls a command as the command line does. The single rules are tested beside their code.
"""

import os
import shutil

import numpy as np
import pytest
import torch

from tests.cli.conftest import QUICK, Evil, changed, data_file, words_for

# flags and values


@pytest.mark.parametrize(
    ("typed", "said"),
    [  # the tests of the settings have more of simmc's
        ("simmc --batchsize 1", ["--batchsize", "did you mean --batch_size?"]),
        ("simmc twelve", ["'twelve'", "--name value", "--help"]),
        ("simmc --dataset KGDB", ["KGDB", "KGBD"]),
        ("simmc --fidelity paper", ["--fidelity 'paper'", "released or exact"]),
        ("simmc --length six", ["--length 'six'", "whole number"]),
        ("simmc --length 0", ["--length '0'", "1 or more"]),
        ("simmc --batch_size 0", ["--batch_size '0'", "1 or more"]),
        ("simmc --epochs -1", ["--epochs '-1'", "0 or more"]),
        ("simmc --patience 0", ["--patience '0'", "1 or more"]),
        ("simmc --encoder lstm", ["--encoder 'lstm'", "mlp or none"]),
        ("simmc --mask_replay batch", ["--mask_replay 'batch'", "index or window"]),
        ("simmc --threads 0", ["--threads '0'", "from 1 to 1024"]),
        ("simmc --gpu first", ["--gpu", "'first'", "such as 0"]),
        ("simmc --device tpu", ["--device 'tpu'", "cuda"]),
        ("simmc --config nowhere.toml", ["--config", "nowhere.toml"]),
        ("trackmc --recordings some", ["--recordings 'some'", "off, positives or merge"]),
        ("trackmc --mask_x 6", ["--mask_x 6", "--length 6"]),
        ("trackmc --k1 3", ["--k2 6", "--k1 3"]),
        ("trackmc --lr 0", ["--lr"]),
        ("trackmc --input voice", ["--input 'voice'"]),
        ("trackmc --patience 3", ["no flag --patience"]),
        ("trackmc --rerank on", ["--rerank on", "--mode Eval"]),
        ("trackmc --walk all", ["--walk all", "--mode Eval"]),
        ("trackmc --expand 5 --mode Train", ["--expand 5", "--mode Eval"]),
        ("trackmc --rerank maybe", ["--rerank 'maybe'", "off or on"]),
        ("trackmc --rerank_k1 30", ["--rerank_k1 30", "--rerank on"]),
        ("trackmc --rerank_lambda 0.5", ["--rerank_lambda 0.5", "--rerank on"]),
        ("trackmc --rerank_lambda 2", ["--rerank_lambda '2'", "from 0 to 1"]),
        ("trackmc --rerank_k2 0", ["--rerank_k2 '0'"]),
        ("trackmc --expand -1", ["--expand '-1'"]),
        ("trackmc --expand_alpha 2", ["--expand_alpha 2", "--expand K"]),
        ("trackmc --expand_gallery on", ["--expand_gallery on", "--expand K"]),
        ("trackmc --walk some", ["--walk 'some'", "all or a whole number"]),
        ("sgela --task rec", ["--task 'rec'", "rev_rec, pred, sort", "plus"]),
        ("sgela --task pred+pred", ["--task 'pred+pred'"]),
        ("sgela --interval 8", ["--interval 8", "--batch_size 8", "1 to 7"]),
        ("sgela --tau 0", ["--tau '0'"]),
        ("sgela --kind frames", ["--kind 'frames'", "mean, sc, last"]),
        ("sgela --attention full", ["--attention 'full'", "locality"]),
        ("age --task pred", ["no flag --task"]),
        ("age --tau 0.1", ["no flag --tau"]),
        ("age --D 0", ["--D '0'"]),
        ("age --resume", ["there is no run in"]),
        ("mgscr --kind frames", ["--kind 'frames'", "mean, lstm, prefix"]),
        ("mgscr --lambda -1", ["--lambda '-1'"]),
        ("mgscr --gathering random", ["--gathering 'random'", "sorted or published"]),
        ("mgscr --extra_prefix none", ["no flag --extra_prefix"]),
        ("smsge --gathering sorted", ["no flag --gathering"]),
        ("smsge --lambda 0.3", ["no flag --lambda"]),
        ("smsge --batch_size 4", ["--batch_size 4", "--class_sampling off"]),
        ("smsge --resume", ["there is no run in"]),
        ("supervised --model lstm", ["--model 'lstm'", "encoder or posegait"]),
        ("supervised --model encoder --eps 0.6", ["no flag --eps"]),
        ("supervised --patience 5", ["no flag --patience"]),
        ("supervised --dropout 1", ["--dropout '1'", "from 0 to 0.99"]),
        ("supervised --center_rate 2", ["--center_rate '2'", "from 0 to 1"]),
        ("supervised --resume", ["there is no run in", "--model_root"]),
        ("supervised --batch_size 1000000", ["--batch_size 1000000", "--part_batches keep"]),
        ("finetune --source PoseGait", ["--source 'PoseGait'", "AGE, SGELA, MG-SCR or SM-SGE"]),
        ("finetune --root none", ["no flag --root"]),
        ("finetune --kgbd_order mapped", ["no flag --kgbd_order"]),
        ("finetune --standardise yes", ["--standardise 'yes'", "off or on"]),
        (
            "recognition --source SGELA",
            ["there is no run of SGELA", "python -m simmc sgela", " --model_root "],
        ),
        ("recognition --source SGELA --encoder_run nowhere", ["--encoder_run nowhere"]),
        ("recognition --views ap --source PoseGait", ["--source 'PoseGait'"]),
        (
            "recognition --score match --train_on train_gallery --encoder_run x",
            ["--train_on train_gallery"],
        ),
        ("recognition --mode Eval --rerank on", ["no flag --rerank"]),
        ("descriptors --descriptor D14", ["--descriptor 'D14'", "D13, D16, D_PG"]),
        ("descriptors --classifier tree", ["--classifier 'tree'", "knn, svm"]),
        ("descriptors --neighbors 0", ["--neighbors '0'", "1 or more"]),
        # D13 keeps incomplete batches; D_PG does not
        ("descriptors --descriptor D_PG --batch_size 1000000", ["fewer than one batch", "keep"]),
        *((f"simmc --input {text}", ["joined by +"]) for text in ("speed", "turned+turned", "+")),
        *(
            (f"{command} --input bones", [f"simmc {command}", "coordinates"])
            for command in ("himpc", "sgela", "mgscr", "descriptors")
        ),
        ("supervised --model posegait --input turned", ["--model posegait"]),
    ],
)
def test_flags_of_every_command(typed, said, prepared, refused, tmp_path):
    command, *flags = typed.split()
    refused(command, *words_for(prepared, tmp_path / "runs"), *flags, said=said)
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
