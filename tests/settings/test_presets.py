"""Datasets, probes and the presets that fit them."""

import re
import tomllib
from pathlib import Path

import pytest

from simmc.data import specs
from simmc.errors import UserError
from simmc.methods.simmc import SimMCSettings
from simmc.methods.trackmc import TrackMCSettings
from simmc.settings import preset_root, resolve

PRESETS = Path(__file__).parents[2] / "configs" / "simmc"
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
    assert preset_root() == package.parent / "configs"  # as in a checkout
    (package / "configs").mkdir()
    assert preset_root() == package / "configs"


def test_without_a_preset_settings_choose_themselves():
    found = simmc("--dataset", "Mine")
    flat = found.settings.flat()
    assert [flat[name] for name in ("eps", "min_samples", "input")] == [None] * 3
    assert (flat["best_by"], flat["part_batches"]) == ("body", "keep")
    assert {found.origin[name] for name in SimMCSettings.WITHOUT_PRESET} == {"no preset"}
    again = simmc(stored=found.to_dict())
    assert again.settings == found.settings


def test_what_is_typed_wins_without_a_preset():
    found = simmc("--dataset", "Mine", "--eps", "0.5", "--input", "joints", "--best_by", "labels")
    flat = found.settings.flat()
    assert (flat["eps"], flat["input"], flat["best_by"]) == (0.5, "joints", "labels")
    assert flat["min_samples"] is None
    for level, batches in (("released", "drop"), ("exact", "keep")):
        typed = simmc("--dataset", "Mine", "--fidelity", level)
        assert typed.settings.windows.part_batches == batches
        assert typed.origin["part_batches"] == f"fidelity {level}"


def test_a_preset_keeps_its_numbers_and_auto_can_be_typed():
    for dataset in ("KGBD", "KS20"):
        flat = simmc("--dataset", dataset).settings.flat()
        assert None not in (flat["eps"], flat["min_samples"], flat["input"])
        assert (flat["best_by"], flat["epochs"]) == ("labels", 15000)
    assert simmc("--dataset", "KGBD", "--eps", "auto").settings.clustering.eps is None


def test_a_method_without_a_rule_refuses_auto():
    for flags in (["--eps", "auto"], ["--input", "auto"]):
        with pytest.raises(UserError, match=flags[0]):
            resolve(TrackMCSettings, ["--dataset", "KGBD", *flags])
