"""Whatever the user gets wrong: a message with what, where and what to do next; nothing is lost.

Each test calls a command as the command line does. The single rules are tested beside their code.
"""

import os
import shutil

import pytest
import torch

from tests.cli.conftest import QUICK, data_file, words_for

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
def test_a_truncated_file(split, windows, refused_training):
    path = data_file(windows, split, "x")
    os.truncate(path, path.stat().st_size // 3)
    refused_training(said=[path, "Preprocess.py"])
