"""Every reader of files that someone else may have written, with small valid files for each."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmc.benchmarks import plots as benchmark_plots
from simmc.benchmarks import record, tables
from simmc.benchmarks.summary import summarise
from simmc.cli import console
from simmc.cli.run_folder import as_stored
from simmc.config import SimMCSettings, TrackMCSettings, resolve
from simmc.data import specs, store
from simmc.data.features import FeatureFiles
from simmc.data.foreign import read_foreign
from simmc.data.loaders import load_experiment
from simmc.data.preprocess import preprocess
from simmc.data.raw import write
from simmc.data.roles import Features
from simmc.data.skeletons import Skeleton
from simmc.methods.training import load_weights
from simmc.reports import comparison, confusion, plots, render, results, sides
from simmc.reports import tables as reports
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.runs.outcomes import ProbeOutcomes
from tests.benchmarks import make as make_benchmark
from tests.conftest import ROOT
from tests.data import make
from tests.methods import make as make_training

Build = Callable[[Path], None]
Call = Callable[[Path], Any]
QUIET = {"class_sampling": "off", "part_batches": "keep", "batch_size": 4}
SKELETON = Skeleton("mine", ("head", "hip", "left", "right"), "hip", (("head", "hip"),), (), ())


@dataclass(frozen=True)
class Reader:
    """A reader, valid files for it and which of them are damaged.

    Attributes:
        build: writes valid files below a folder.
        call: reads them; must end well or in a UserError, whatever the files hold.
        targets: pattern of the files to damage -> a name in `mutate.FORMATS`.
        names: whether names of files and folders are damaged, too.
    """

    build: Build
    call: Call
    targets: dict[str, str]
    names: bool = False


# raw data


def cut(recordings: list[Any], frames: int) -> list[Any]:
    """Shorter recordings."""
    for one in recordings:
        object.__setattr__(one, "frames", one.frames[:frames])
    return recordings


def raw(dataset: str, recordings: list[Any], **how: Any) -> Build:
    """Writes recordings in the raw format of a dataset."""
    return lambda root: write.WRITERS[dataset](root / "raw" / dataset, recordings, **how)


def preprocessed(dataset: str, length: int) -> Call:
    """Raw data to windows."""

    def call(root: Path) -> None:
        shutil.rmtree(root / "out", ignore_errors=True)
        preprocess(root / "raw", root / "out", [dataset], length)

    return call


# prepared data


def windows(root: Path) -> None:
    """A preprocessed KGBD of two persons."""
    write.write_kgbd(root / "raw" / "KGBD", cut(make.kgbd(2), 34))
    preprocess(root / "raw", root, ["KGBD"], 6)
    shutil.rmtree(root / "raw")


def object_windows(root: Path) -> None:
    """The same without the files of this program: pickles are read."""
    windows(root)
    for path in root.rglob("frame_id*.npy"):
        labels = np.load(path).astype(object)
        path.write_bytes(b"")
        with path.open("wb") as file:
            np.lib.format.write_array(file, labels, allow_pickle=True)
    for path in [*root.rglob("recording*.npy"), *root.rglob("manifest.json")]:
        path.unlink()


def id_windows(root: Path) -> None:
    """The same with lists of windows by identity in place of labels."""
    object_windows(root)
    for path in root.rglob("frame_id*.npy"):
        path.unlink()


def load(root: Path, dataset: str = "KGBD", **how: Any) -> None:
    """What a training reads; its windows are touched."""
    rng = np.random.default_rng(0)
    data = load_experiment(root, dataset, 6, "probe", rng=rng, **QUIET, **how)
    for split in (data.train, data.probe, data.gallery):
        assert np.isfinite(split.windows).all(), "coordinates that are not finite"


def own_set(root: Path) -> None:
    """A set of one's own with recordings and times."""
    rng = np.random.default_rng(0)
    splits = {
        name: (rng.normal(size=(6, 6, 4, 3)), np.array([0, 0, 1, 1, 2, 2]))
        for name in ("train", "probe", "gallery")
    }
    numbers = {name: np.arange(6) // 2 + 10 * i for i, name in enumerate(splits)}
    times = {0: (0.0, 4.0), 1: (2.0, 5.0), 2: (9.0, 9.5)}
    store.write_dataset(root, "Mine", splits, SKELETON, recordings=numbers, times=times)


def feature_files(root: Path) -> None:
    """Features of a source model beside their windows."""
    windows(root)
    files, said, rng = FeatureFiles(root, specs.get("KGBD"), 6, "AGE"), {}, np.random.default_rng(0)
    for split in specs.splits_of(files.spec, "probe"):
        stored = store.read_split(root, files.spec, 6, split)
        base = np.cumsum(rng.normal(size=(len(stored), 1, 3)), axis=0)
        made = (base + 0.01 * rng.normal(size=(len(stored), 6, 3))).astype(np.float32)
        said[split] = files.write_split(split, stored, [made])
    files.write_manifest({"made_by": "a test", "labels": ""}, said)


def load_features(root: Path) -> None:
    """As SimMC-UF does."""
    files = FeatureFiles(root, specs.get("KGBD"), 6, "AGE")
    about = files.read_manifest()
    reader: Features = lambda split, stored: files.read_split(split, stored, about)  # noqa: E731
    load(root, features=reader)


def take_features(root: Path) -> None:
    """As the import of features that were made elsewhere does."""
    files = FeatureFiles(root, specs.get("KGBD"), 6, "AGE")
    for split in specs.splits_of(files.spec, "probe"):
        stored = store.read_split(root, files.spec, 6, split)
        found = read_foreign(root, files, split, stored)
        assert np.isfinite(found).all(), "features that are not finite"


# runs

HOME = Path("ReID_Models", "KGBD", "probe")
FIGURES = {"top1": 2 / 3, "top5": 2 / 3, "top10": 2 / 3, "mAP": 0.5, "mINP": 0.4, "epoch": 3}
RESULTS = {
    **{"method": "SimMC", "dataset": "KGBD", "probe": "probe", "length": 6, "seed": 0},
    "fidelity": "released",
    "protocols": {
        "paper": {**FIGURES, "cmc": [0.5, 0.6, 0.7], "kinds": {"AGE": FIGURES}},
        "label_free": {**FIGURES, "cmc": [0.5, 0.6]},
        "supervised": {"top1": 0.5, "epoch": 2, "confusion": [[1, 1, 5], [1, 2, 3], [2, 2, 9]]},
    },
    "settings": {"lambda": 0.5, "q": 2, "encoder": "mlp", "seed": 0},
    "counts": {"train": 9, "probe": 3, "gallery": 7, "clusters": None},
    "data": {"manifest_sha256": "a", "generated": False},
    "timing": {"steps": 1.0},
}


def run_files(root: Path) -> None:
    """Two runs of different seeds, as a training leaves them."""
    config = resolve(SimMCSettings, ["--dataset", "KGBD"]).to_dict()
    for seed in (0, 1):
        run = RunDirectory(root / HOME / f"run{seed}")
        run.path.mkdir(parents=True)
        run.write_config(config)
        run.write_results({**RESULTS, "seed": seed})
        for epoch in range(3):
            losses = {"loss_mpc": 0.5, "clusters_1": 4, "top1": 0.5, "levels": {"joint": FIGURES}}
            run.append_metrics({"epoch": epoch, **losses, "seconds": {"steps": 0.5}})
        ranks, precision = np.array([1, 0, 3], np.int32), np.array([1.0, np.nan, 0.25])
        precision[2] = 0.0 + 2 * FIGURES["mAP"] - 1.0
        outcomes = ProbeOutcomes(ranks, precision, np.array([7, 7, 8]), np.array([0, 1, 2]))
        outcomes.write(run.probes_path("label_free"))
    (root / HOME / "latest").write_text("run1\n")


def read_settings(root: Path) -> None:
    """As --mode Eval and --resume do."""
    stored = RunDirectory.latest(root / HOME.parts[0], *HOME.parts[1:]).read_config()
    for settings in (SimMCSettings, TrackMCSettings):
        resolve(settings, [], stored=stored).describe()


def read_metrics(root: Path) -> None:
    """As a resumed training and `simmc report curves` do; nothing is drawn."""
    run = RunDirectory(root / HOME / "run0")
    console.mean_seconds(run.read_metrics())
    with undrawn():
        plots.curves(run.read_metrics(), root / "curves.png")
    run.truncate_metrics(1)


def read_results(root: Path) -> None:
    """As the reports do; nothing is drawn."""
    runs = results.find_all(root / HOME.parts[0])
    for form in render.FORMATS:
        render.render(reports.build(runs), form)
    RunDirectory(runs[0].path).read_results()
    frame = {**RESULTS, "data": {"manifest_sha256": "a"}}
    as_stored(json.loads(json.dumps(frame)), RunDirectory(runs[0].path))
    with undrawn(), contextlib.suppress(KeyError):
        plots.cmc(runs[0], root / "cmc.png")
    confusion.as_csv(runs[0], "supervised")


def read_probes(root: Path) -> None:
    """As `simmc report compare` does."""
    paths = [root / HOME / "run0", root / HOME / "run1"]
    for path in paths:
        ProbeOutcomes.read(RunDirectory(path).probes_path("label_free"))
    side = sides.load_side("A", paths, "label_free")
    comparison.render(comparison.compare(side, None, resamples=20, seed=0), "text")


def read_pointer(root: Path) -> None:
    """As every command that is not given the name of a run does."""
    for pointer in ("latest", "latest_trackmc_merge"):
        RunDirectory.latest(root / HOME.parts[0], *HOME.parts[1:], pointer=pointer)
    results.load(root / HOME)


@contextlib.contextmanager
def undrawn():  # type: ignore[no-untyped-def]
    """Pictures are prepared, which reads all numbers, and not drawn, which takes a second."""
    before = plots.save
    plots.save = lambda draw, out: out
    try:
        yield
    finally:
        plots.save = before


def checkpoint_files(root: Path) -> None:
    """The checkpoint of a training and the weights that it chose."""
    training = make_training.training()
    training.run_epoch()
    checkpoints.save(root / "last.pt", training.state())
    checkpoints.save(root / "best.pt", {"epoch": 1, "network": training.network.state_dict()})


def read_checkpoints(root: Path) -> None:
    """As --resume and --mode Eval do."""
    training = make_training.training()
    training.restore(checkpoints.load(root / "last.pt"), root / "last.pt")
    load_weights(training.network, root / "best.pt", "--H")
    assert all(torch.isfinite(w).all() for w in training.network.state_dict().values())


# the rest


def settings_file(root: Path) -> None:
    """A TOML file with settings of every type."""
    (root / "mine.toml").write_text(
        'dataset = "KGBD"\nlength = 6\neps = 0.6\nmin_samples = 2\nsave_model = true\n'
        'fidelity = "exact"\ndata_root = "Datasets"\nlr = 3e-4\nthreads = 2\n# a comment\n'
    )


def read_toml(root: Path) -> None:
    """As --config does."""
    resolve(SimMCSettings, ["--config", str(root / "mine.toml")]).describe()


def benchmark_file(root: Path) -> None:
    """A record of measurements."""
    cases = [make_benchmark.case(1000), make_benchmark.case(2000)]
    record.save(root, make_benchmark.record(*cases, epoch=make_benchmark.epoch()))


def read_benchmark(root: Path) -> None:
    """As `simmc benchmark --render` does; nothing is drawn."""
    kept = record.read(root / record.FILE)
    summarise(kept)
    tables.document(kept)
    for kind in ("time", "memory"):
        benchmark_plots._panels(kept, kind)


ARCHIVE = {"Data/Person001/1.txt": b"one\n" * 9, "Data/Person002/1.txt": b"two\n" * 9, "a": b"b"}


def archives(root: Path) -> None:
    """KGBD as its author's repository gives it, packed in three ways."""
    with zipfile.ZipFile(root / "kgbd.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in ARCHIVE.items():
            packed.writestr(name, data)
    for kind in ("gz", "xz"):
        with tarfile.open(root / f"kgbd.tar.{kind}", f"w:{kind}") as tar:
            for name, data in ARCHIVE.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def unpack(root: Path) -> None:
    """As scripts/get_kgbd.py does; its exit codes 0 and 2 are in order."""
    script = get_kgbd()
    for archive in sorted(root.glob("kgbd.*")):
        for folder in root.glob("KGBD"):
            shutil.rmtree(folder)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = script.main(["--raw_root", str(root), "--archive", str(archive)])
        assert code in (0, 2), f"exit code {code}"


def get_kgbd() -> Any:
    """The script as a module that is content with two walks."""
    if (found := sys.modules.get("fuzzed_get_kgbd")) is None:
        spec = importlib.util.spec_from_file_location(
            "fuzzed_get_kgbd", ROOT / "scripts" / "get_kgbd.py"
        )
        assert spec is not None and spec.loader is not None
        found = sys.modules["fuzzed_get_kgbd"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        found.PERSONS = found.WALKS = 2
    return found


KS20 = cut(make.ks20(7, 2), 7)
CASIA = cut(make.casia(62, 2), 62)
READERS = {
    "raw IAS": Reader(
        raw("IAS", cut(make.ias(2), 27)), preprocessed("IAS", 6), {"**/*.txt": "text"}, True
    ),
    "raw BIWI": Reader(
        raw("BIWI", cut(make.biwi(2), 27)), preprocessed("BIWI", 6), {"**/*.txt": "text"}, True
    ),
    "raw KGBD": Reader(
        raw("KGBD", cut(make.kgbd(2), 27)), preprocessed("KGBD", 6), {"**/*.txt": "text"}, True
    ),
    "raw KS20 text": Reader(raw("KS20", KS20), preprocessed("KS20", 6), {"**/*.txt": "text"}, True),
    "raw KS20 mat": Reader(
        raw("KS20", KS20, kind="mat"), preprocessed("KS20", 6), {"**/*.mat": "mat"}, True
    ),
    **{
        f"raw CASIA_B {kind}": Reader(
            raw("CASIA_B", CASIA, kind=kind),
            preprocessed("CASIA_B", 40),
            {f"**/*.{kind}": form},
            True,
        )
        for kind, form in (("npy", "npy"), ("json", "json"), ("csv", "text"))
    },
    "windows": Reader(windows, load, {"**/*source*.npy": "npy", "**/frame_id*.npy": "npy"}),
    "recordings of windows": Reader(windows, load, {"**/recording*.npy": "npy"}),
    "labels by pickle": Reader(object_windows, load, {"**/frame_id*.npy": "pickle"}),
    "ids by pickle": Reader(id_windows, load, {"**/ids*.npy": "pickle"}),
    "manifest": Reader(windows, load, {"**/manifest.json": "json"}),
    "manifest of one's own": Reader(
        own_set,
        lambda root: (load(root, "Mine"), load(root, "Mine", stress="fragments")),
        {"**/manifest.json": "json"},
    ),
    "features": Reader(feature_files, load_features, {"**/frames_AGE*": "npy"}),
    "features manifest": Reader(feature_files, load_features, {"**/frames_AGE.json": "json"}),
    "features made elsewhere": Reader(
        feature_files, take_features, {"**/frames_AGE*.npy": "npy", "**/frame_id*.npy": "npy"}
    ),
    "config.json": Reader(run_files, read_settings, {"**/run1/config.json": "json"}),
    "metrics.jsonl": Reader(run_files, read_metrics, {"**/run0/metrics.jsonl": "json"}),
    "results.json": Reader(run_files, read_results, {"**/run0/results.json": "json"}),
    "probes npz": Reader(run_files, read_probes, {"**/run0/probes_*.npz": "npz"}),
    "results beside probes": Reader(run_files, read_probes, {"**/run0/results.json": "json"}),
    "latest": Reader(run_files, read_pointer, {"**/latest": "text"}, True),
    "checkpoint": Reader(checkpoint_files, read_checkpoints, {"*.pt": "checkpoint"}),
    "settings in TOML": Reader(settings_file, read_toml, {"mine.toml": "text"}),
    "benchmark.json": Reader(benchmark_file, read_benchmark, {record.FILE: "json"}),
    "archive zip": Reader(archives, unpack, {"*.zip": "zip"}),
    "archive tar": Reader(archives, unpack, {"*.gz": "tar", "*.xz": "tar"}),
}
