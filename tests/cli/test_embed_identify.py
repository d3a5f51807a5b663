"""`simmc embed` and `simmc identify`: features and answers of trained runs, against loops."""

import csv
import hashlib

import numpy as np
import pytest
import torch

from simmc.clustering.tracklets import SURE
from simmc.data.experiment.load import load_stored
from simmc.data.skeletons import Skeleton
from simmc.data.specs import DATASETS
from simmc.data.store import write_dataset
from simmc.engine.method import load_whole
from simmc.engine.training import load_weights
from simmc.evaluation.ranking import evaluate
from simmc.methods import trackmc
from simmc.methods.registry import METHODS
from simmc.runs.directory import RunDirectory
from simmc.runs.runtime import generators, start
from simmc.scoring.match import retrieval_record
from simmc.settings import resolve
from tests.cli.conftest import QUICK, read_json, run, words_for
from tests.cli.test_trackmc import BONES, JOINTS, own_data
from tests.conftest import contents

COMMANDS = ("trackmc", "simmc", "himpc")
SPLITS = ("train", "probe", "gallery")


@pytest.fixture
def trained(prepared, tmp_path):
    """Trains on tiny walkers; the words that choose the run, and its folder."""

    def train(command, *flags, dataset="KGBD", probe="probe"):
        home = tmp_path / "runs"
        words = words_for(prepared, home, dataset, probe)
        assert run(command, *words, *QUICK, "--epochs", 1, *flags) == 0
        where = words[: words.index("--batch_size")]  # what belongs to the training is stored
        (folder,) = (path for path in (home / dataset / probe).iterdir() if path.is_dir())
        return ["--method", command, *where, "--threads", 1], RunDirectory(folder)

    return train


def own(tmp_path, *flags, tier="merge"):
    """A TrackMC run on data of one's own."""
    words = [*own_data(tmp_path / "sets"), "--model_root", tmp_path / "runs"]
    assert run("trackmc", *words, "--recordings", tier, *flags) == 0
    where = ["--dataset", "Mine", "--data_root", tmp_path / "sets"]
    made = RunDirectory.latest(tmp_path / "runs", "Mine", "probe", pointer=f"latest_trackmc_{tier}")
    return [*where, "--model_root", tmp_path / "runs", "--threads", 1], made


def settings_of(command, made):
    return resolve(METHODS[command].settings, [], stored=made.read_config()).settings


