"""Small valid files of every format that `simmc import` reads, and what reads them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from simmc.data.importing.assign import Rule
from simmc.data.importing.description import Description
from simmc.data.importing.formats import read_bodies
from simmc.data.importing.importer import Request, import_items
from simmc.data.importing.source_files import items
from tests.data import formats as make
from tests.data import test_import_tables as tables

Build = Callable[[Path], None]
TOLD = Description()


def one_file(name: str, content: Callable[[], bytes]) -> Build:
    """Writes a file."""
    return lambda root: (root / name).write_bytes(content()) and None


def read_files(root: Path) -> None:
    """Every file as an import reads it; what comes out are positions."""
    for path in sorted(root.iterdir()):
        if path.is_file():
            for body in read_bodies(path.name, path.read_bytes(), TOLD):
                assert body.xyz.dtype == np.float64, "another type"
                assert body.xyz.shape[1:] == (len(body.joints), 3), "another shape"
                assert len(set(body.joints)) == len(body.joints), "joints of one name"
                assert body.times is None or len(body.times) == len(body.xyz), "other times"


def import_all(root: Path) -> None:
    """The whole import, from files to a dataset."""
    shutil.rmtree(root / "out", ignore_errors=True)
    request = Request(root / "out" / "Mine", 2, TOLD, Rule("none"))
    import_items(items(root / "in", TOLD), request)


def parquet_table() -> bytes:
    """A row a frame."""
    names = [f"{joint}_{axis}" for joint in tables.JOINTS for axis in "xyz"]
    return tables.as_parquet(dict(zip(names, tables.XYZ.reshape(-1, 9).T, strict=True)))


def nested_json() -> bytes:
    """Frames with named joints."""
    frames = [dict(zip(tables.JOINTS, frame, strict=True)) for frame in tables.XYZ.tolist()]
    return json.dumps({"frames": frames}).encode()


def keypoints(joints: int, frames: int = 2) -> np.ndarray:
    """x, y, confidence of a body (F, J, 3)."""
    made = make.walk(frames, joints) * 100
    made[..., 2] = 0.5
    return made


def openpose_folder(root: Path) -> None:
    """Two recordings of two people each, of two frames."""
    for place in range(4):
        one = keypoints(25)[place % 2] * (1 + place // 2 / 10)  # recordings are no copies
        people = [one.round(1), (1.05 * one + np.array([500, 0, 0])).round(1)]
        folder = root / "in" / f"recording{place // 2}"  # messages name recordings
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f_{place:012d}_keypoints.json").write_bytes(make.openpose(people))


def mixed_folder(root: Path) -> None:
    """Recordings of one skeleton in several formats."""
    (root / "in" / "a").mkdir(parents=True)
    (root / "in" / "a" / "1.skeleton").write_bytes(make.ntu({"1": make.walk(4, 25)}))
    (root / "in" / "3.skeleton").write_bytes(make.ntu({"1": make.walk(4, 25, 1)}))
    (root / "in" / "2.json").write_bytes(make.kinect_v2(make.walk(2, 25)))


SINGLE = {
    "bvh": (".bvh", make.bvh, "text"),
    "c3d": (".c3d", lambda: make.c3d(make.walk(2, 3) * 1000, ["A", "B", "C"]), "bytes"),
    "NTU": (".skeleton", lambda: make.ntu({"1": make.walk(2, 25), "2": make.walk(2, 25)}), "text"),
    "Azure Kinect": (".json", lambda: make.azure({1: make.walk(2, 32)}), "json"),
    "Kinect v2": (".json", lambda: make.kinect_v2(make.walk(2, 25)), "json"),
    "Kinect v2 lists": (".json", lambda: make.kinect_v2_list(make.walk(2, 25)), "json"),
    "OpenPose": (".json", lambda: make.openpose([keypoints(25)[0]]), "json"),
    "AlphaPose": (".json", lambda: make.alphapose([{1: f} for f in keypoints(17)]), "json"),
    "MMPose": (".json", lambda: make.mmpose(make.walk(2, 17), ["root"]), "json"),
    "MediaPipe": (".json", lambda: make.mediapipe(make.walk(2, 33)), "json"),
    "wide CSV": (".csv", lambda: tables.wide().encode(), "text"),
    "TSV": (".tsv", lambda: tables.wide(delimiter="\t").encode(), "text"),
    "long CSV": (".csv", lambda: tables.long(time=True).encode(), "text"),
    "Parquet": (".parquet", parquet_table, "bytes"),
    "array": (".npy", lambda: tables.saved(array=make.walk(4, 20)), "npy"),
    "arrays": (".npz", lambda: tables.saved(one=make.walk(4, 20), two=make.walk(3, 20)), "npz"),
    "JSON": (".json", nested_json, "json"),
}
