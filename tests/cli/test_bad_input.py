"""Whatever the user gets wrong is refused by the name of the flag or file; nothing is lost.

Most tests call a command as the command line does. The single rules are tested beside their code.
"""

import re
import shutil

import pytest
import torch

from simmc.cli import preprocess
from simmc.cli.descriptors import DescriptorSettings
from simmc.errors import UserError
from simmc.methods.registry import METHODS
from simmc.settings import resolve
from tests.cli.conftest import QUICK, SMALL, data_file, run, words_for
from tests.conftest import contents

# flags and values

SETTINGS = {name: method.settings for name, method in METHODS.items()}
SETTINGS["descriptors"] = DescriptorSettings
IMPOSSIBLE = {  # command -> values that its flags do not take
    "simmc": "fidelity=paper length=six length=0 batch_size=0 epochs=-1 patience=0 encoder=lstm "
    "mask_replay=batch threads=0 threads=100000 device=tpu",
    "trackmc": "recordings=some overlap=some input=voice lr=0 rerank=maybe rerank_lambda=2 "
    "rerank_k2=0 expand=-1 walk=some",
    "sgela": "task=rec task=pred+pred tau=0 kind=frames attention=full",
    "age": "D=0",
    "mgscr": "kind=frames lambda=-1 gathering=random",
    "supervised": "model=lstm dropout=1 center_rate=2",
    "finetune": "source=PoseGait standardise=yes",
    "recognition": "source=PoseGait",
    "descriptors": "descriptor=D14 classifier=tree neighbors=0",
}
LACKING = {  # command -> flags that others have
    "trackmc": "patience",
    "age": "task tau",
    "mgscr": "extra_prefix",
    "smsge": "gathering lambda",
    "supervised": "patience eps",
    "finetune": "root kgbd_order",
    "recognition": "rerank",
}


@pytest.mark.parametrize(
    ("command", "pair"), [(c, pair) for c, pairs in IMPOSSIBLE.items() for pair in pairs.split()]
)
def test_values_that_a_flag_does_not_take(command, pair):
    flag, _, value = pair.partition("=")
    with pytest.raises(UserError) as caught:
        resolve(SETTINGS[command], [f"--{flag}", value])
    message = str(caught.value)
    assert f"--{flag}" in message and f"'{value}'" in message
    advised = advice(message)
    assert advised
    for other in advised:
        try:
            resolve(SETTINGS[command], [f"--{flag}", other])
        except UserError as error:  # only where it does not go with the other flags
            assert f"--{flag} {other!r} is not possible" not in str(error)


NUMBERS = re.compile(r"a (?:whole )?number (?:from (\S+) to (\S+)|(\S+) or more|(above 0))")


def advice(message):
    """The values that a message names as possible."""
    text = message.partition("allowed: ")[2].rstrip(".")
    text = re.sub(r",( or several| two or three) of them joined by \+", "", text)
    found = [end or "" for ends in NUMBERS.findall(text) for end in ends]
    found += re.split(r",? or |, (?:such as )?", NUMBERS.sub("", text))
    return ["0.5" if name == "above 0" else name for name in found if name]


@pytest.mark.parametrize("command", LACKING)
def test_flags_that_a_command_does_not_have(command):
    for flag in LACKING[command].split():
        with pytest.raises(UserError, match=f"no flag --{flag}"):
            resolve(SETTINGS[command], [f"--{flag}", "1"])


@pytest.mark.parametrize(
    ("typed", "said"),
    [  # the tests of the settings have more of simmc's
        ("simmc --batchsize 1", ["--batchsize", "--batch_size"]),
        ("simmc twelve", ["'twelve'", "--help"]),
        ("simmc --dataset KGDB", ["KGDB", "KGBD"]),
        ("simmc --gpu first", ["--gpu", "'first'"]),
        ("simmc --config nowhere.toml", ["--config", "nowhere.toml"]),
        ("simmc --length 5", ["--length 5", "4, 6, 8, 10, 12"]),
        ("simmc --mode Eval --run mine", ["--run mine", "--model_root"]),
        ("simmc --run ../elsewhere", ["--run", "../elsewhere"]),
        ("simmc --run latest", ["--run", "latest"]),
        ("simmc --save_flag a/b", ["--save_flag", "a/b"]),
        ("trackmc --mask_x 6", ["--mask_x 6", "--length 6"]),
        ("trackmc --k1 3", ["--k2 6", "--k1 3"]),
        ("trackmc --rerank on", ["--rerank on", "--mode Eval"]),
        ("trackmc --walk all", ["--walk all", "--mode Eval"]),
        ("trackmc --expand 5 --mode Train", ["--expand 5", "--mode Eval"]),
        ("trackmc --rerank_k1 30", ["--rerank_k1 30", "--rerank on"]),
        ("trackmc --rerank_lambda 0.5", ["--rerank_lambda 0.5", "--rerank on"]),
        ("trackmc --expand_alpha 2", ["--expand_alpha 2", "--expand K"]),
        ("trackmc --expand_gallery on", ["--expand_gallery on", "--expand K"]),
        ("sgela --interval 8", ["--interval 8", "--batch_size 8"]),
        *(
            (f"{command} {mode}", ["there is no run in", "--model_root"])
            for command in ("simmc", "age", "smsge", "supervised")
            for mode in ("--resume", "--mode Eval")
        ),
        ("smsge --batch_size 4", ["--batch_size 4", "--class_sampling off"]),
        ("supervised --batch_size 1000000", ["--batch_size 1000000", "--part_batches keep"]),
        ("recognition --source SGELA", ["SGELA", "python -m simmc sgela", " --model_root "]),
        ("recognition --source SGELA --encoder_run nowhere", ["--encoder_run nowhere"]),
        (
            "recognition --score match --train_on train_gallery --encoder_run x",
            ["--train_on train_gallery"],
        ),
        ("recognition --source AGE --kind frames", ["--kind 'frames'", "--source AGE"]),
        ("recognition --source SM-SGE --kind frames", ["--kind 'frames'", "--source SM-SGE"]),
        # D13 keeps incomplete batches; D_PG does not
        ("descriptors --descriptor D_PG --batch_size 1000000", ["--batch_size", "keep"]),
        *((f"simmc --input {text}", [text]) for text in ("speed", "turned+turned", "+")),
        *(
            (f"{command} --input bones", ["--input", f"simmc {command}"])
            for command in ("himpc", "sgela", "mgscr", "descriptors")
        ),
        ("supervised --model posegait --input turned", ["--model posegait"]),
    ],
)
def test_flags_that_do_not_go_together(typed, said, prepared, refused, tmp_path):
    command, *flags = typed.split()
    refused(command, *words_for(prepared, tmp_path / "runs"), *flags, said=said)
    assert not (tmp_path / "runs").exists() and not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_insisted_on(refused):
    refused("simmc", "--device", "cuda", said=["--device cuda", "--device cpu"])


