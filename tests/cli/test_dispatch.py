import re
import subprocess
import sys

import pytest

import simmc
from simmc import cli
from simmc.cli import doctor
from simmc.errors import UserError
from simmc.methods.registry import METHODS
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
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False
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
    monkeypatch.setattr(cli, "find", lambda _name: raises(KeyboardInterrupt()))
    assert cli.run(name, []) == 130
    assert said in capsys.readouterr().err
    monkeypatch.setattr(cli, "find", lambda _name: raises(KeyboardInterrupt("after epoch 7")))
    assert cli.run(name, []) == 130
    assert capsys.readouterr().err == "\nafter epoch 7\n"


def test_a_missing_package_names_the_remedy(command, capsys):
    assert command(raises(ModuleNotFoundError("No module", name="faiss")))() == 2
    assert re.search(r"package faiss is not installed.*requirements\.txt", capsys.readouterr().err)
    assert command(raises(ModuleNotFoundError("No module", name="simmc.gone")))() == 1


@pytest.mark.parametrize(
    ("word", "hint"), [("doctr", "did you mean doctor?"), ("xyz", "preprocess")]
)
def test_unknown_command(word, hint, capsys):
    assert cli.run(word, []) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_overview(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["simmc", *words])
    assert cli.main() == 0
    page = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", page, flags=re.MULTILINE)


def test_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["simmc", "--version"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"simmc {simmc.__version__}\n"


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


@pytest.mark.parametrize(
    ("script", "command"),
    [("SimMC.py", "simmc"), ("Hi-MPC.py", "himpc"), ("SimMC-UF.py", "finetune")],
)
def test_scripts_are_commands_in_any_directory(script, command, tmp_path):
    done = call(ROOT / script, "--epz", "1", "word", cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*--epz.*--eps.*\n", done.stderr)
    assert done.stdout == ""
    assert f"-m simmc {command} " in call(ROOT / script, "word", cwd=tmp_path).stderr


def test_python_m_simmc():
    done = call("-m", "simmc", "--version", cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, f"simmc {simmc.__version__}\n")


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
    for line in (
        r"torch +\d",
        r"device +\w+",
        r"threads +1 \(physical cores: \d+\)",
        r"memory +[\d.]+ GiB",
        r"disk, data_root +[\d.]+ GiB free",
        r"CASIA_B +f = 40",
        r"KGBD +f = 6",
        r"IAS +none",
        r"KS20 +found",
        r"neighbours +good",
    ):
        assert re.search(line, page), line


def test_a_failed_check_is_a_failed_command(monkeypatch, capsys):
    monkeypatch.setitem(doctor._CHECKS, "seeds", lambda: raises(RuntimeError("it moved"))(None))
    assert doctor.main(["--threads", "1"]) == 1
    assert re.search(r"seeds +FAILED: it moved", capsys.readouterr().out)
