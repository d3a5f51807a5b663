"""Small valid files of runs, settings, benchmarks and archives, and what reads them."""

import contextlib
import importlib.util
import io
import json
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import measure, page
from simmc.engine.run import mean_seconds
from simmc.engine.stored_run import as_stored
from simmc.engine.training import load_weights
from simmc.errors import UserError
from simmc.methods.simmc import SimMCSettings
from simmc.methods.trackmc import TrackMCSettings
from simmc.reports import comparison, confusion, plots, render, results, sides
from simmc.reports import tables as reports
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.runs.records import ProbeOutcomes
from simmc.settings import resolve
from tests.benchmarks import make as make_benchmark
from tests.conftest import ROOT
from tests.methods import make as make_training

# runs

HOME = Path("ReID_Models", "KGBD", "probe")
FIGURES = {"top1": 1 / 3, "top5": 2 / 3, "top10": 2 / 3, "mAP": 0.5, "mINP": 0.4, "epoch": 3}
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
        ranks, precision = np.array([1, 0, 3], np.int32), np.array([0.75, np.nan, 0.25])
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
    mean_seconds(run.read_metrics())
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
    measure.save(root, make_benchmark.record(*cases, epoch=make_benchmark.epoch()))


def read_benchmark(root: Path) -> None:
    """As `simmc benchmark --render` does; nothing is drawn."""
    kept = measure.read(root / measure.FILE)
    page.summarise(kept)
    page.document(kept)


ARCHIVE = {"Data/Person001/1.txt": b"one\n" * 9, "Data/Person002/1.txt": b"two\n" * 9, "a": b"b"}


def archive_zip(root: Path) -> None:
    """KGBD as its author's repository gives it."""
    with zipfile.ZipFile(root / "kgbd.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in ARCHIVE.items():
            packed.writestr(name, data)


def archives_tar(root: Path) -> None:
    """The same, packed in two ways."""
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
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = script.main(["--raw_root", str(root), "--archive", str(archive)])
        assert code in (0, 2), f"exit code {code}"
        if code == 2:
            raise UserError(said.getvalue())


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
