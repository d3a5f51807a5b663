"""Generated walkers from raw files to windows, once a session, and ways to run the commands."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simmc import cli
from simmc.data import specs
from simmc.data.store import dataset_folder, file_path, split_folder
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from simmc.runs.records import ProbeOutcomes
from simmc.runs.runtime import start
from tests.data.make import without_checksums

LENGTHS = {"CASIA_B": 40}
# what makes a training on tiny walkers quick; their sets hold fewer windows than the usual batch
QUICK = ("--H", "32", "--threads", "1")
BATCH = {"KS20": 16}
SMALL = ("--H", "8", "--threads", "1")  # source models are wider than they look
TWIN = "label_free"  # the second training of a run whose first one used identities
PERSONS = {"IAS": 6, "BIWI": 8, "KGBD": 12}
PLACES = [  # every dataset and probe, one pair of KS20's views among them
    *(("IAS", "A"), ("IAS", "B"), ("BIWI", "Walking"), ("BIWI", "Still")),
    *(("KS20", "probe"), ("KS20", "0.30"), ("KGBD", "probe")),
    *(("CASIA_B", name) for name in ("nm.nm", "bg.bg", "cl.cl", "cl.nm", "bg.nm")),
]


class Prepared:
    """Windows of tiny walkers of every dataset, made by the commands when first asked for."""

    def __init__(self, root: Path) -> None:
        self.raw = root / "raw data"
        self.data = root / "windows"
        self._made: set[str] = set()

    def __call__(self, dataset: str, protocol: str = "RVE") -> Path:
        """The data root, which then holds this dataset."""
        if dataset not in self._made:
            size = ["--size", "tiny", "--persons", PERSONS.get(dataset, 4), "--raw_root", self.raw]
            assert run("generate", "--dataset", dataset, *size) == 0
        if dataset + protocol not in self._made:
            where = ["--raw_root", self.raw, "--data_root", self.data, "--protocol", protocol]
            length = LENGTHS.get(dataset, 6)
            assert run("preprocess", length, "--dataset", dataset, *where) == 0
        self._made |= {dataset, dataset + protocol}
        return self.data


def run(command: str, *words: object) -> int:
    """One command as the command line runs it; its exit code."""
    return cli.run(command, [str(word) for word in words])


def words_for(
    prepared: Prepared,
    home: Path,
    dataset: str = "KGBD",
    probe: str = "probe",
    *flags: object,
    batches: Mapping[str, int] = BATCH,
) -> list[object]:
    """Where a training finds its data and leaves its run, the size of its batches, and `flags`."""
    root = prepared(dataset, "CVE" if probe[0].isdecimal() else "RVE")
    where = ["--data_root", root, "--model_root", home]
    size = ["--batch_size", batches.get(dataset, 8), "--length", LENGTHS.get(dataset, 6)]
    return ["--dataset", dataset, "--probe", probe, *where, *size, *flags]


def latest(
    home: Path, recipe: str = "simmc", dataset: str = "KGBD", probe: str = "probe"
) -> RunDirectory:
    """The newest run of a recipe."""
    pointer = "latest" if recipe == "simmc" else f"latest_{recipe}"
    return RunDirectory.latest(home, dataset, probe, pointer=pointer)


def file_names(run: RunDirectory) -> set[str]:
    """What a run's folder shows."""
    return {path.name for path in run.path.iterdir() if path.name != ".lock"}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("a place with spaces"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The number handling that a command sets is the process's: set it before any test."""
    start("cpu", None, 1)
    yield


@pytest.fixture
def train(prepared: Prepared, tmp_path: Path) -> Callable[..., RunDirectory]:
    """Trains on tiny walkers with the flags given; the run's folder."""

    def command(*flags: object, dataset: str = "KS20", code: int = 0, root: str = "runs") -> Any:
        home = tmp_path / root
        assert run("simmc", *words_for(prepared, home, dataset, "probe", *QUICK, *flags)) == code
        return latest(home, "simmc", dataset) if code == 0 else home

    return command


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail by the user's fault; its message holds all the words said."""

    def check(command, *words, said, code=2):
        said = [said] if isinstance(said, str) else said
        assert run(command, *words) == code
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert err.count("error: ") == 1
        message = err.partition("error: ")[2]
        for text in said:
            assert str(text) in message, message
        assert len(message) < 900
        return message

    return check


@pytest.fixture
def windows(prepared, tmp_path):
    """A copy of the windows of KGBD, to be damaged: what is not read is found by other checks."""
    shutil.copytree(prepared("KGBD") / "KGBD", tmp_path / "windows" / "KGBD")
    without_checksums(tmp_path / "windows" / "KGBD" / "6")
    return tmp_path / "windows"


def without_recordings(root, copy):
    """A copy of the windows of KGBD that do not tell their recordings."""
    shutil.copytree(root / "KGBD", copy / "KGBD", ignore=shutil.ignore_patterns("recording_*"))
    path = copy / "KGBD" / "6" / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["files"] = {k: v for k, v in content["files"].items() if "recording_" not in k}
    path.write_text(json.dumps(content), encoding="utf-8")
    return copy


def data_file(root, split, what):
    """A file of a split of KGBD at the length 6."""
    spec = specs.get("KGBD")
    folder = split_folder(dataset_folder(root, spec, 6), spec, split)
    return file_path(folder, spec, 6, split, what)


def changed(path, change):
    """Writes an array anew, changed."""
    np.save(path, change(np.load(path)))


class Evil:
    """On unpickling, makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def outcomes_of(folder: RunDirectory) -> dict[str, ProbeOutcomes]:
    """The outcomes of a run's probe windows, whose means must be what results.json says."""
    found = {}
    results = folder.read_results()
    for protocol, figures in results["protocols"].items():
        if figures is None:
            continue
        assert "retrieval" not in figures
        kept = found[protocol] = ProbeOutcomes.read(folder.probes_path(protocol))
        assert len(kept) == results["counts"]["probe"]
        for k in (1, 5, 10):
            hits = (kept.first_match_rank >= 1) & (kept.first_match_rank <= k)
            assert hits.mean() == figures[f"top{k}"]
        assert np.nanmean(kept.average_precision) == pytest.approx(figures["mAP"], abs=1e-12)
    assert {path.name for path in folder.path.rglob("probes_*")} == {
        f"probes_{protocol}.npz" for protocol in found
    }
    return found


def results_of(folder: RunDirectory) -> dict[str, Any]:
    """The numbers of results.json that a run determines: not time, memory and where it lies."""
    found = folder.read_results()
    del found["timing"], found["peak_rss_bytes"]
    for name in ("model_root", "data_root", "resume", "run"):
        del found["settings"][name]
    return found


def metrics_of(folder: RunDirectory) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without seconds."""
    rows = folder.read_metrics()
    for row in rows:
        del row["seconds"]
    return rows


def assert_same_state(a, b, where="state"):
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same_state(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same_state(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def assert_same_run(a, b):
    """Equal to the last bit in everything but time, memory and place."""
    assert results_of(a) == results_of(b)
    for here in {".", *(p.parent.name for p in a.path.rglob("last.pt") if p.parent != a.path)}:
        one, other = RunDirectory(a.path / here), RunDirectory(b.path / here)
        assert metrics_of(one) == metrics_of(other)
        files = sorted(path.name for path in one.path.glob("*.pt"))
        assert files == sorted(path.name for path in other.path.glob("*.pt"))
        assert "last.pt" in files
        for name in files:
            pair = (checkpoints.load(r.path / name) for r in (one, other))
            assert_same_state(*pair, name)
    assert not list(b.path.rglob("*.part"))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
