"""What the files of a run hold, as `simmc.schema` checks it; entries that are not named are free.

Files of older versions lack some entries, so that most are optional.
"""

from pathlib import Path
from typing import Any

from simmc.runs.records import EpochRecord
from simmc.schema import Within, parse_json, read_json

_TEXT = (None, str)
_SHARE = Within(0, 1 + 1e-9)  # a mean may be rounded upwards
_RATE = (None, _SHARE)
_COUNT = Within(0, 2**53, whole=True)
_EPOCH = Within(-1, 2**53, whole=True)
_RATES = ("top1", "top5", "top10", "mAP", "mINP", "nauc_roc", "nauc_cmc")
_FIGURES = {
    **{f"{name}?": _RATE for name in _RATES},
    "epoch?": (None, _EPOCH),
    "cmc?": (None, [_SHARE]),
    "confusion?": (None, [[Within(-(2**53), 2**53, whole=True)]]),
}
CONFIG = {"command?": str, "settings?": {str: object}, "origin?": {str: str}}
RESULTS = {
    **dict.fromkeys(("method?", "dataset?", "probe?", "fidelity?", "note?"), _TEXT),
    **dict.fromkeys(("length?", "seed?"), (None, str, int)),
    "protocols?": (
        None,
        {str: (None, {**_FIGURES, "kinds?": (None, {str: _FIGURES})})},
    ),
    "counts?": (None, {str: (None, float, {str: object}, [object])}),
    "settings?": (None, {str: object}),
    "data?": (None, {"manifest_sha256?": _TEXT, "generated?": (None, bool)}),
    "supervised?": (None, bool),
}
_RECORD = {
    "epoch": _COUNT,
    "seconds?": {str: Within(0, 1e12)},
    str: (None, float, str, {str: object}),
}


def read_object(path: Path, schema: Any) -> dict[str, Any]:
    """The content of a JSON file of a run; UserError if it is damaged."""
    found: dict[str, Any] = read_json(path, schema, "train again to write it anew")
    return found


def parse_record(line: bytes, where: str) -> EpochRecord:
    """An epoch's line of metrics.jsonl; UserError if it is none."""
    found: EpochRecord = parse_json(line, _RECORD, where, "remove the line or start a new run")
    return found
