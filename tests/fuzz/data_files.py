"""Small valid raw data and prepared data, and what reads them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simmc.data import specs, store
from simmc.data.experiment.experiment import Features
from simmc.data.experiment.load import Request, load_experiment
from simmc.data.features import FeatureFiles, read_imported
from simmc.data.preprocess import preprocess
from simmc.data.raw import write
from simmc.data.skeletons import Skeleton
from tests.data import make

Build = Callable[[Path], None]
Call = Callable[[Path], Any]
QUIET = {"class_sampling": "off", "part_batches": "keep", "batch_size": 4}
SKELETON = Skeleton("mine", ("head", "hip", "left", "right"), "hip", (("head", "hip"),), (), ())


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


def load(root: Path, dataset: str = "KGBD", features: Features | None = None, **how: Any) -> None:
    """What a training reads; its windows are touched."""
    rng = np.random.default_rng(0)
    request = Request(root, dataset, 6, "probe", **QUIET, **how)
    data = load_experiment(request, rng, features)
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
        found = read_imported(root, files, split, stored)
        assert np.isfinite(found).all(), "features that are not finite"