@pytest.mark.parametrize("command", ["doctor", "benchmark", "export-features"])
def test_more_threads_than_a_system_has(command, refused):
    """They would take the threads of every other program of the machine."""
    refused(command, "--threads", 100000, said="--threads '100000'")


# data, features and folders


@pytest.fixture
def refused_training(refused, windows, tmp_path):
    """A training on the damaged windows must be refused before it leaves anything behind."""

    def check(*flags, said):
        words = ["--dataset", "KGBD", "--data_root", windows, "--model_root", tmp_path / "runs"]
        refused("simmc", *words, *QUICK, "--batch_size", 8, *flags, said=said)
        assert not (tmp_path / "runs").exists()

    return check


def test_data_that_is_not_there(refused, tmp_path):
    words = ["--dataset", "KGBD", "--data_root", tmp_path / "none"]
    said = [tmp_path / "none", "Preprocess.py 6 --dataset KGBD", "--data_root"]
    refused("simmc", *words, said=said)
    refused("simmc", *words, "--mode", "Eval", said=["there is no run", "--mode Train"])


def test_a_length_that_a_dataset_does_not_have(refused, tmp_path):
    """Preprocess.py would refuse it as well; those that are named it takes."""
    words = ["--dataset", "KGBD", "--data_root", tmp_path / "none", "--length"]
    message = refused("simmc", *words, 5, said="--length 5")
    assert "Preprocess.py" not in message
    lengths = re.search(r"one of ([\d, ]+)", message)[1].split(", ")
    assert len(lengths) == 5
    for length in lengths:
        message = refused("simmc", *words, length, said=f"Preprocess.py {length} --dataset KGBD")
        typed = re.search(r"Preprocess\.py ([^;\n]*?KGBD)", message)[1].split()
        resolve(preprocess.PreprocessSettings, preprocess.flags(typed))


def test_a_length_or_a_file_that_is_missing(windows, refused_training):
    refused_training("--length", 8, said="Preprocess.py 8 --dataset KGBD")
    path = data_file(windows, "probe", "x")
    path.unlink()
    refused_training(said=[path, "Preprocess.py"])


def test_views_that_were_not_prepared(prepared, refused, tmp_path):
    data = tmp_path / "windows"
    shutil.copytree(prepared("KS20") / "KS20", data / "KS20")
    words = ["--probe", "0.30", "--data_root", data]
    refused("simmc", *words, said="Preprocess.py 6 --dataset KS20 --protocol CVE")


def test_features_that_are_not_there(prepared, refused, tmp_path):
    words = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--from", tmp_path / "no where"]
    said = [tmp_path / "no where" / "KGBD" / "6", "frames_SM-SGE_KGBD_6.npy", "--from", "--name"]
    assert "Preprocess" not in refused("export-features", *words, said=said)


@pytest.mark.parametrize("name", ["curves", "cmc", "importance", "attention", "confusion"])
def test_reports_on_a_folder_that_is_no_run(name, refused, tmp_path):
    refused("report", name, tmp_path, said=[tmp_path])
    refused("report", name, tmp_path / "no where", said=["no where", "folder of a run"])
    if name == "curves":
        (tmp_path / "metrics.jsonl").touch()
        refused("report", name, tmp_path, said=[tmp_path])


@pytest.mark.parametrize("command", ["simmc", "age"])
def test_a_continued_run_has_its_epochs_behind_it(command, prepared, refused, tmp_path):
    words = [*words_for(prepared, tmp_path), *SMALL, "--label_free_run", "off"]
    assert run(command, *words, "--epochs", 2, "--run", "mine") == 0
    before = contents(tmp_path)
    said = ["--epochs 1", "last.pt has run 2 epochs", "as many or more", "--mode Eval"]
    refused(command, *words, "--epochs", 1, "--run", "mine", "--resume", said=said)
    assert contents(tmp_path) == before
    for flags in (("--mode", "Eval"), ("--resume", "--epochs", 2)):
        assert run(command, *words, "--run", "mine", *flags) == 0


def test_a_place_where_nothing_can_be_written(refused, tmp_path, monkeypatch):
    """It is found out before any walker is made."""
    (tmp_path / "a file").touch()
    monkeypatch.setattr("simmc.data.synthetic.walkers.walks", None)
    refused("generate", "--raw_root", tmp_path / "a file", said=["a file", "--raw_root"])


def test_no_bar_where_nobody_looks_on(tmp_path, capsys):
    words = ["--dataset", "KS20", "--size", "tiny", "--persons", 2, "--raw_root", tmp_path]
    assert run("generate", *words) == 0
    assert capsys.readouterr().err == ""
