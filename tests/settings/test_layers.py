"""Which layer wins, and what files and stored runs may hold."""

import json
import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.errors import UserError
from simmc.methods.simmc import SimMCSettings
from simmc.settings import Range, Settings, option, options_of, resolve


def simmc(*argv, **more):
    return resolve(SimMCSettings, argv, **more)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_defaults_are_those_of_ks20():
    found = simmc()
    assert found.settings == SimMCSettings.of()
    assert found.settings.place.dataset == "KS20"
    assert found.origin["k1"] == "default"
    assert found.origin["eps"] == "preset KS20_probe.toml"
    assert found.origin["mask_scope"] == "fidelity released"


def test_each_layer_wins_over_the_one_below(tmp_path):
    """Defaults < fidelity < preset < file < command line, for one switch and one number."""
    presets = tmp_path / "presets"
    presets.mkdir()
    base = ["--dataset", "KGBD"]

    def look(*argv):
        found = simmc(*base, *argv, preset_dir=presets)
        values = found.settings.flat()
        return [(values[name], found.origin[name]) for name in ("mpc_reduction", "t")]

    assert look() == [("sum", "fidelity released"), (0.08, "default")]
    assert look("--fidelity", "exact") == [("mean", "fidelity exact"), (0.08, "default")]
    write(presets / "KGBD_probe.toml", 't = 0.06\nmpc_reduction = "sum"\n')
    preset = "preset KGBD_probe.toml"
    assert look("--fidelity", "exact") == [("sum", preset), (0.06, preset)]
    mine = write(tmp_path / "mine.toml", 't = 0.05\nmpc_reduction = "mean"\n')
    file = f"file {mine}"
    assert look("--config", mine) == [("mean", file), (0.05, file)]
    typed = look("--config", mine, "--t", "0.04", "--mpc_reduction", "sum")
    assert typed == [("sum", "command line"), (0.04, "command line")]


def test_what_is_typed_wins_even_if_it_equals_the_default():
    found = simmc("--dataset", "KGBD", "--eps", "0.8")
    assert (found.settings.clustering.eps, found.origin["eps"]) == (0.8, "command line")
    assert found.settings.clustering.min_samples == 4  # the preset still holds for the rest


def test_a_file_chooses_dataset_and_fidelity(tmp_path):
    mine = write(tmp_path / "m.toml", 'dataset = "BIWI"\nprobe = "Still"\nfidelity = "exact"\n')
    found = simmc("--config", mine)
    assert found.settings.place.dataset == "BIWI"
    assert found.origin["eps"] == "preset BIWI_Still.toml"
    assert found.origin["root"] == "fidelity exact"
    assert simmc("--config", mine, "--probe", "Walking").settings.clustering.eps == 0.8


def test_the_last_of_two_names_of_a_setting_wins():
    assert simmc("--lambda", "0.1", "--mask_lambda", "0.2").settings.recipe.lambda_ == 0.2


def test_a_stored_run_ranks_below_what_is_given_now(tmp_path):
    first = simmc("--dataset", "KGBD", "--t", "0.05", "--fidelity", "exact", "--device", "cpu")
    stored = json.loads(json.dumps(first.to_dict()))
    again = simmc("--dataset", "KGBD", stored=stored)
    assert again.settings.recipe.t == 0.05
    assert again.origin["t"] == "stored run"
    assert again.settings.recipe.mask_scope == "window"
    assert again.settings.machine.device == "auto"  # the machine may be another one now
    assert simmc("--t", "0.04", stored=stored).settings.recipe.t == 0.04
    assert simmc("--fidelity", "released", stored=stored).settings.recipe.mask_scope == "batch"
    assert resolve(SimMCSettings, [], stored=stored).settings.place.dataset == "KGBD"


