"""From a source model to SimMC-UF and to recognition, by the commands, on generated walkers."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch

from simmc.cli.console import CONSOLE
from simmc.data.experiment.load import load_stored
from simmc.data.features import FeatureFiles
from simmc.data.manifest import spec_of
from simmc.data.specs import skeleton_of
from simmc.methods.pretext import budget, encode, load_trained
from simmc.methods.registry import METHODS
from simmc.methods.sources import SOURCES
from simmc.runs.directory import RunDirectory
from simmc.settings import resolve
from tests.cli import conftest
from tests.cli.conftest import LENGTHS, SMALL, assert_same_run, latest, metrics_of, run

# batches of the graph models hold every person of KGBD
words_for = partial(conftest.words_for, batches={"KS20": 16, "KGBD": 16})
PLACES = {
    "IAS": ("A", "B"),
    "BIWI": ("Walking", "Still"),
    "KS20": ("probe",),
    "KS20 by view": ("0.30",),
    "KGBD": ("probe",),
    "CASIA_B": ("nm.nm", "bg.bg", "cl.cl", "cl.nm", "bg.nm"),
}
# every source with 20, 25 and 14 joints; the golden record has all of them on KGBD
MEETINGS = [
    *(("AGE", place) for place in ("IAS", "KS20", "CASIA_B")),
    *(("SGELA", place) for place in ("BIWI", "KS20 by view", "CASIA_B")),
    *(("MG-SCR", place) for place in ("KGBD", "KS20", "CASIA_B")),
    *(("SM-SGE", place) for place in ("IAS", "KS20 by view", "CASIA_B")),
]
WIDTHS = {  # values a frame of 20, 25 and 14 joints; AGE and SGELA: three times the units
    "AGE": {20: 24, 25: 24, 14: 24},
    "SGELA": {20: 24, 25: 24, 14: 24},
    "MG-SCR": {20: 160, 25: 200, 14: 112},
    "SM-SGE": {20: 592, 25: 712, 14: 448},
}


def pretrain(words, source, *flags):
    assert run(SOURCES[source].command, *words, *SMALL, "--epochs", 1, *flags) == 0


def export(words, features, source, *flags):
    """The words of a training without those that the export does not have."""
    kept = list(words)
    place = kept.index("--batch_size")
    del kept[place : place + 2]
    return run("export-features", "--source", source, *kept, "--features_root", features, *flags)


@pytest.mark.parametrize(("source", "place"), MEETINGS)
def test_from_the_source_to_the_fine_tuned_result(source, place, prepared, tmp_path):
    dataset, probes = place.partition(" ")[0], PLACES[place]
    home, features = tmp_path / "runs", tmp_path / "features"
    words = words_for(prepared, home, dataset, probes[0])
    pretrain(words, source, "--label_free_run", "off")
    assert export(words, features, source) == 0
    for probe in probes:  # one source model serves all probes of a dataset
        words = words_for(prepared, home, dataset, probe)
        flags = ["--features_root", features, "--epochs", 1, "--label_free_run", "off"]
        assert run("finetune", "--source", source, *words, *SMALL, *flags) == 0
        name = f"{source}-{probe}" if probe[0].isdecimal() else source
        found = latest(home, f"finetune_{name}", dataset, probe).read_results()
        assert found["method"] == f"{source} + SimMC"
        figures = found["protocols"]["paper"]
        assert figures["epoch"] == 1 and 0 <= figures["top1"] <= 1
        assert set(figures["kinds"]) == {source}
    spec = spec_of(prepared(dataset), dataset, LENGTHS.get(dataset, 6), probes[0])
    about = json.loads(next(features.rglob(f"frames_{name}.json")).read_text())
    wide = WIDTHS[source][spec.skeleton.n_joints]
    assert {tuple(split["shape"]) for split in about["splits"].values()} == {
        (LENGTHS.get(dataset, 6), wide)
    }


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_exported(source, prepared, tmp_path):
    """Row i of a file is what the network gives for window i; pooled kinds likewise."""
    words = words_for(prepared, tmp_path)
    pretrain(words, source)
    made = latest(tmp_path, SOURCES[source].command)
    kinds = SOURCES[source].kinds
    for kind in ("frames", *kinds):
        assert export(words, tmp_path, source, "--kind", kind) == 0
    settings = resolve(SOURCES[source].settings, [], stored=made.read_config()).settings
    root, spec = prepared("KGBD"), settings.place.read_spec()
    network, _ = load_trained(SOURCES[source], settings, skeleton_of(spec), made.best)
    windows, stored = load_stored(
        root, spec, 6, "probe", kgbd_order=settings.joints.kgbd_order, root=settings.joints.root
    )
    inputs = torch.from_numpy(windows.windows.reshape(len(windows), 6, -1))
    for kind in ("frames", *kinds):
        files = FeatureFiles(tmp_path, spec, 6, source, kind)
        found = files.read_split("probe", stored, files.read_manifest())
        with torch.no_grad():
            one = network.frames(inputs[5:6]) if kind == "frames" else None
            expected = one if one is not None else encode(network, inputs[5:6], kind)[:, None]
        assert np.allclose(found[5], expected[0].numpy(), atol=1e-5), kind
    mean = FeatureFiles(tmp_path, spec, 6, source, "mean")
    if "mean" in kinds:
        frames = FeatureFiles(tmp_path, spec, 6, source, "frames")
        assert np.allclose(
            np.load(frames.path("train")).mean(1), np.load(mean.path("train"))[:, 0], atol=1e-4
        )


@pytest.mark.parametrize("source", ["SGELA", "MG-SCR", "SM-SGE"])
def test_exports_serve_both_protocols(source, prepared, tmp_path, capsys):
    """With one file, or with one for each where the released model learned from identities."""
    words = words_for(prepared, tmp_path)
    pretrain(words, source)
    assert export(words, tmp_path, source) == 0
    about = {p.stem: json.loads(p.read_text()) for p in (tmp_path / "KGBD" / "6").glob("*.json")}
    assert about[f"frames_{source}"]["epoch"] == 1
    pair = source != "SGELA"
    assert about.keys() == {f"frames_{source}"} | (
        {f"frames_{source}-label_free"} if pair else set()
    )
    assert bool(about[f"frames_{source}"]["labels"]) == pair
    flags = ["--features_root", tmp_path, "--epochs", 2]
    assert run("finetune", "--source", source, *words, *SMALL, *flags) == 0
    found = latest(tmp_path, f"finetune_{source}").read_results()["protocols"]
    assert found["label_free"] is not None and found["paper"] is not None
    assert (found["label_free"]["kinds"] != found["paper"]["kinds"]) == pair
    if pair:  # without the second training there is nothing label-free
        pretrain(words, source, "--label_free_run", "off")
        capsys.readouterr()
        assert export(words, tmp_path, source, "--protocol", "label_free") == 2
        assert "--label_free_run on" in capsys.readouterr().err


def test_an_export_needs_a_run_of_that_source(prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path)
    assert export(words, tmp_path, "SGELA") == 2
    assert "Train first" in capsys.readouterr().err
    pretrain(words, "AGE")
    name = latest(tmp_path, "age").path.name
    assert export(words, tmp_path, "SGELA", "--run", name) == 2
    assert "simmc age, not of SGELA" in capsys.readouterr().err
    assert export(words, tmp_path, "AGE", "--kind", "lstm") == 2
    assert "--kind lstm: AGE has frames, mean, sc, last" in capsys.readouterr().err


def test_features_that_learned_the_gallery_are_not_exported(prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path)
    pretrain(words, "SGELA", "--train_on", "train_gallery")
    assert export(words, tmp_path, "SGELA") == 2
    said = capsys.readouterr().err
    assert "--run" in said and "--train_on train" in said


def test_features_made_elsewhere_are_taken_in(prepared, tmp_path, capsys):
    words, elsewhere, mine = words_for(prepared, tmp_path), tmp_path / "there", tmp_path / "here"
    pretrain(words, "SGELA")
    assert export(words, elsewhere, "SGELA") == 0
    root, spec = prepared("KGBD"), spec_of(prepared("KGBD"), "KGBD", 6, "probe")
    foreign = FeatureFiles(elsewhere, spec, 6, "SGELA")
    foreign.manifest.unlink()
    for split in ("train", "gallery", "probe"):  # the labels that come with such files
        source = FeatureFiles(root, spec, 6, "x").path(split).parent / "frame_id_KGBD_6.npy"
        (foreign.path(split).parent / source.name).write_bytes(source.read_bytes())
    assert export(words, mine, "SGELA", "--from", elsewhere, "--labels", "none") == 0
    for split in ("train", "gallery", "probe"):
        ours = FeatureFiles(mine, spec, 6, "SGELA").path(split)
        assert (np.load(ours) == np.load(foreign.path(split))).all()
    flags = ["--features_root", mine, "--epochs", 1]
    assert run("finetune", "--source", "SGELA", *words, *SMALL, *flags) == 0
    capsys.readouterr()
    frames = np.load(foreign.path("probe"))
    np.save(foreign.path("probe"), frames[:-1])
    assert export(words, mine, "SGELA", "--from", elsewhere) == 2
    assert "missing or too many" in capsys.readouterr().err


# recognition


@pytest.mark.parametrize("source", SOURCES)
def test_naming_persons(source, prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path)
    pretrain(words, source, "--label_free_run", "off", "--train_on", "train_gallery")
    flags = ["--source", source, "--epochs", 2, "--threads", 1]
    assert run("recognition", *words, *flags) == 0
    made = latest(tmp_path, f"{source}_recognition")
    found = made.read_results()
    assert found["supervised"] is True and found["method"] == f"{source} (recognition)"
    assert "identity labels" in found["note"]
    assert set(found["protocols"]) == {"supervised", "fixed_epochs"}
    for figures in found["protocols"].values():
        assert {"top1", "nauc_roc", "nauc_cmc"} <= figures.keys()
        assert sum(n for _, _, n in figures["confusion"]) <= found["counts"]["probe"]
        right = sum(n for true, named, n in figures["confusion"] if true == named)
        assert right / sum(n for _, _, n in figures["confusion"]) == figures["top1"]
    assert "SUPERVISED" in capsys.readouterr().out
    # the training set and the gallery were learned
    assert found["counts"]["train"] > metrics_of(made)[0]["steps"]
    config = made.read_config()["settings"]
    assert config["encoder_run"] == str(latest(tmp_path, SOURCES[source].command).path)
    assert run("report", "confusion", made.path) == 0


def test_recognition_is_continued_and_scored_again(prepared, tmp_path, capsys):
    words = words_for(prepared, tmp_path)
    pretrain(words, "SGELA")
    flags = [*words, "--source", "SGELA", "--threads", 1, "--run"]
    assert run("recognition", *flags, "whole", "--epochs", 3) == 0
    assert run("recognition", *flags, "parts", "--epochs", 1) == 0
    pretrain(words, "SGELA", "--seed", 5)  # a newer source model must not take the old one's place
    assert run("recognition", *flags, "parts", "--epochs", 3, "--resume") == 0
    home = tmp_path / "KGBD" / "probe"
    assert_same_run(RunDirectory(home / "whole"), RunDirectory(home / "parts"))
    capsys.readouterr()
    assert run("recognition", *flags, "whole", "--mode", "Eval") == 0
    shown = capsys.readouterr().out
    figures = RunDirectory(home / "whole").read_results()["protocols"]["supervised"]
    assert f"{100 * figures['top1']:.2f}" in shown and f"{100 * figures['nauc_roc']:.2f}" in shown


def test_direct_fine_tuning_and_its_features(prepared, tmp_path):
    words = words_for(prepared, tmp_path)
    pretrain(words, "MG-SCR")
    flags = ["--source", "MG-SCR", "--epochs", 1, "--threads", 1]
    tuned = ["--score", "match", "--train", "all"]
    assert run("recognition", *words, *flags, *tuned) == 0
    found = latest(tmp_path, "MG-SCR_DF").read_results()
    assert found["method"] == "MG-SCR" and found["supervised"] is True
    assert set(found["protocols"]) == {"paper", "fixed_epochs"}
    # MG-SCR's features are then those of the supervised network, and the pretext ones label-free
    assert export(words, tmp_path, "MG-SCR") == 0
    spec = spec_of(prepared("KGBD"), "KGBD", 6, "probe")
    supervised, plain = (
        json.loads(FeatureFiles(tmp_path, spec, 6, name).manifest.read_text())
        for name in ("MG-SCR", "MG-SCR-label_free")
    )
    assert supervised["labels"] and not plain["labels"]
    assert supervised["splits"]["train"]["sha256"] != plain["splits"]["train"]["sha256"]
    # a head alone leaves the features as they were, and is refused
    assert run("recognition", *words, *flags, "--score", "match", "--train", "head") == 0
    assert export(words, tmp_path, "MG-SCR") == 2


def test_a_model_of_another_dataset(prepared, tmp_path, capsys):
    pretrain(words_for(prepared, tmp_path), "SGELA")
    made = latest(tmp_path, "sgela").path
    flags = ["--source", "SGELA", "--epochs", 1, "--threads", 1, "--encoder_run", made]
    words = words_for(prepared, tmp_path, "IAS", "A")
    assert run("recognition", *words, *flags) == 0
    capsys.readouterr()
    words = words_for(prepared, tmp_path, "KS20", "probe")
    assert run("recognition", *words, *flags) == 2
    assert "other joints" in capsys.readouterr().err


def test_views_of_ks20_are_named_from_the_others(prepared, tmp_path):
    words = words_for(prepared, tmp_path, "KS20", "90.90")
    pretrain(words, "SGELA")
    assert run("recognition", *words, "--source", "SGELA", "--epochs", 1, "--threads", 1) == 0
    found = latest(tmp_path, "SGELA_recognition", "KS20", "90.90").read_results()
    assert found["protocols"]["fixed_epochs"]["epoch"] == 1


@pytest.mark.parametrize(
    ("source", "dataset", "alone", "together"),
    [("SGELA", "IAS", 8.47, 8.80), ("MG-SCR", "KS20", 0.35, 0.53), ("SM-SGE", "IAS", 5.58, 5.89)],
)
def test_sizes_with_simmc(source, dataset, alone, together, capsys):
    """SimMC Table 1: sources counted with 20 or 25 joints, what SimMC adds always with 25."""
    found = {}
    for name in (dataset, "KS20"):
        words = ["--source", source, "--dataset", name, "--probe", PLACES[name][0]]
        assert run("finetune", *words, "--model_size") == 0
        said = capsys.readouterr().out
        base, added = re.search(rf": {source} ([\d,]+), SimMC on \d+ .*? ([\d,]+)\)", said).groups()
        found[name] = [round(int(n.replace(",", "")) / 1e6, 2) for n in (base, added)]
    assert found[dataset][0] == alone
    assert alone + found["KS20"][1] == pytest.approx(together, abs=1e-9)


def test_the_small_budget_says_what_it_leaves_out():
    assert all(METHODS[name].remarks is budget for name in ("age", "sgela", "mgscr", "smsge"))
    for more, said in (([], "160"), (["--epochs", "160"], None)):
        words = ["--dataset", "KGBD", "--budget", "cpu", *more]
        found = budget(resolve(SOURCES["SM-SGE"].settings, words), None)
        assert [said in line for line in found] == [True] * (said is not None)


# values that a head judges of 20 joints and six frames, as the papers' presets have the encoders
HEAD_WIDTHS = {("AGE", "ap"): 768, ("AGE", "sc"): 6 * 768, ("SM-SGE", "prefix"): 4 * 256}


def said_of(capsys, *words):
    assert run("recognition", "--dataset", "IAS", "--probe", "A", *words, "--model_size") == 0
    text = capsys.readouterr().out
    pattern = r"([\d,]+) parameters .*, and ([\d,]+) for each .* itself has ([\d,]+), (.*)"
    *counts, verb = re.search(pattern, text).groups()
    return [int(n.replace(",", "")) for n in counts], verb


@pytest.mark.parametrize(("source", "views"), HEAD_WIDTHS)
@pytest.mark.parametrize("hidden", [7, 0])
def test_the_size_of_a_head(source, views, hidden, capsys):
    """Two layers: width x hidden + hidden, and hidden + 1 for each identity."""
    width = HEAD_WIDTHS[source, views]
    units = hidden or width
    words = ["--source", source, "--views", views, "--hidden", hidden]
    (head, each, below), verb = said_of(capsys, *words, "--train", "head")
    assert (head, each, verb) == (width * units + units, units + 1, "not trained")
    (whole, *same), verb = said_of(capsys, *words, "--train", "all")
    assert (whole, same, verb) == (head + below, [each, below], "all trained")


def test_the_size_follows_the_run_that_is_built_upon(prepared, tmp_path, capsys):
    where = ["--dataset", "KGBD", "--data_root", prepared("KGBD"), "--model_root", tmp_path]
    small = ["--H", 8, "--epochs", 0, "--batch_size", 16, "--threads", 1]
    assert run("sgela", *where, *small) == 0
    made = (tmp_path / "KGBD" / "probe" / "latest_sgela").read_text().strip()
    path = tmp_path / "KGBD" / "probe" / made
    words = ["--source", "SGELA", "--views", "ap", "--hidden", 5, "--encoder_run", path]
    capsys.readouterr()
    (head, each, _), _ = said_of(capsys, *words)
    assert (head, each) == (3 * 8 * 5 + 5, 6)
    # a run of something else is refused with what to do
    assert run("recognition", *where, "--source", "AGE", "--encoder_run", path) == 2
    err = capsys.readouterr().err
    assert "simmc sgela, not of AGE" in err and "simmc age with --encoder_run" in err


@pytest.mark.parametrize("score", ["classify", "match"])
def test_a_run_says_which_protocols_it_serves(score, capsys):
    method = METHODS["recognition"]
    protocols = method.protocols(method.settings.of(score=score))
    CONSOLE.stage(protocols, method.explained)
    said = re.findall(r"(?m)^  ([\w-]+) protocol: ", capsys.readouterr().out)
    assert said == [name.replace("_", "-") for name in protocols]
