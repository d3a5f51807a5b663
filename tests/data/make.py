"""Small raw data and recordings for the tests."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from simmc.data import preprocess, specs, store
from simmc.data.raw.kgbd import FOLDER, JOINT_NAMES
from simmc.data.raw.ks20 import BODIES
from simmc.data.recordings import Recording
from simmc.data.skeletons import KINECT_V1

_KGBD = specs.get("KGBD")
_BASE = ("KGBD", "6")


def kgbd_text(frames: np.ndarray) -> str:
    """Frames (T, 20, 3) as the lines of a KGBD file, CRLF as in the original."""
    return "".join(
        f"{name};{x!r};{y!r};{z!r}\r\n"
        for frame in frames.tolist()
        for name, (x, y, z) in zip(JOINT_NAMES, frame, strict=True)
    )


def kgbd_raw(
    root: Path, walks: dict[int, int], n_frames: int = 50, seed: int = 0
) -> dict[str, np.ndarray]:
    """Writes `walks` files a person below a raw root; returns frames by recording name."""
    rng = np.random.default_rng(seed)
    written = {}
    for person, count in walks.items():
        for walk in range(1, count + 1):
            frames = rng.normal(size=(n_frames + walk, 20, 3))
            name = f"{FOLDER}/Person{person:03d}/{walk}.txt"
            path = root / "KGBD" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(kgbd_text(frames), newline="")
            written[name] = frames
    return written


def kgbd_set(root: Path, split: str = "probe", n: int = 5, recording: bool = True) -> np.ndarray:
    """Writes n windows of 6 frames as a preprocessed split; returns their planes (3, 6 n, 20)."""
    planes = np.random.default_rng(0).normal(size=(3, n * 6, 20))
    labels = np.array([7, 3, 7, 7, 3][:n])
    places = np.arange(n) if recording else None
    store.write_split(root.joinpath(*_BASE), _KGBD, 6, split, planes, labels, places)
    return planes


def kgbd_file(root: Path, what: str, split: str = "probe") -> Path:
    """One of its files."""
    folder = store.split_folder(root.joinpath(*_BASE), _KGBD, split)
    return store.file_path(folder, _KGBD, 6, split, what)


def without_checksums(base: Path) -> None:
    """Remove the checksums from the manifest, so that arrays can be changed."""
    path = base / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["files"]
    path.write_text(json.dumps(content), encoding="utf-8")


def _recording(name: str, identity: int, shape: tuple[int, int], role: str, **attributes: str):
    frames = np.random.default_rng(zlib.crc32(name.encode())).normal(size=(*shape, 3))
    return Recording(name, identity, frames, role, attributes)


def ias(persons: int = 3) -> list[Recording]:
    """Each person once in each set."""
    return [
        _recording(f"{part}/P{p:02d}", p, (50, 20), part)
        for part in ("Training", "TestingA", "TestingB")
        for p in range(persons)
    ]


def biwi(persons: int = 3) -> list[Recording]:
    """Each person once in each set."""
    return [
        _recording(f"{folder}/{p:03d}", p, (50, 20), folder.rpartition("/")[2])
        for folder in ("Training", "Testing/Walking", "Testing/Still")
        for p in range(1, persons + 1)
    ]


def kgbd(persons: int = 3) -> list[Recording]:
    """Five walks of each person."""
    return [
        _recording(f"{FOLDER}/Person{p:03d}/{walk}.txt", p, (50, 20), "")
        for p in range(1, persons + 1)
        for walk in range(1, 6)
    ]


def ks20(n_frames: int = 30, persons: int = 4) -> list[Recording]:
    """Five views, three repetitions, the last person last in each repetition, as in the files."""
    return [
        _recording(
            *(f"{view}/{s}_body{BODIES[p]}", p, (n_frames + p, 25), view),
            **{"view": view, "setting": s, "body": str(BODIES[p])},
        )
        for view in specs.KS20_VIEWS
        for s in ("gc1", "gc2", "gc3")
        for p in range(persons)
    ]


def casia(n_frames: int = 101, persons: int = 8) -> list[Recording]:
    """Every person in every condition, before two cameras."""
    return [
        _recording(
            *(f"{p:03d}-{c}-01-{v}.npy", p, (n_frames, 14), c),
            **{"subject": f"{p:03d}", "condition": c, "take": "01", "view": v},
        )
        for p in range(1, persons + 1)
        for c in specs.CASIA_CONDITIONS
        for v in ("000", "090")
    ]


def read_by_name(patch: pytest.MonkeyPatch, root: Path, made: dict[str, list[Recording]]) -> None:
    """Let the preprocessor read these recordings instead of files below a raw root."""
    for name, recordings in made.items():
        (root / name).mkdir(exist_ok=True)
        patch.setitem(preprocess.READERS, name, lambda *_, found=recordings: found)


RAW = {"IAS": ias, "BIWI": biwi, "KGBD": kgbd, "KS20": ks20, "CASIA_B": casia}


def own_set(root: Path, name: str = "Mine", seed: int = 0) -> None:
    """A custom set of six persons with ten windows each in every split."""
    rng = np.random.default_rng(seed)
    identity = np.arange(60) % 6
    bodies = rng.normal(size=(6, 1, 20, 3))[identity]
    splits = {
        split: (bodies + 0.1 * rng.normal(size=(60, 6, 20, 3)), identity)
        for split in ("train", "probe", "gallery")
    }
    store.write_dataset(root, name, splits, KINECT_V1)
