"""Writers of the raw formats, for synthetic walkers and for tests.

Numbers have all digits (``repr``), so that they read back exactly. Files are written one by one,
below the dataset's folder `root`; `simmc generate` gives a staged folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.io import savemat

from simmc.data.raw import kgbd, mat
from simmc.data.recordings import MARKER, Recording
from simmc.files import cannot_write, write_json

SEEN, LOST = 2, 0  # tracking states
_FOCAL, _CENTRE = 525.0, (320.0, 240.0)  # pixels, of a Kinect v1's images


def write_ias(
    root: Path, recordings: Sequence[Recording], tracked: Mapping[str, np.ndarray] | None = None
) -> None:
    """A ``NNNNNN_skel.txt`` for each frame, in a folder for each recording.

    `tracked` is (T, 20) bool by recording name: the joints that the sensor sees; by default all.
    """
    for recording in recordings:
        seen = np.ones(recording.frames.shape[:2], bool)
        seen = seen if tracked is None else tracked.get(recording.name, seen)
        states = np.where(seen, SEEN, LOST).tolist()
        pixels = np.nan_to_num(np.round(_project(recording.frames))).astype(int).tolist()
        texts = [
            "".join(
                f"{joint},{x!r},{y!r},{z!r},{u},{v},{state},0\n"
                for joint, ((x, y, z), (u, v), state) in enumerate(zip(*columns, strict=True))
            )
            for columns in zip(recording.frames.tolist(), pixels, states, strict=True)
        ]
        names = [f"{number:06d}_skel.txt" for number in range(len(texts))]
        _write_files(root / recording.name, names, texts)


write_biwi = write_ias  # the formats are the same; only the folders differ


def write_kgbd(root: Path, recordings: Sequence[Recording]) -> None:
    """A ``PersonNNN/K.txt`` for each recording, with the line endings of the original."""
    for recording in recordings:
        lines = [
            f"{name};{x!r};{y!r};{z!r}\r\n"
            for frame in recording.frames.tolist()
            for name, (x, y, z) in zip(kgbd.JOINT_NAMES, frame, strict=True)
        ]
        path = root / recording.name
        _write_files(path.parent, [path.name], ["".join(lines)])


def write_ks20(
    root: Path,
    recordings: Sequence[Recording],
    times: Mapping[str, np.ndarray] | None = None,
    kind: Literal["txt", "mat"] = "txt",
) -> None:
    """A text file for each frame, or a ``.mat`` file for each recording.

    `times` are (T,) int timestamps by recording name; by default 33 ms apart with the same number
    of digits, so that text and numbers sort alike.
    """
    for recording in recordings:
        path = root / recording.name
        stamps = 100_000 + 33 * np.arange(len(recording.frames))
        stamps = stamps if times is None else times[recording.name]
        if kind == "mat":
            path.parent.mkdir(parents=True, exist_ok=True)
            savemat(f"{path}.mat", {mat.FRAMES: recording.frames, mat.TIME: stamps})
            continue
        texts = [
            "".join(f"{joint},{x!r},{y!r},{z!r}\n" for joint, (x, y, z) in enumerate(frame))
            for frame in recording.frames.tolist()
        ]
        _write_files(path.parent, [f"{path.name}_{stamp}.txt" for stamp in stamps], texts)


def write_casia_b(
    root: Path, recordings: Sequence[Recording], kind: Literal["npy", "json", "csv"] = "npy"
) -> None:
    """A file for each video: the recording's name with the ending of `kind`."""
    for recording in recordings:
        path = (root / recording.name).with_suffix(f".{kind}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "npy":
            np.save(path, recording.frames, allow_pickle=False)
            continue
        if kind == "json":
            text = json.dumps(recording.frames.tolist())
        else:
            rows = recording.frames.reshape(len(recording.frames), -1).tolist()
            text = "".join(",".join(map(repr, row)) + "\n" for row in rows)
        _write_files(path.parent, [path.name], [text])


WRITERS = {
    "IAS": write_ias,
    "BIWI": write_biwi,
    "KGBD": write_kgbd,
    "KS20": write_ks20,
    "CASIA_B": write_casia_b,
}


def mark_generated(root: Path, details: Mapping[str, Any]) -> None:
    """Mark the dataset's folder as one of synthetic walkers."""
    write_json(root / MARKER, {"generated": True, **details})


def _project(frames: np.ndarray) -> np.ndarray:
    """Image coordinates (T, J, 2) in pixels; y points up in space and down in the image."""
    depth = np.maximum(frames[..., 2:], 0.1)
    return frames[..., :2] / depth * (_FOCAL, -_FOCAL) + _CENTRE


def _write_files(folder: Path, names: Sequence[str], texts: Sequence[str]) -> None:
    """Not atomic: forcing thousands of small files to the disk would take minutes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip(names, texts, strict=True):
            with open(f"{folder}/{name}", "wb") as file:  # noqa: PTH123 - a third faster
                file.write(text.encode("ascii"))
    except OSError as error:
        raise cannot_write(folder, error) from error
