import dataclasses
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc import settings as config
from simmc.data import specs
from simmc.errors import UserError
from simmc.methods.simmc import SimMCSettings
from simmc.settings import Range, Settings, option, options_of, resolve
from simmc.settings import switches as fidelity

PRESETS = Path(__file__).parents[1] / "configs" / "simmc"
# Presets of the public program: J aside, f, x, lambda, tau, eps, min_samples
TABLE = {
    "KS20_probe": (6, 2, 0.5, 0.08, 0.8, 2),
    "KGBD_probe": (6, 2, 0.5, 0.06, 0.6, 4),
    "IAS_A": (6, 2, 0.75, 0.08, 0.8, 2),
    "IAS_B": (6, 2, 0.5, 0.08, 0.8, 2),
    "BIWI_Walking": (6, 2, 0.25, 0.07, 0.8, 2),
    "BIWI_Still": (6, 2, 0.25, 0.07, 0.6, 2),
    **{f"CASIA_B_{pair}": (40, 10, 0.25, 0.075, 0.75, 2) for pair in specs.CASIA_PROBES},
}


def simmc(*argv, **more):
    return resolve(SimMCSettings, argv, **more)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


# --- layers -------------------------------------------------------------------------------------


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
        return [
            (getattr(found.settings, name), found.origin[name]) for name in ("mpc_reduction", "t")
        ]

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
    assert simmc("--lambda", "0.1", "--mask_lambda", "0.2").settings.lambda_ == 0.2


def test_a_stored_run_ranks_below_what_is_given_now(tmp_path):
    first = simmc("--dataset", "KGBD", "--t", "0.05", "--fidelity", "exact", "--device", "cpu")
    stored = json.loads(json.dumps(first.to_dict()))
    again = simmc("--dataset", "KGBD", stored=stored)
    assert again.settings.t == 0.05
    assert again.origin["t"] == "stored run"
    assert again.settings.mask_scope == "window"
    assert again.settings.machine.device == "auto"  # another machine may be at work now
    assert simmc("--t", "0.04", stored=stored).settings.t == 0.04
    assert simmc("--fidelity", "released", stored=stored).settings.mask_scope == "batch"
    assert resolve(SimMCSettings, [], stored=stored).settings.place.dataset == "KGBD"


def test_stored_settings_of_another_version():
    kept = {"settings": {"t": 0.05, "gone": 1}}
    assert simmc(stored=kept).settings.t == 0.05
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
        assert getattr(found.settings, name) == value
        assert found.origin[name] == "command line"
    again = simmc(stored=json.loads(json.dumps(found.to_dict())))
    assert again.settings == found.settings


# --- flags --------------------------------------------------------------------------------------


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
    assert getattr(found.settings, name) == value
    assert type(getattr(found.settings, name)) is type(value)
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
        (["--epz", "0.5"], r"--epz; did you mean --eps\?"),
        (["--min-sample", "2"], r"--min-sample; did you mean --min_samples\?"),
        (["--xyzzyplugh"], r"no flag --xyzzyplugh\.$"),
        (["KGBD"], r"'KGBD' belongs to no flag"),
        (["-e", "1"], r"'-e' belongs to no flag"),
        (["--eps"], r"--eps: expected one argument.*simmc simmc --help"),
        (["--eps", "1"], r"--eps '1' .*allowed: a number strictly between 0 and 1"),
        (["--eps", "nan"], r"--eps 'nan'"),
        (["--eps", "wide"], r"--eps 'wide'"),
        (["--t", "0"], r"--t '0' .*above 0"),
        (["--t", "inf"], r"--t 'inf'"),
        (["--lambda", "1.5"], r"--lambda '1.5' .*from 0 to 1"),
        (["--min_samples", "0"], r"--min_samples '0' .*1 or more"),
        (["--min_samples", "2.5"], r"--min_samples '2.5' .*whole number"),
        (["--q", "3"], r"--q '3' .*from 1 to 2"),
        (["--mode", "Test"], r"--mode 'Test' .*Train or Eval"),
        (["--kgbd_order", "odd"], r"--kgbd_order 'odd' .*raw, mapped or mirrored"),
        (["--save_model", "2"], r"--save_model '2' .*0 or 1"),
        (["--mask_x_2", "some"], r"--mask_x_2 'some' .*same or a whole number 0 or more"),
        (["--mask_x", "6"], r"--mask_x 6 .*--length 6.*0 to 5"),
        (["--mask_x_2", "6"], r"--mask_x_2 6 .*--length 6"),
        (["--length", "2"], r"--mask_x 2 .*--length 2"),
        (["--k2", "30"], r"--k2 30 .*--k1 20"),
        (["--q", "1"], r"--q 1 .*--lambda 0"),
        (["--root", "tail"], r"--root 'tail' .*hip_center"),
        (["--root", "left_thumb", "--dataset", "KGBD"], r"--root 'left_thumb' .*KGBD"),
        (["--seed", "-1"], r"--seed '-1'"),
        (["--dataset", "MNIST"], r"--dataset MNIST.*KGBD"),
        (["--dataset", "IAS"], r"--probe 'probe' .*IAS; allowed: A, B"),
        (["--dataset", "KGBD", "--probe", "A"], r"--probe 'A' .*KGBD; allowed: probe"),
        (["--dataset", "BIWI", "--probe_type", "nm.nm"], r"--probe_type nm\.nm is for CASIA_B"),
        (["--dataset", "CASIA_B", "--probe_type", "nm.cl"], r"--probe_type 'nm.cl' .*nm\.nm"),
        (["--probe_type", "0.45"], r"--probe_type '0.45' .*0\.30"),
        (["--probe", "0.30", "--probe_type", "30.0"], r"--probe 0\.30 and --probe_type 30\.0"),
        (["--config", "absent.toml"], r"--config.*absent\.toml"),
    ],
)
def test_refused(argv, message):
    with pytest.raises(UserError, match=message):
        simmc(*argv)


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


