"""Import of recordings that are in memory: part of the public interface (docs/import.md)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simmc.data.importing.assign import Rule
from simmc.data.importing.description import Description, described
from simmc.data.importing.importer import Item, import_items
from simmc.data.importing.nested import of_array
from simmc.data.importing.recording import Body
from simmc.data.importing.tabular import from_arrow
from simmc.data.importing.write_import import Request
from simmc.data.skeletons import Skeleton
from simmc.errors import UserError

Texts = Sequence[Any] | str | None
_PER_RECORDING = ("recording", "person", "session", "camera")


def import_recordings(
    recordings: Iterable[Any],
    out: str | Path,
    *,
    joints: Sequence[str] | Skeleton | str | None = None,
    recording: Texts = None,
    person: Texts = None,
    session: Texts = None,
    camera: Texts = None,
    length: int = 6,
    split: str = "recording",
    person_disjoint: bool = False,
    hold_out: float = 0.5,
    seed: int = 0,
    **told: Any,
) -> Path:
    """Write recordings of different lengths as a dataset, as `simmc import` does with files.

    Called again with the same `out`, it adds the recordings that are not there yet.

    Args:
        recordings: arrays (F, J, 3), (F, J, 2) or (F, J * 3), NaN where a joint was not seen; or
            pandas, polars or Arrow tables, a row a frame or a row a joint.
        out: folder of the dataset, such as "Datasets/Mine".
        joints: names in the order of the arrays, a `Skeleton`, or the name of a sensor, such as
            "Kinect v2"; by default the names of the tables, or numbers.
        recording: names of the recordings; by default their numbers. This and the next three are a
            list with one entry for each of `recordings`, or the name of a column of the tables.
        person: who is shown, text or number; None where unknown.
        session: when they were made, text or number.
        camera: by which camera they were made, text or number.
        length: frames of a window, f.
        split: what is kept together in one split: "recording", "session" or "camera"; "none": all
            recordings but two are training data.
        person_disjoint: whether no person is in both the training and the test splits.
        hold_out: share of a person's recordings (or of the persons) that is tested, in (0, 1).
        seed: seed of the random split.
        told: keys of dataset.toml, such as `unit="mm"`, `up="z"`, `frame_rate=30`.

    Returns:
        The folder of the windows, ``<out>/<length>``.

    Raises:
        UserError: nothing can be imported, or an array, a name or a setting is not valid.
    """
    texts = dict(zip(_PER_RECORDING, (recording, person, session, camera), strict=True))
    columns = {name: text for name, text in texts.items() if isinstance(text, str)}
    content: dict[str, Any] = {k: list(v) if isinstance(v, tuple) else v for k, v in told.items()}
    if columns:
        content["columns"] = {**columns, **content.get("columns", {})}
    found = _with_joints(described(content, "import_recordings"), joints)
    if not 0 < hold_out < 1:
        raise UserError(f"hold_out={hold_out}: expected a share between 0 and 1")
    rule = Rule(split, person_disjoint, hold_out, seed)
    lists = {n: list(text) for n, text in texts.items() if text is not None and n not in columns}
    given = list(recordings)
    for name, values in lists.items():
        if len(values) != len(given):
            raise UserError(f"{name}: {len(values)} values for {len(given)} recordings")
    made = []
    for place, one in enumerate(given):
        about = {name: values[place] for name, values in lists.items()}
        made.append(_item(one, str(about.pop("recording", place)), about, found))
    result = import_items(made, Request(Path(out), length, found, rule))
    faulty = [f"{entry['path']}: {entry['fault']}" for entry in result.entries if entry["fault"]]
    if faulty:
        text = f"{len(faulty)} of {len(made)} recordings were left out: {'; '.join(faulty[:3])}"
        warnings.warn(text, stacklevel=2)
    for remark in result.remarks.values():
        warnings.warn(remark, stacklevel=2)
    return result.folder


def _with_joints(told: Description, joints: Sequence[str] | Skeleton | str | None) -> Description:
    if joints is None:
        return told
    if isinstance(joints, str):
        return replace(told, sensor=joints)
    if isinstance(joints, Skeleton):
        return replace(told, joints=joints.joints, bones=joints.edges, root=joints.root)
    return replace(told, joints=tuple(map(str, joints)))


def _item(one: Any, name: str, about: dict[str, Any], told: Description) -> Item:
    """One recording; its stamp is the digest of its values."""
    digest = hashlib.sha256(repr(sorted(about.items())).encode(errors="replace"))
    read: Callable[[], list[Body]]
    if hasattr(one, "__arrow_c_stream__"):  # of pandas, polars and Arrow
        try:
            table = pa.table(one)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise UserError(f"recording {name}: no table ({error})") from error
        for batch in table.to_batches():
            digest.update(batch.serialize().to_pybytes())
        read = partial(from_arrow, name, table, told)
    else:
        array = _array(one, name)
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
        read = partial(of_array, name, array, told)
    sha = digest.hexdigest()
    texts = {key: "" if value is None else str(value) for key, value in about.items()}
    fields = {key: text or None for key, text in texts.items()}
    return Item(name, sha, lambda: (sha, read), fields=fields)


def _array(one: Any, name: str) -> np.ndarray:
    try:
        found = np.ma.array(one)
        if found.dtype.kind in "fiu":
            return np.asarray(np.ma.filled(found.astype(np.float64), np.nan))
    except (TypeError, ValueError, RuntimeError):
        pass
    raise UserError(f"recording {name}: expected an array of numbers or a table, got {type(one)}")
