"""What holds for every trained method: datasets, --resume, --mode Eval, sizes and presets.

SimMC itself has test_end_to_end.py and test_simmc.py.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from simmc.cli.console import Console
from simmc.data import specs
from simmc.methods.registry import METHODS
from simmc.runs.directory import RunDirectory
from simmc.settings import resolve
from tests.cli.conftest import (
    BATCH,
    LENGTHS,
    PLACES,
    assert_same_run,
    latest,
    outcomes_of,
    run,
    words_for,
)
from tests.conftest import ROOT

LEVELS = {"levels": {"joint", "component", "limb"}}
GAIT, GRAPHS = ({"kinds": set(kinds.split())} for kinds in ("mean sc last", "mean lstm prefix"))
SMALL = ("--H", 8, "--threads", 1, "--eval_every", 1)
ONCE = ("--label_free_run", "off")


class Case(NamedTuple):
    """A way to train: what makes it quick, and what its results have to hold."""

    recipe: str
    title: str
    flags: tuple[object, ...]
    epochs: int = 1
    further: Mapping[str, set[str]] = MappingProxyType({})


CASES = {
    "himpc": Case("himpc", "Hi-MPC", ("--H", 32, "--threads", 1, "--M", 2, *ONCE), 2, LEVELS),
    "trackmc": Case("trackmc_auto", "TrackMC (recordings: auto)", ("--threads", 1), 2),
    "age": Case("age", "AGE", SMALL, 1, GAIT),
    "sgela": Case("sgela", "SGELA", SMALL, 1, GAIT),
    "mgscr": Case("mgscr", "MG-SCR (SSP)", (*SMALL, *ONCE), 1, GRAPHS),
    "smsge": Case("smsge", "SM-SGE", (*SMALL, *ONCE), 1, GRAPHS),
    **{
        f"supervised --model {model}": Case(
            f"supervised_{model}", title, ("--H", 32, "--threads", 1)
        )
        for model, title in {
            "encoder": "SimMC encoder (supervised)",
            "posegait": "PoseGait (supervised, our reading)",
        }.items()
    },
}


def trained_on(dataset: str, probe: str) -> list[str]:
    """The methods that are trained there: related ones take turns, slow ones have few places."""
    found = ["himpc", "age" if probe in ("B", "Still", "bg.bg") else "sgela"]
    found.append("smsge" if probe in ("B", "Still", "probe", "bg.bg") else "mgscr")
    if probe not in ("0.30", "bg.bg", "cl.cl", "bg.nm"):
        found.append("trackmc")
    if (dataset, probe) in (("KS20", "probe"), ("IAS", "A"), ("CASIA_B", "nm.nm")):
        found.append("supervised --model encoder")
    return found + ["supervised --model posegait"] * ((dataset, probe) == ("KS20", "probe"))


def words(prepared: Any, home: Any, case: str, dataset: str, probe: str) -> list[object]:
    """The words of a quick training; with class sampling a batch holds a window of every person."""
    command, *more = case.split()
    batches = {**BATCH, "KGBD": 12}
    flags = (*CASES[command if command in CASES else case].flags, *more)
    return [command, *words_for(prepared, home, dataset, probe, *flags, batches=batches)]


@pytest.mark.parametrize(
    ("case", "dataset", "probe"), [(c, *place) for place in PLACES for c in trained_on(*place)]
)
def test_every_dataset_and_probe(case, dataset, probe, prepared, tmp_path, capsys):
    recipe, title, _, epochs, further = CASES[case]
    assert run(*words(prepared, tmp_path, case, dataset, probe), "--epochs", epochs) == 0
    made = latest(tmp_path, recipe, dataset, probe)
    found = made.read_results()
    length = LENGTHS.get(dataset, 6)
    assert made.path.name == f"{recipe}_f{length}_{found['fidelity']}_seed0"
    assert (found["method"], found["dataset"], found["probe"]) == (title, dataset, probe)
    assert f"{title} on {dataset}, probe {probe}" in capsys.readouterr().out
    shown = [figures for figures in found["protocols"].values() if figures]
    assert shown and len(outcomes_of(made)) == len(shown)
    for figures in shown:
        assert (0 if case == "trackmc" else 1) <= figures["epoch"] <= epochs
        assert 0 <= figures["top1"] <= figures["top5"] <= figures["cmc"][-1] <= 1
        assert {name: set(figures[name]) for name in further} == further
    assert any(record.get("steps") for record in made.read_metrics())
    assert not (made.path.parent / "latest").exists()  # that names the newest run of SimMC
    assert ("supervised" in found) == case.startswith("supervised")
    if case == "trackmc":
        better = [row["epoch"] for row in made.read_metrics() if row["reach_score"] is not None]
        assert found["protocols"]["label_free"]["epoch"] == better[-1]
        assert 0 < found["counts"]["people"] <= found["counts"]["tracks"]
    if further == GAIT:  # one training, so one set of weights
        assert found["protocols"]["paper"] == found["protocols"]["label_free"]
        assert found["settings"]["root"] == ("first" if dataset == "CASIA_B" else "none")
    if further == GRAPHS:
        assert found["settings"]["class_sampling"] == "all"
    if case.startswith("supervised"):
        assert found["protocols"]["fixed_epochs"]["epoch"] == 1
        assert not (made.path / "label_free").exists()  # sampling by identity is no news here


def interrupted_after(epoch: int) -> Any:
    """Stands for what is printed of an epoch, until somebody presses Ctrl-C."""

    def report(self: Any, record: Any, training: Any, board: Any) -> None:
        if record["epoch"] == epoch:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize(
    "case",
    [
        *(case for case in CASES if case != "trackmc"),
        *(f"trackmc --recordings {tier}" for tier in ("auto", "off", "positives", "merge")),
    ],
)
def test_continued_and_scored_again(case, prepared, tmp_path, capsys, monkeypatch):
    typed = words(prepared, tmp_path, case, "KGBD", "probe")
    whole, parts = (RunDirectory(tmp_path / "KGBD/probe" / name) for name in ("whole", "parts"))
    assert run(*typed, "--epochs", 3, "--run", "whole") == 0
    if case.startswith("trackmc"):  # its length decides how fast it learns
        with monkeypatch.context() as patch:
            patch.setattr(Console, "epoch", interrupted_after(1))
            assert run(*typed, "--epochs", 3, "--run", "parts") == 130
        again = typed
    else:
        assert run(*typed, "--epochs", 1, "--run", "parts") == 0
        again = [*typed[: len(typed) - len(case.split()) + 1], "--epochs", 3]
    assert run(*again, "--run", "parts", "--resume") == 0  # the stored run knows its model
    assert_same_run(whole, parts)
    capsys.readouterr()
    assert run(*typed, "--mode", "Eval", "--run", "whole") == 0
    shown = capsys.readouterr().out
    for figures in filter(None, whole.read_results()["protocols"].values()):
        for one in (figures, *figures.get("kinds", {}).values()):
            assert f"{100 * one['top1']:.2f}" in shown
    assert ("SUPERVISED: " in shown) == case.startswith("supervised")


# 269 values a frame -> 512 units -> their means and deviations -> 512 features
TRACK = (60 + 19 + 190) * 512 + 512 + 1024 * 512 + 512


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("simmc --dataset KS20", ["151,040 parameters (0.15M)", "0.98 GFLOP"]),
        ("simmc --dataset KGBD", ["147,200 parameters"]),
        ("himpc --dataset KGBD", ["1,797,888 parameters (1.80M; heads 524,288 a level)"]),
        ("trackmc --dataset KGBD", [f"{TRACK:,} parameters"]),
        ("age --dataset KGBD", ["7.10M"]),
        ("age --dataset KS20", ["7.15M"]),
        ("sgela --dataset KGBD", ["8.47M"]),
        ("sgela --dataset KS20", ["8.52M"]),
        ("mgscr --dataset KS20", ["347,759 parameters (0.35M)", "6.60 GFLOP"]),
        ("smsge --dataset IAS --probe A", ["5,582,094 parameters (5.58M)"]),
        ("smsge --dataset KS20", ["5,729,619 parameters", "22.40 GFLOP"]),
        ("supervised --dataset KGBD --model encoder", ["81,408 parameters"]),
        ("supervised --dataset KGBD --model posegait", ["1,736,544 parameters"]),
    ],
)
def test_the_published_sizes(typed, said, capsys):
    assert run(*typed.split(), "--model_size", 1) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in said), out


PRESETS = {
    path: command
    for path in sorted((ROOT / "configs").glob("*/*.toml"))
    if path.parent.name not in ("simmc", "himpc", "descriptors")  # which have other heads
    and (command := path.read_text().splitlines()[0].partition(f"simmc {path.parent.name} ")[2])
}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_command_in_the_head_of_a_preset_takes_it(path):
    command = path.parent.name
    found = resolve(METHODS[command].settings, PRESETS[path].split())
    assert found.origin["epochs"] == f"preset {path.name}"
    if command != "recognition":
        names = {"trackmc": "recordings", "supervised": "model"}
        wanted = found.settings.flat()[names.get(command, "dataset")]
        assert path.stem.removesuffix("_cpu") == wanted
    if command == "trackmc":
        assert found.settings.joints.kgbd_order == "mapped"
        assert found.settings.windows.class_sampling == "off"


def test_every_method_and_dataset_has_presets():
    for command in ("age", "sgela", "mgscr", "smsge"):
        assert {f"{command}/{name}.toml" for name in specs.DATASETS} <= {
            f"{path.parent.name}/{path.name}" for path in PRESETS
        }
    found = {path.parent.name for path in PRESETS}
    assert {"trackmc", "supervised", "recognition"} <= found


@pytest.mark.parametrize("dataset", specs.DATASETS)
@pytest.mark.parametrize("command", ["age", "sgela", "mgscr", "smsge"])
def test_a_small_budget_has_fewer_epochs(command, dataset):
    where = ["--dataset", dataset, "--probe", specs.get(dataset).probes[0], "--budget"]
    kind = METHODS[command].settings
    full, small = (resolve(kind, [*where, budget]) for budget in ("full", "cpu"))
    for found in (full, small):
        assert found.origin["epochs"].startswith(f"preset {dataset}")
    full, small = full.settings.flat(), small.settings.flat()
    assert small["epochs"] <= full["epochs"]
    assert (small["H"], small["lr"]) == (full["H"], full["lr"])
    if command in ("age", "sgela"):
        assert full["epochs"] == {"KGBD": 150, "CASIA_B": 100}.get(dataset, 400)
        assert small["epochs"] < full["epochs"]