def test_stored_settings_of_another_version():
    kept = {"settings": {"t": 0.05, "gone": 1}}
    assert simmc(stored=kept).settings.recipe.t == 0.05
    with pytest.raises(UserError, match=r"config\.json"):
        simmc(stored={})
    with pytest.raises(UserError, match=r"config\.json: t ="):
        simmc(stored={"settings": {"t": "hot"}})


def test_describe_lists_every_setting_with_value_and_origin():
    lines = simmc("--lambda", "0.3").describe().splitlines()
    assert len(lines) == len(options_of(SimMCSettings))
    assert re.fullmatch(
        r"lambda +0\.3 +command line", next(x for x in lines if x.startswith("lambda"))
    )
    assert re.fullmatch(r"threads +auto +default", next(x for x in lines if "threads" in x))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "t": st.floats(1e-6, 1e6),
            "eps": st.floats(0.01, 0.99),
            "lambda": st.floats(0, 1),
            "min_samples": st.integers(1, 9),
            "mask_x_2": st.integers(0, 5),
            "kgbd_order": st.sampled_from(["raw", "mapped", "mirrored"]),
            "save_model": st.booleans(),
        },
    )
)
def test_typed_values_arrive_unchanged_and_survive_storing(values):
    argv = [word for key, value in values.items() for word in (f"--{key}", str(value))]
    found = simmc(*argv)
    for key, value in values.items():
        name = "lambda_" if key == "lambda" else key
        assert found.settings.flat()[name] == value
        assert found.origin[name] == "command line"
    again = simmc(stored=json.loads(json.dumps(found.to_dict())))
    assert again.settings == found.settings


# contents of files and stored runs


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epz = 1", r"m\.toml: there is no setting 'epz'; did you mean eps\?"),
        ("t = 'hot'", r"m\.toml: t = 'hot' .*allowed"),
        ("eps = 2", r"m\.toml: eps = 2 .*strictly between"),
        ("length = 6.5", r"m\.toml: length = 6\.5 .*whole number"),
        ("length = true", r"m\.toml: length = True"),
        ("t = 0.1\ntau = 0.2", r"m\.toml: tau sets t a second time"),
        ("[training]\nt = 0.1", r"m\.toml: there is no setting 'training'"),
        ("config = 'x'", r"m\.toml: there is no setting 'config'"),
        ("t = ", r"m\.toml is not valid TOML"),
        ("\udcff", r"m\.toml"),
    ],
)
def test_refused_in_a_file(tmp_path, content, message):
    path = tmp_path / "m.toml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=message):
        simmc("--config", str(path))


def test_a_folder_as_file(tmp_path):
    with pytest.raises(UserError, match=r"cannot read"):
        simmc("--config", str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        "eps = [0.5]",
        "eps = {a = 1}",
        "eps = nan",
        "eps = inf",
        "eps = 0.9999999999",
        "eps = true",
        "eps = 1979-05-27",
        "batch_size = 2.5",
        f"batch_size = 1{'0' * 30}",
        f"batch_size = 0x{'f' * 5000}",
        f"batch_size = {'9' * 5000}",
        'dataset = ["KGBD"]',
        "dataset = 12.5",
        'data_root = "a\\u0000b"',
        f'data_root = "{"a" * 5000}"',
        f"epochs = {'[' * 3000}",
        "save_model = [1]",
        f"{'k' * 5000} = 1",
        "[eps]\na = 1",
        "[[eps]]",
    ],
    ids=lambda content: content[:40],
)
def test_a_file_with_values_of_the_wrong_type(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"mine\.toml") as error:
        resolve(SimMCSettings, ["--config", str(path)])
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("value", [[], {}, 10**30, 2.5, True, None, "x" * 9999, [[[0]]]])
def test_a_stored_run_with_values_of_the_wrong_type(value):
    stored = resolve(SimMCSettings, []).to_dict()
    # any number may name a dataset, and eps may be auto
    fine = [("save_model", True), ("dataset", 10**30), ("eps", None)]
    for key in ("H", "eps", "dataset", "save_model"):
        wrong = {**stored, "settings": {**stored["settings"], key: value}}
        if (key, value) in fine:
            continue
        with pytest.raises(UserError, match=key):
            resolve(SimMCSettings, [], stored=wrong)


