"""The command line: flags, what is refused, the help page."""

import re

import pytest

from simmc.errors import UserError
from simmc.methods.simmc import SimMCSettings
from simmc.methods.trackmc import TrackMCSettings
from simmc.settings import options_of, resolve
from simmc.settings import switches as fidelity


def simmc(*argv, **more):
    return resolve(SimMCSettings, argv, **more)


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--mask_lambda", "0.3"], "lambda_", 0.3),
        (["--mask-lambda=0.3"], "lambda_", 0.3),
        (["--tau", "0.1"], "t", 0.1),
        (["--hidden", "64"], "H", 64),
        (["--mode", "eval"], "mode", "Eval"),
        (["--save_model", "0"], "save_model", False),
        (["--model_size"], "model_size", True),
        (["--resume"], "resume", True),
        (["--tensorboard", "off"], "tensorboard", False),
        (["--mask_x_2", "SAME"], "mask_x_2", "same"),
        (["--mask-x-2", "3"], "mask_x_2", 3),
        (["--threads", "auto"], "threads", None),
        (["--threads", "2"], "threads", 2),
        (["--gpu", "0"], "gpu", "0"),
        (["--gpu", "-1"], "gpu", "-1"),
        (["--lr", "1e-3"], "lr", 0.001),
        (["--root", "head"], "root", "head"),
    ],
)
def test_accepted_flags(argv, name, value):
    found = simmc(*argv)
    arrived = found.settings.flat()[name]
    assert (arrived, type(arrived)) == (value, type(value))
    assert found.origin[name] == "command line"


def test_every_setting_has_its_flag_with_underscores_and_with_dashes():
    for entry in options_of(SimMCSettings):
        default = "auto" if entry.default is None else str(entry.default)
        for key in entry.keys:
            for flag in (f"--{key}", f"--{key.replace('_', '-')}"):
                assert simmc(f"{flag}={default}").origin[entry.name] == "command line"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--min-sample", "2"], r"--min-sample; did you mean --min_samples\?"),
        (["--xyzzyplugh"], r"no flag --xyzzyplugh\.$"),
        (["-e", "1"], r"'-e' belongs to no flag"),
        (["--eps", "nan"], r"--eps 'nan'"),
        (["--eps", "wide"], r"--eps 'wide'"),
        (["--t", "inf"], r"--t 'inf'"),
        (["--min_samples", "2.5"], r"--min_samples '2.5' .*whole number"),
        (["--mask_x_2", "some"], r"--mask_x_2 'some' .*same or a whole number 0 or more"),
        (["--length", "2"], r"--mask_x 2 .*--length 2"),
    ],
)
def test_refused(argv, message):
    """More of them, called as commands, are in tests/cli/test_bad_input.py."""
    with pytest.raises(UserError, match=message):
        simmc(*argv)


@pytest.mark.parametrize("value", ["0.9999999999", "0.99999998", "1"])
@pytest.mark.parametrize("flag", ["--eps", "--doubt"])
def test_a_cut_that_is_1_in_single_precision(flag, value):
    with pytest.raises(UserError, match=flag):
        resolve(TrackMCSettings, [flag, value])


def test_the_largest_cut():
    assert resolve(SimMCSettings, ["--eps", "0.99999994"]).settings.clustering.eps == 0.99999994


def test_help_lists_every_flag_once_with_its_default(capsys):
    with pytest.raises(SystemExit) as leave:
        simmc("--help")
    assert leave.value.code == 0
    page = capsys.readouterr().out
    groups = ["main:", "training:", "evaluation:", "fidelity switches", "files and machine:"]
    places = [page.index(f"\n{group}") for group in groups]
    assert places == sorted(places)
    flat = " ".join(page.split())
    for entry in options_of(SimMCSettings):
        assert len(re.findall(rf"^  --{entry.key} ", page, flags=re.MULTILINE)) == 1
        if entry.default not in ("", None) and not isinstance(entry.default, bool):
            assert f"(default: {entry.default})" in flat
    for entry in options_of(SimMCSettings):
        if entry.is_switch:
            assert f"[{fidelity.SWITCHES[entry.name].quirk}]" in flat
