import os
import re
import subprocess
import sys

import pytest
import torch

import simmc
from simmc import cli
from simmc.cli import doctor
from simmc.errors import UserError
from simmc.methods.registry import METHODS
from simmc.runs.directory import RunDirectory
from tests.conftest import ROOT

COMMANDS = {name: method.summary for name, method in METHODS.items()} | cli.OTHERS


@pytest.fixture
def command(monkeypatch):
    """Makes a function the command `try`; gives what runs it."""

    def install(function):
        monkeypatch.setattr(cli, "find", lambda _name: function)
        return lambda *argv: cli.run("try", argv)

    return install


def raises(error):
    def function(_argv):
        raise error

    return function


def call(*words, cwd=None):
    command = [sys.executable, *map(str, words)]
    threads = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, check=False, env=threads
    )


def test_words_and_exit_code_are_passed_through(command):
    seen = []
    run = command(lambda argv: seen.append(argv) or 0)
    assert run("--t", "1") == 0
    assert seen == [["--t", "1"]]
    assert command(lambda _argv: 1)() == 1


def test_the_users_error_is_one_line_without_traceback(command, capsys):
    assert command(raises(UserError("--eps 2 is not possible")))() == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: --eps 2 is not possible\n")


def test_a_bug_shows_where_and_asks_for_a_report(command, capsys):
    assert command(raises(ValueError("bad shape")))() == 1
    err = capsys.readouterr().err
    for text in ("Traceback", "bad shape", f"bug in simmc {simmc.__version__}", "simmc doctor"):
        assert text in err


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (None, 0), (2, 2), ("text", 1)])
def test_leaving_early(command, code, expected):
    assert command(raises(SystemExit(code)))() == expected


@pytest.mark.parametrize(("name", "said"), [("simmc", "--resume"), ("preprocess", "again")])
def test_an_interruption_names_the_next_step(name, said, monkeypatch, capsys):
    for error, expected in ((KeyboardInterrupt(), said), (KeyboardInterrupt("epoch 7"), "epoch 7")):
        monkeypatch.setattr(cli, "find", lambda _name, error=error: raises(error))
        assert cli.run(name, []) == 130
        assert expected in capsys.readouterr().err


def test_a_missing_package_names_the_remedy(command, capsys):
    assert command(raises(ModuleNotFoundError("No module", name="faiss")))() == 2
    err = capsys.readouterr().err
    assert "faiss" in err and "requirements.txt" in err
    assert command(raises(ModuleNotFoundError("No module", name="simmc.gone")))() == 1


@pytest.mark.parametrize(
    ("word", "hint"), [("doctr", "did you mean doctor?"), ("xyz", "preprocess")]
)
def test_unknown_command(word, hint, capsys):
    assert cli.run(word, []) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["--version"]])
def test_overview_and_version(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["simmc", *words])
    assert cli.main() == 0
    page = capsys.readouterr().out
    if words == ["--version"]:
        assert page == f"simmc {simmc.__version__}\n"
    else:
        assert COMMANDS.keys() <= set(re.findall(r"^ +(\S+)", page, flags=re.MULTILINE))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_page_and_refuses_an_unknown_flag_by_name(name, capsys):
    assert cli.run(name, ["--help"]) == 0
    assert "--" in capsys.readouterr().out
    actions = {"report": ["table"]}  # what must stand before the flags
    assert cli.run(name, [*actions.get(name, []), "--no_such_flag_anywhere"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--no_such_flag_anywhere" in err and "Traceback" not in err


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=str)
def test_help_needs_no_heavy_package(words):
    """Help appears at once: stand-ins, which are no modules, take the place of heavy packages."""
    script = (
        f"import sys; sys.argv = ['simmc', *{words}]\n"
        "from simmc import cli; assert cli.main() == 0\n"
        "heavy = 'torch', 'faiss', 'numba', 'scipy', 'sklearn', 'matplotlib'\n"
        "found = [name for name in heavy if type(sys.modules.get(name)) is type(sys)]\n"
        "assert not found, found"
    )
    done = call("-c", script, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_python_m_simmc():
    assert call("-m", "simmc", "--version", cwd=ROOT).stdout == f"simmc {simmc.__version__}\n"


@pytest.mark.parametrize(
    ("script", "command"),
    [("SimMC.py", "simmc"), ("Hi-MPC.py", "himpc"), ("SimMC-UF.py", "finetune")],
)
def test_scripts_are_commands_in_any_directory(script, command, tmp_path):
    done = call(ROOT / script, "word", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'word'" in done.stderr and f"-m simmc {command} " in done.stderr


@pytest.mark.parametrize("name", ["Preprocess.py", "Pre-process.py"])
def test_the_scripts_of_the_public_readme(name, prepared, tmp_path):
    """From a folder of the user's own, with spaces in its name, and no path given."""
    prepared("KGBD")
    here = tmp_path / "my own folder"
    here.mkdir()
    (here / "KGBD").symlink_to(prepared.raw / "KGBD", target_is_directory=True)
    assert "KGBD" in call(ROOT / name, 6, cwd=here).stdout
    assert (here / "Datasets" / "KGBD" / "6" / "manifest.json").is_file()
    if name == "Preprocess.py":
        flags = ["--dataset", "KGBD", "--batch_size", 8, "--epochs", 1]
        out = call(ROOT / "SimMC.py", *flags, cwd=here).stdout
        made = RunDirectory.latest(here / "ReID_Models", "KGBD", "probe")
        assert made.path.name in out
        assert torch.load(made.best, weights_only=True)["state"]["epoch"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX pipe")
def test_a_closed_pipe_is_quiet():
    script = "import sys; from simmc import cli; sys.exit(cli.run('simmc', ['--help']))"
    writer = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(0.2)\n" + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    writer.stdout.close()  # the reader leaves before the first word
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait() in (0, 141)


def test_doctor(tmp_path, capsys):
    made = tmp_path / "Datasets" / "CASIA_B_match" / "40" / "CASIA_B_train_npy_data"
    made.mkdir(parents=True)
    (tmp_path / "Datasets" / "KGBD" / "6" / "train_npy_data").mkdir(parents=True)
    (tmp_path / "KS20").mkdir()
    argv = ["--data_root", tmp_path / "Datasets", "--raw_root", tmp_path, "--threads", "1"]
    assert doctor.main(list(map(str, argv))) == 0
    page = capsys.readouterr().out
    for name, value in (
        *(("torch", r"\d"), ("device", r"cpu|cuda"), ("threads", r"1 \(physical cores: \d+\)")),
        *(("memory", r"[\d.]+ GiB"), ("IAS", "none")),
        *(("CASIA_B", "f = 40"), ("KGBD", "f = 6"), ("KS20", "found"), ("neighbours", "good")),
        ("disk, data_root", r"[\d.]+ GiB free"),
    ):
        assert re.search(rf"^ *{name} +{value}", page, re.MULTILINE), name


def test_a_failed_check_is_a_failed_command(monkeypatch, capsys):
    monkeypatch.setitem(doctor._CHECKS, "seeds", lambda: raises(RuntimeError("it moved"))(None))
    assert doctor.main(["--threads", "1"]) == 1
    assert re.search(r"seeds +FAILED: it moved", capsys.readouterr().out)