def test_values_set_in_code_are_checked_too():
    with pytest.raises(UserError, match="--eps"):
        SimMCSettings.of(eps=1.5)
    with pytest.raises(UserError, match="--mask_x"):
        dataclasses.replace(SimMCSettings.of(), mask_x=6)
    found = SimMCSettings.of(dataset="caisa_b", length=40, t=1)
    assert (found.dataset, found.probe, found.t) == ("CASIA_B", "nm.nm", 1.0)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SimMCSettings.of().eps = 0.5


# --- datasets and probes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "dataset", "probe", "preset"),
    [
        ([], "KS20", "probe", "KS20_probe"),
        (["--dataset", "kgbd"], "KGBD", "probe", "KGBD_probe"),
        (["--dataset", "IAS", "--probe", "a"], "IAS", "A", "IAS_A"),
        (["--dataset", "BIWI", "--probe", "walking"], "BIWI", "Walking", "BIWI_Walking"),
        (["--dataset", "CAISA_B", "--probe_type", "cl.nm"], "CASIA_B", "cl.nm", "CASIA_B_cl.nm"),
        (["--dataset", "CASIA_B", "--probe", "bg.bg"], "CASIA_B", "bg.bg", "CASIA_B_bg.bg"),
        (["--dataset", "CASIA_B"], "CASIA_B", "nm.nm", "CASIA_B_nm.nm"),
        (["--probe_type", "0.30"], "KS20", "0.30", "KS20_probe"),
        (["--probe", "180.180"], "KS20", "180.180", "KS20_probe"),
    ],
)
def test_probes_and_presets(argv, dataset, probe, preset):
    found = simmc(*argv)
    assert (found.settings.place.dataset, found.settings.place.probe) == (dataset, probe)
    assert found.settings.place.probe_type == (probe if "." in probe else "")
    assert found.origin["eps"] == f"preset {preset}.toml"


def test_a_probe_that_follows_from_another_flag_says_so():
    found = simmc("--dataset", "CASIA_B", "--probe_type", "cl.cl")
    assert found.origin["probe"] == "derived"
    assert found.origin["probe_type"] == "command line"


def test_every_probe_of_every_dataset_has_a_preset():
    for spec in specs.DATASETS.values():
        for probe in spec.probes:
            found = simmc("--dataset", spec.name, "--probe", probe)
            assert found.origin["t"].startswith("preset ")
            assert found.settings.place.length == spec.default_length


def test_presets_hold_the_defaults_of_the_specification():
    assert {path.stem for path in PRESETS.glob("*.toml")} == set(TABLE)
    for name, expected in TABLE.items():
        keys = ("length", "mask_x", "lambda", "t", "eps", "min_samples")
        found = tomllib.loads((PRESETS / f"{name}.toml").read_text())
        assert found == dict(zip(keys, expected, strict=True)), name


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_header_of_a_preset(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 100
    command = re.fullmatch(r"# python SimMC\.py (.*)", lines[0]).group(1)
    assert simmc(*command.split()).origin["t"] == f"preset {path.name}"
    assert re.search(r"top-1 [\d.]+, top-5 [\d.]+, top-10 [\d.]+, mAP [\d.]+", lines[1])
    assert "docs/results.md" in lines[2]


def test_presets_of_an_installed_package_win_over_a_folder_beside_it(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "simmc"
    package.mkdir(parents=True)
    monkeypatch.setattr(
        "simmc.settings.layers.resources.files", lambda name: tmp_path / "site-packages" / name
    )
    assert config.preset_root() == package.parent / "configs"  # as in a checkout
    (package / "configs").mkdir()
    assert config.preset_root() == package / "configs"


# --- the help page --------------------------------------------------------------------------------


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
    for row in fidelity.SWITCHES.values():
        assert (f"[{row.quirk}]" in flat) or "simmc" not in row.commands


# --- another command ------------------------------------------------------------------------------


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


@given(st.floats(allow_nan=False), st.floats(-5, 5), st.floats(-5, 5), st.booleans())
def test_range(value, low, high, exclusive):
    inside = low < value < high if exclusive else low <= value <= high
    assert (value in Range(low, high, exclusive)) == inside


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
    for key in ("H", "eps", "dataset", "save_model"):
        wrong = {**stored, "settings": {**stored["settings"], key: value}}
        if key == "save_model" and value is True:
            continue
        with pytest.raises(UserError, match=key):
            resolve(SimMCSettings, [], stored=wrong)


@pytest.mark.parametrize("value", ["0.9999999999", "0.99999998", "1"])
@pytest.mark.parametrize("flag", ["--eps", "--doubt"])
def test_a_cut_that_is_1_in_single_precision(flag, value):
    with pytest.raises(UserError, match=flag):
        resolve(config.TrackMCSettings, [flag, value])


def test_the_largest_cut():
    assert resolve(SimMCSettings, ["--eps", "0.99999994"]).settings.clustering.eps == 0.99999994