def test_settings_that_do_not_fit_each_other_name_the_files_they_come_from(tmp_path):
    path = write(tmp_path / "mine.toml", "mask_x = 9")
    with pytest.raises(UserError, match=r"--mask_x 9 .*mine\.toml"):
        simmc("--config", path)
    stored = simmc().to_dict()
    stored["settings"]["mask_x"] = 9
    with pytest.raises(UserError, match=r"--mask_x 9 .*config\.json"):
        simmc(stored=stored)
    with pytest.raises(UserError, match=r"0 to 5\.$"):
        simmc("--mask_x", "9")


@pytest.mark.parametrize("name", ["x" * 251, "../himpc/KGBD_probe"])
def test_a_stored_dataset_of_any_name_has_no_preset(name):
    stored = simmc().to_dict()
    stored["settings"] |= {"dataset": name, "probe": "probe"}
    assert not any(layer.startswith("preset") for layer in simmc(stored=stored).origin.values())


# another command


@dataclass(frozen=True)
class TeaSettings(Settings):
    """Settings of a command that knows neither datasets nor fidelity."""

    COMMAND: ClassVar[str] = "tea"
    SUMMARY: ClassVar[str] = "Make tea."

    kind: str = option("green", "Which.", choices=("green", "black"), group="tea")
    minutes: float = option(3.0, "How long.", limits=Range(0, 10), group="tea")

    @classmethod
    def preset_names(cls, values):
        return [values["kind"]]


def test_the_machinery_serves_any_command(tmp_path):
    write(tmp_path / "black.toml", "minutes = 5\n")
    found = resolve(TeaSettings, ["--kind", "Black"], preset_dir=tmp_path)
    assert found.settings == TeaSettings(kind="black", minutes=5)
    assert found.origin == {"kind": "command line", "minutes": "preset black.toml"}
    assert resolve(TeaSettings, [], preset_dir=tmp_path).origin["minutes"] == "default"


@dataclass(frozen=True)
class OvenSettings(TeaSettings):
    """A command with a small budget."""

    budget: str = option("full", "How much.", choices=("full", "cpu"), group="tea")
    config: str = option("", "A file.", group="tea")


@pytest.mark.parametrize(
    ("words", "minutes", "origin"),
    [
        ([], 5, "preset green.toml"),
        (["--budget", "cpu"], 1, "preset green.toml with --budget cpu"),
        (["--budget", "cpu", "--minutes", "7"], 7, "command line"),
        (["--kind", "black", "--budget", "cpu"], 4, "preset black.toml"),
        (["--config", "mine.toml"], 2, "file mine.toml with --budget cpu"),
    ],
)
def test_keys_for_the_small_budget(tmp_path, monkeypatch, words, minutes, origin):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "green.toml", "minutes = 5\nminutes_cpu = 1\n")
    write(tmp_path / "black.toml", "minutes = 4\n")
    write(tmp_path / "mine.toml", 'minutes_cpu = 2\nbudget = "cpu"\n')
    found = resolve(OvenSettings, words, preset_dir=tmp_path)
    assert (found.settings.minutes, found.origin["minutes"]) == (minutes, origin)


def test_a_command_without_a_budget_has_no_such_keys(tmp_path):
    write(tmp_path / "green.toml", "minutes_cpu = 1\n")
    with pytest.raises(UserError, match=r"green\.toml: .*'minutes_cpu'; did you mean minutes\?"):
        resolve(TeaSettings, [], preset_dir=tmp_path)


def test_a_faulty_preset_names_its_file(tmp_path):
    write(tmp_path / "green.toml", "minute = 5\n")
    with pytest.raises(UserError, match=r"green\.toml: .*'minute'; did you mean minutes\?"):
        resolve(TeaSettings, [], preset_dir=tmp_path)
