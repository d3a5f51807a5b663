"""What holds for every trained method: datasets, files, --resume, --mode Eval, sizes, presets."""

import math
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from simmc.cli.console import Console
from simmc.data import specs
from simmc.data.experiment import inputs
from simmc.data.features import FeatureFiles
from simmc.data.manifest import spec_of
from simmc.data.store import dataset_folder
from simmc.methods.registry import METHODS
from simmc.reports import results, tables
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.settings import resolve
from tests.cli.conftest import (
    BATCH,
    LENGTHS,
    PLACES,
    QUICK,
    TWIN,
    assert_same_run,
    file_names,
    latest,
    metrics_of,
    outcomes_of,
    read_json,
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
    "simmc": Case("simmc", "SimMC", ("--H", 32, "--threads", 1), 2),
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
    if probe == "90.90":
        return ["simmc"]
    found = ["simmc", "himpc", "age" if probe in ("B", "Still", "bg.bg") else "sgela"]
    found.append("smsge" if probe in ("B", "Still", "probe", "bg.bg") else "mgscr")
    if probe not in ("0.30", "bg.bg", "cl.cl", "bg.nm"):
        found.append("trackmc")
    if (dataset, probe) in (("KS20", "probe"), ("IAS", "A"), ("CASIA_B", "nm.nm")):
        found.append("supervised --model encoder")
    if probe in ("probe", "cl.cl"):
        found.append("simmc --fidelity exact")
    return found + ["supervised --model posegait"] * ((dataset, probe) == ("KS20", "probe"))


def known(case: str) -> Case:
    command = case.split()[0]
    return CASES[command if command in CASES else case]


def words(prepared: Any, home: Any, case: str, dataset: str, probe: str) -> list[object]:
    """The words of a quick training; with class sampling a batch holds a window of every person."""
    command, *more = case.split()
    batches = {**BATCH, "KGBD": 12}
    flags = (*known(case).flags, *more)
    return [command, *words_for(prepared, home, dataset, probe, *flags, batches=batches)]


WEIGHTS = {"paper": "best.pt", "supervised": "best.pt"}  # of other protocols: the protocol's name


def check_folder(made: RunDirectory, shown: dict[str, Any], epochs: int) -> None:
    """The files of a run; a second training for the label-free numbers has a folder of its own."""
    wanted = {"config.json", "metrics.jsonl", "results.json", "last.pt"}
    for protocol in shown:
        wanted |= {f"probes_{protocol}.npz", WEIGHTS.get(protocol, f"{protocol}.pt")}
    if (made.path / TWIN).is_dir():
        wanted = (wanted - {"label_free.pt"}) | {TWIN}
        assert (made.path / TWIN / "label_free.pt").is_file()
    assert file_names(made) == wanted
    assert set(outcomes_of(made)) == set(shown)
    records = made.read_metrics()
    assert [record["epoch"] for record in records] == list(range(epochs + 1))
    assert any(record.get("steps") for record in records)


def check_figures(figures: dict[str, Any]) -> None:
    rates = [figures[name] for name in ("top1", "top5", "top10", "mAP", "mINP")]
    assert all(math.isfinite(rate) and 0 <= rate <= 1 for rate in rates)
    curve = figures["cmc"]
    assert len(curve) == 50 and all(a <= b for a, b in pairwise(curve))
    assert [curve[k - 1] for k in (1, 5, 10)] == rates[:3]


@pytest.mark.parametrize(
    ("case", "dataset", "probe"),
    [(c, *place) for place in (*PLACES, ("KS20", "90.90")) for c in trained_on(*place)],
)
def test_every_dataset_and_probe(case, dataset, probe, prepared, tmp_path, capsys):
    recipe, title, _, epochs, further = known(case)
    assert run(*words(prepared, tmp_path, case, dataset, probe), "--epochs", epochs) == 0
    made, out = latest(tmp_path, recipe, dataset, probe), capsys.readouterr().out
    found, length = made.read_results(), LENGTHS.get(dataset, 6)
    prefix = "" if recipe == "simmc" else f"{recipe}_"
    assert made.path.name == f"{prefix}f{length}_{found['fidelity']}_seed0"
    expected = (title, dataset, probe, length, 0)
    assert tuple(found[n] for n in ("method", "dataset", "probe", "length", "seed")) == expected
    assert f"{title} on {dataset}, probe {probe}" in out
    shown = {name: figures for name, figures in found["protocols"].items() if figures}
    check_folder(made, shown, epochs)
    for figures in shown.values():
        check_figures(figures)
        assert (0 if case == "trackmc" else 1) <= figures["epoch"] <= epochs
        assert {name: set(figures[name]) for name in further} == further
    assert all(found["counts"][name] > 0 for name in ("train", "probe", "gallery", "identities"))
    assert found["peak_rss_bytes"] > 0 and len(found["data"]["manifest_sha256"]) == 64
    assert {"torch", "numpy", "python", "simmc"} < set(found["versions"])
    if recipe != "simmc":  # it names the newest run of SimMC
        assert not (made.path.parent / "latest").exists()
    else:
        assert tuple(shown) == ("paper", "label_free") and found["counts"]["clusters"] > 0
        stages = {"features", "neighbours", "jaccard", "dbscan", "steps", "evaluation"}
        assert stages < set(found["timing"])
    if "exact" in case:
        folder = dataset_folder(prepared.data, specs.get(dataset), length)
        windows = read_json(folder / "manifest.json")["counts"]["train"]["windows"]
        assert found["counts"]["train"] == windows  # every window, once
    if case == "trackmc":
        better = [row["epoch"] for row in made.read_metrics() if row["reach_score"] is not None]
        assert found["protocols"]["label_free"]["epoch"] == better[-1]
        assert 0 < found["counts"]["people"] <= found["counts"]["tracks"]
    if further == GAIT:  # one training, so one set of weights
        assert found["protocols"]["paper"] == found["protocols"]["label_free"]
        assert found["settings"]["root"] == ("first" if dataset == "CASIA_B" else "none")
    if further == GRAPHS:
        assert found["settings"]["class_sampling"] == "all"
    supervised = case.startswith("supervised")
    assert found.get("supervised", False) == supervised
    if supervised:
        assert found["protocols"]["fixed_epochs"]["epoch"] == 1 and TWIN not in file_names(made)
        assert "clusters" not in found["counts"] and "label-free" not in out
        assert out.count("SUPERVISED: ") == 2  # before the training and below its numbers
        rows = tables.build(results.find_all(tmp_path)).rows
        assert all("supervised" in row.method for row in rows if row.protocol == "paper")
        assert "identity labels" in found["note"]


@pytest.mark.parametrize(
    ("command", "kind", "losses"), [("sgela", "sc", 3), ("mgscr", "lstm", 1), ("smsge", "lstm", 4)]
)
def test_the_chosen_kind_is_scored_and_every_loss_is_logged(
    command, kind, losses, prepared, tmp_path
):
    typed = [*words(prepared, tmp_path, command, "KGBD", "probe"), "--epochs", 2, "--kind", kind]
    assert run(*typed) == 0
    made = latest(tmp_path, command)
    paper = made.read_results()["protocols"]["paper"]
    assert {key: paper[key] for key in paper["kinds"][kind]} == paper["kinds"][kind]
    first, second, last = metrics_of(made)
    names = [name for name in first if name.startswith("loss_")]
    assert len(names) == losses and not any(name.startswith("loss_") for name in last)
    assert all(first[name] > 0 and second[name] > 0 for name in names)
    if command != "sgela":
        assert all(first[name] > second[name] for name in names)
    rows = tables.build(results.find_all(tmp_path)).rows
    assert CASES[command].title in {row.method for row in rows if row.protocol == "paper"}


@pytest.mark.parametrize(
    ("task", "stored", "title"),
    [
        ("pred", "pred", "SGELA (Pred.)"),
        ("sort+rev_rec", "rev_rec+sort", "SGELA (Rev. Rec. + Sort.)"),
        ("plus", "plus", "SGELA (Rev. Rec. Plus)"),
    ],
)
def test_pretext_tasks_have_titles(task, stored, title):
    settings = resolve(METHODS["sgela"].settings, ["--task", task]).settings
    assert (settings.task, METHODS["sgela"].title(settings)) == (stored, title)


def test_plus_with_own_data_is_three_trainings(prepared, tmp_path):
    """The features of the joint run are those of trainings of their own, in their order."""
    typed = [*words(prepared, tmp_path, "sgela", "KGBD", "probe"), "--plus_data", "tasks"]
    for name, task in (("all", "plus"), ("named", "rev_rec+pred+sort")):
        assert run(*typed, "--epochs", 1, "--task", task, "--run", name) == 0
    home = tmp_path / "KGBD" / "probe"
    a, b = (checkpoints.load(home / name / "best.pt")["network"] for name in ("all", "named"))
    assert all((a[key] == b[key]).all() for key in a)
    assert a["models.output"].shape == (9, 8, 20)


def interrupted_after(epoch: int) -> Any:
    """Stands for what is printed of an epoch, until somebody presses Ctrl-C."""

    def report(self: Any, record: Any, training: Any, board: Any) -> None:
        if record["epoch"] == epoch:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize(
    "case",
    [
        *(case for case in CASES if case not in ("simmc", "trackmc")),
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


def test_a_view_against_itself_both_ways(prepared):
    """--cve_diagonal reaches the request: the other way takes one list apart."""
    method = METHODS["simmc"]
    typed = words_for(prepared, "", "KS20", "90.90", "--part_batches", "keep", "--cve_diagonal")
    one, two = (
        method.load(resolve(method.settings, [*map(str, typed), way]).settings)
        for way in ("self", "settings")
    )
    assert one.same_windows and not two.same_windows
    assert len(two.probe) + len(two.gallery) == len(one.probe)


TAKE_TURNED = ("simmc", "himpc", "supervised", "sgela", "mgscr")


def input_words(prepared, home):
    flags = (*QUICK, "--epochs", 1)
    return words_for(prepared, home, "KGBD", "probe", *flags, batches={"KGBD": 16})


@pytest.mark.parametrize("command", TAKE_TURNED)
def test_turned_joints_are_for_every_method(command, prepared):
    flags = ["--dataset", "KGBD", "--data_root", str(prepared("KGBD")), "--batch_size", "16"]
    method = METHODS[command]
    plain, turned = (
        method.load(resolve(method.settings, [*flags, "--input", name]).settings)
        for name in ("joints", "turned")
    )
    for role in ("train", "probe", "gallery"):
        expected = inputs.turn(getattr(plain, role).windows, plain.skeleton)
        np.testing.assert_allclose(getattr(turned, role).windows, expected, atol=1e-6)


@pytest.mark.parametrize("command", ["simmc", "supervised"])
def test_measured_values_are_for_those_that_take_any(command, prepared, tmp_path, capsys):
    words = [*input_words(prepared, tmp_path), "--input", "turned+bones+angles"]
    assert run(command, *words) == 0
    made = latest(tmp_path, {"supervised": "supervised_encoder"}.get(command, command))
    weights = checkpoints.load(made.best)["network"]
    name = "hidden.0.weight" if command == "simmc" else "encoder.hidden.0.weight"
    assert weights[name].shape[1] == 60 + 19 + 22
    capsys.readouterr()
    assert run(command, *words, "--mode", "Eval") == 0
    figures = made.read_results()["protocols"]["paper"]
    assert f"{100 * figures['top1']:.2f}" in capsys.readouterr().out
    assert run(command, *words, "--model_size") == 0
    assert run(command, "--dataset", "KGBD", "--model_size") == 0
    measured, plain = capsys.readouterr().out.splitlines()
    assert measured != plain


def test_a_source_sees_what_it_learned_from(prepared, tmp_path):
    """Features of a model of turned joints are those of turned joints."""
    words = input_words(prepared, tmp_path)
    found = []
    spec = spec_of(prepared("KGBD"), "KGBD", 6, "probe")
    where = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--model_root", tmp_path]
    for name in ("joints", "turned"):
        assert run("mgscr", *words, "--input", name, "--run", name) == 0
        flags = ["--source", "MG-SCR", "--run", name, "--features_root", tmp_path / name]
        assert run("export-features", *where, *flags) == 0
        found.append(np.load(FeatureFiles(tmp_path / name, spec, 6, "MG-SCR").path("probe")))
    assert found[0].shape == found[1].shape
    assert not np.allclose(*found)