def arrays(folder):
    return [np.load(folder / f"{name}.npy", allow_pickle=False) for name in SPLITS]


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("protocol", ["label_free", "paper"])
def test_features_give_the_figures_of_the_run(command, protocol, trained, tmp_path):
    words, made = trained(command, "--fidelity", "exact")
    before = contents(made.path)
    assert run("embed", *words, "--protocol", protocol) == 0
    folder = made.path / "embeddings"
    assert {path.name for path in folder.iterdir()} == {"embed.json", *(f"{s}.npy" for s in SPLITS)}
    features = arrays(folder)
    data = METHODS[command].load(settings_of(command, made))
    for name, array in zip(SPLITS, features, strict=True):
        assert array.dtype == np.float32 and len(array) == len(getattr(data, name))
    _, probe, gallery = features
    found = retrieval_record(evaluate(probe, data.probe.identity, gallery, data.gallery.identity))
    figures = made.read_results()["protocols"][protocol]
    for name, value in found.items():
        assert value == pytest.approx(figures[name], abs=1e-9), name
    said = read_json(folder / "embed.json")
    weights = (made.path / said["weights"]).read_bytes()
    assert said["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert said["data"]["manifest_sha256"] == data.checksum
    assert (said["protocol"], said["epoch"]) == (protocol, figures["epoch"])
    for name, array in zip(SPLITS, features, strict=True):
        content = (folder / f"{name}.npy").read_bytes()
        assert said["splits"][name]["shape"] == list(array.shape)
        assert said["splits"][name]["sha256"] == hashlib.sha256(content).hexdigest()
    lengths = np.linalg.norm(features[1], axis=1)
    assert said["unit_length"] == bool(np.allclose(lengths, 1, atol=1e-5)) == (command == "trackmc")
    after = contents(made.path)
    assert all(after[name] == before[name] for name in before)


def test_all_stored_windows_whatever_the_training_drew(trained, prepared, tmp_path):
    """`released` draws the training windows by identity and drops what fills no batch."""
    words, made = trained("simmc", "--input", "distances", dataset="KS20")
    settings = METHODS["simmc"].label_free(settings_of("simmc", made))
    out = tmp_path / "elsewhere"
    assert run("embed", *words, "--out", out) == 0
    assert not (made.path / "embeddings").exists()
    features = arrays(out)
    drawn = METHODS["simmc"].load(settings)
    for name, array in zip(SPLITS, features, strict=True):
        _, stored = load_stored(
            prepared("KS20"), DATASETS["KS20"], 6, name, kgbd_order="raw", root="first"
        )
        assert len(array) == len(stored)
    assert len(features[1]) > len(drawn.probe) or len(features[2]) > len(drawn.gallery)
    weights = made.path / "label_free/label_free.pt"
    network, _ = METHODS["simmc"].read(weights, settings, drawn, start())
    for split, array in ((drawn.probe, features[1]), (drawn.gallery, features[2])):
        windows = torch.from_numpy(split.windows)
        mean = torch.full((len(windows), 1, 6), 1 / 6)
        with torch.no_grad():
            wanted = network(windows, mean)[:, 0].numpy()
        np.testing.assert_allclose(array[: len(wanted)], wanted, atol=1e-5)
    # the order of the files, not the order of learning
    kept, order = load_whole(settings).train, np.lexsort(features[0].T)
    with torch.no_grad():
        mean = torch.full((len(kept), 1, 6), 1 / 6)
        wanted = network(torch.from_numpy(kept.windows), mean)[:, 0].numpy()
    np.testing.assert_allclose(features[0], wanted, atol=1e-5)
    assert not (order == np.arange(len(order))).all()


@pytest.mark.parametrize("tier", ["merge", "positives"])
def test_people_are_those_of_an_epoch(tier, tmp_path, capsys):
    words, made = own(tmp_path, "--eps", 0.4, tier=tier)
    capsys.readouterr()
    assert run("identify", *words) == 0
    out = capsys.readouterr().out
    settings = settings_of("trackmc", made)
    data, runtime = METHODS["trackmc"].load(settings), start("cpu", None, 1)
    epoch = trackmc.TrackMC(
        settings, data, generators(settings.common.seed), runtime, ("label_free",)
    )
    load_weights(epoch.network, made.path / "label_free.pt", "")
    targets = epoch.share(trackmc.encode(epoch.network, epoch.windows), epoch.stage)
    rows = table(made.path / "people.csv")
    numbers = np.unique(data.train.recording)
    assert [row["recording"] for row in rows] == [str(n) for n in range(12)]
    unsure = 0
    for t, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        own_clusters = targets.cluster[t][targets.share[t] > 0].tolist()
        first = own_clusters[0] if own_clusters else None
        rivals = [int(c) for c in targets.ambiguous[first] if c != first] if own_clusters else []
        sure = float(targets.share[t, 0]) >= SURE and not rivals
        unsure += not sure
        assert row["recording"] == data.recordings[number]["name"]
        assert int(row["windows"]) == 12
        assert row["person"] == ("" if first is None else str(first))
        assert row["share"] == f"{float(targets.share[t, 0]):.4f}"
        assert row["sure"] == ("yes" if sure else "no")
        others = {int(word) for word in row["may_also_be"].split()}
        assert others == {*own_clusters[1:], *rivals} - {first}
    likely = len({int(c) for c in targets.cluster[targets.known, 0]})
    said = f"12 recordings of at least {targets.fewest()}, likely {likely} people; unsure of"
    assert f"{said} {unsure}\n" in out


def literal(features, recording, unit):
    """Name of a recording -> the mean of its windows, one after another."""
    means = {}
    for number in dict.fromkeys(recording.tolist()):
        mean = features[recording == number].astype(np.float64).mean(0).astype(np.float32)
        means[number] = mean / np.linalg.norm(mean) if unit else mean
    return means


@pytest.mark.parametrize("command", COMMANDS)
def test_matches_are_those_of_a_loop(command, trained, tmp_path, capsys):
    words, made = trained(command, "--fidelity", "exact")
    settings = settings_of(command, made)
    out = tmp_path / "answers"
    capsys.readouterr()
    assert run("identify", *words, "--top", 3, "--out", out) == 0
    shown = capsys.readouterr().out
    assert run("embed", *words) == 0
    data = METHODS[command].load(settings)
    _, probe, gallery = arrays(made.path / "embeddings")
    probes = literal(probe, data.probe.recording, command == "trackmc")
    candidates = literal(gallery, data.gallery.recording, command == "trackmc")
    rows = iter(table(out / "matches.csv"))
    right = 0
    for number, mean in probes.items():
        near = sorted(candidates, key=lambda one: np.linalg.norm(candidates[one] - mean))
        for rank, other in enumerate(near[:3], start=1):
            row, recording = next(rows), data.recordings[other]
            assert row["probe_recording"] == data.recordings[number]["name"]
            assert (row["rank"], row["gallery_recording"]) == (str(rank), recording["name"])
            assert int(row["gallery_identity"]) == recording["identity"]
            distance = np.linalg.norm(candidates[other] - mean)
            assert float(row["distance"]) == pytest.approx(distance, abs=1e-5)
            right += rank == 1 and recording["identity"] == data.recordings[number]["identity"]
    assert next(rows, None) is None
    assert f"whole recordings: top-1 {100 * right / len(probes):.2f} ({right} of" in shown
    assert (out / "people.csv").exists() == (command == "trackmc")
    assert ("people.csv is for TrackMC" in shown) == (command != "trackmc")
    # `--walk all` pools and matches the same way
    again = [*words[2:], "--batch_size", settings.windows.batch_size]
    assert run(command, *again, "--mode", "Eval", "--walk", "all") == 0
    tables = read_json(made.matching_path)["protocols"]["label_free"]["walks"]
    assert tables[0]["top1"] == pytest.approx(right / len(probes))


def test_one_list_on_both_sides(trained, capsys):
    words, made = trained("trackmc", dataset="CASIA_B", probe="nm.nm")
    assert run("identify", *words, "--top", 1000) == 0
    rows = table(made.path / "matches.csv")
    names = {row["probe_recording"] for row in rows}
    assert len(rows) == len(names) * (len(names) - 1)
    assert all(row["probe_recording"] != row["gallery_recording"] for row in rows)


def test_no_accuracy_where_nobody_knows_who_it_is(tmp_path, capsys):
    rng = np.random.default_rng(0)
    made = {s: rng.normal(size=(48, 6, len(JOINTS), 3)) for s in SPLITS}
    nobody = np.zeros(48, np.int64)
    numbers = {s: np.repeat(np.arange(4), 12) + 4 * i for i, s in enumerate(SPLITS)}
    skeleton = Skeleton("mine", JOINTS, "hip", BONES, (), ())
    splits = {s: (x, nobody) for s, x in made.items()}
    write_dataset(tmp_path / "sets", "Mine", splits, skeleton, recordings=numbers)
    words = ["--dataset", "Mine", "--data_root", tmp_path / "sets", "--model_root", tmp_path]
    assert run("trackmc", *words, *QUICK, "--epochs", 1) == 0
    capsys.readouterr()
    assert run("identify", *words) == 0
    out = capsys.readouterr().out
    assert "4 probe recordings, the 4 nearest of 4" in out
    assert "top-1" not in out and "no rate" in out
    # another gallery than that of the training: said, and answered
    splits["gallery"] = made["gallery"][12:], nobody[12:]
    numbers["gallery"] = numbers["gallery"][12:]
    write_dataset(tmp_path / "sets", "Mine", splits, skeleton, recordings=numbers)
    assert run("identify", *words) == 0
    out, err = capsys.readouterr()
    assert "the 3 nearest of 3" in out and "trained on other data" in err


def test_windows_that_do_not_tell_their_recordings(tmp_path, refused):
    words = own_data(tmp_path / "sets", told=False)
    where = ["--model_root", tmp_path / "runs"]
    assert run("trackmc", *words, *where, "--recordings", "off") == 0
    chosen = ["--dataset", "Mine", "--data_root", tmp_path / "sets", *where]
    said = ["probe and gallery", "Preprocess.py", "write_dataset(recordings=...)"]
    refused("identify", *chosen, said=said)
    assert run("embed", *chosen) == 0


@pytest.mark.parametrize("command", ["embed", "identify"])
def test_what_cannot_be(command, tmp_path, refused):
    words, made = own(tmp_path)
    refused(command, *words, "--method", "age", said=["--method 'age'", "trackmc, simmc or himpc"])
    refused(command, *words, "--method", "simmc", said=["simmc trackmc", "--method simmc"])
    refused(command, *words, "--protocol", "best", said=["--protocol 'best'"])
    refused(command, *words, "--run", "none", said=["--run none", made.path.name])
    refused(command, *words, "--model_root", tmp_path / "no", said=["there is no run", "Train"])
    refused(command, *words, "--out", made.config_path, said=["cannot write", "--out"])
    if command == "identify":
        refused(command, *words, "--top", 0, said=["--top '0'", "1 or more"])
    (made.path / "label_free.pt").unlink()
    refused(command, *words, said=["--protocol label_free", "--protocol paper"])
    made.best.write_bytes(b"damaged")
    refused(command, *words, "--protocol", "paper", said=[made.best])
    made.best.unlink()
    refused(command, *words, said="has no best.pt")


def test_runs_that_are_no_answer(tmp_path, refused):
    words, _ = own(tmp_path, "--stress", "noise:0.01")
    refused("embed", *words, said=["--stress noise:0.01", "--run"])
