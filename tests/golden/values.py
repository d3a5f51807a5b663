"""The numbers of a file or folder as text that can be compared, and what decides their rounding."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from threadpoolctl import threadpool_limits

# of results.json and metrics.jsonl: no results, or different in every run
LEFT_OUT = {"timing", "peak_rss_bytes", "versions", "data", "settings", "seconds", "matching"}
LEFT_OUT |= {"method_version"}
LEFT_OUT |= {"largest", "health"}  # newer than the record, and derived from what it holds

Record = dict[str, dict[str, str]]


def summary(values: Any) -> str:
    """An array as text: checksum of dtype, shape and bytes, then plain values or their norm."""
    array = np.ascontiguousarray(values)
    sha = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())
    flat = array.astype(np.float64).ravel()
    plain = flat if flat.size <= 4 else [np.linalg.norm(flat[np.isfinite(flat)])]
    return " ".join([sha.hexdigest()[:10], *(f"{value:.7g}" for value in plain)])


def of_json(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, and every list of numbers, with the keys that lead to it."""
    if isinstance(value, dict):
        for key in sorted(value.keys() - LEFT_OUT):
            yield from of_json(value[key], f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            yield from of_json(item, f"{path}.{place}")
    elif isinstance(value, list | int | float) and not isinstance(value, bool):
        yield path, np.array(value, np.float64)


def of_epochs(path: Path) -> dict[str, str]:
    lines = [dict(of_json(json.loads(line))) for line in path.read_text().splitlines()]
    keys = sorted({key for line in lines for key in line})
    return {key: summary(np.array([line.get(key, np.nan) for line in lines])) for key in keys}


def of_weights(path: Path) -> dict[str, str]:
    """Weights by the first part of their names; what else a checkpoint holds, by its parts."""
    groups: dict[str, list[np.ndarray]] = {}
    rest: dict[str, list[str]] = {}

    def visit(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                visit(value[key], f"{name}/{key}")
        elif isinstance(value, torch.Tensor):
            part, _, tensor = name.removeprefix("/").partition("/")
            inner = tensor.split(".")[0] if part == "network" else ""
            array = value.numpy()
            rest.setdefault(part, []).append(f"{tensor} {summary(array)}")
            groups.setdefault(f"{part} {inner}".strip(), []).append(array.ravel())
        elif name.startswith("/seeds"):
            rest.setdefault("seeds", []).append(f"{name} {value}")

    visit(torch.load(path, weights_only=True)["state"], "")
    found = {f"{part} by name": text_sum(lines) for part, lines in rest.items()}
    for name, arrays in groups.items():
        if not name.startswith("seeds"):
            found[name] = summary(np.concatenate([array.astype(np.float64) for array in arrays]))
    return found


def text_sum(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:10]


def of_csv(path: Path) -> dict[str, str]:
    """The numbers of every row; rows of tables in order of their numbers, not of their words."""
    rows = []
    for line in csv.reader(path.read_text().splitlines()):
        numbers = [number for cell in line if (number := as_number(cell)) is not None]
        rows += [numbers] if numbers else []
    if path.parent.name != "identify" and path.name.startswith("table"):
        rows.sort()
    return {"numbers": summary(np.array([number for row in rows for number in row]))}


def as_number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def of_file(path: Path) -> dict[str, str]:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: summary(arrays[name]) for name in arrays.files}
    if path.suffix == ".npy":
        try:
            return {"array": summary(np.load(path, allow_pickle=False))}
        except ValueError:  # words, as the public layout stores them
            return {}
    if path.name == "metrics.jsonl":
        return of_epochs(path)
    if path.name == "results.json" or path.name.startswith("matching"):
        return {key: summary(v) for key, v in of_json(json.loads(path.read_text()))}
    return {".pt": of_weights, ".csv": of_csv}.get(path.suffix, lambda path: {})(path)


def of_folder(folder: Path) -> Record:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): of_file(path) for path in files}
    return {name: numbers for name, numbers in found.items() if numbers}


def of_text(name: str, text: str) -> dict[str, str]:
    """Parameters and operations of a model's size, or the percentages of a scoring's table."""
    if name.startswith("size"):
        words = re.findall(r"\d[\d,]{3,}|\d+\.\d+(?= GFLOP)", text)
    else:
        lines = [re.findall(r"\b\d+\.\d\d\b", line) for line in text.splitlines()]
        words = [word for line in lines if len(line) >= 4 for word in line]
    return {"numbers": summary(np.array(sorted(float(word.replace(",", "")) for word in words)))}


def shortened(record: Record) -> Record:
    """One checksum a file, and the plain values that tell how large a difference is."""
    return {
        file: {"all": text_sum(f"{key} {text}" for key, text in sorted(numbers.items()))}
        | {key: rounded(text) for key, text in numbers.items() if judged(file, key)}
        for file, numbers in record.items()
    }


def rounded(text: str) -> str:
    """The plain values of a summary, for the eye and for a tolerance."""
    return " ".join(f"{float(value):.6g}" for value in text.split()[1:])


def judged(file: str, key: str) -> bool:
    """Losses, top-1, mAP, weights and features."""
    last = key.rpartition(".")[2]
    if file.endswith(".pt"):
        last_epoch = file.endswith("last.pt")  # mostly those of another file
        return not last_epoch and key.startswith("network ") and not key.endswith("by name")
    if ".kinds." in key:
        return False
    return last.startswith("loss_") or last in ("top1", "mAP") or key == "array"


def differences(old: Record, new: Record) -> list[str]:
    """A line for each file whose numbers are not the same; what is new is no difference."""
    found = []
    for file, numbers in old.items():
        others = new.get(file)
        if others is None:
            found.append(f"{file}: missing")
        elif others.get("all") != numbers.get("all"):
            apart = distances(numbers, others)
            largest = max(apart, key=lambda key: apart[key], default=None)
            judged = f"{largest} by {apart[largest]:.1e}" if largest else "no loss, mAP or weight"
            found.append(f"{file}: not the same numbers; of the plain values at most {judged}")
    return found


def distances(old: dict[str, str], new: dict[str, str]) -> dict[str, float]:
    """Largest relative difference of each plain value; infinite where it is missing."""
    found = {}
    for key, text in old.items():
        if key == "all":
            continue
        these, those = (np.array(words.split(), float) for words in (text, new.get(key, "")))
        if these.shape != those.shape:
            found[key] = float("inf")
        elif these.size:
            apart = np.abs(these - those) / np.maximum(np.abs(these), 1e-3)
            apart[np.isnan(these) & np.isnan(those)] = 0
            found[key] = float(apart.max())
    return found


@numba.njit(fastmath=True, cache=False)
def _compiled(x: np.ndarray) -> float:
    total = 0.0
    for i in range(x.size):
        total += np.exp(x[i]) * x[i] + np.tanh(x[i])
    return total


def machine() -> dict[str, str]:
    """What decides how numbers are rounded: libraries, and the results of a fixed computation."""
    names = ("torch", "numpy", "numba", "scipy", "scikit-learn")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        x = np.random.default_rng(0).normal(size=(96, 160))
        results = []
        for dtype in (np.float32, np.float64):
            y = x.astype(dtype)
            t = torch.from_numpy(y)
            torch_results = (t @ t.T, torch.softmax(t, 1).log().sum(0), torch.tanh(t).exp().mean(1))
            results += [(y @ y.T), y.sum(0), np.exp(y).sum(1), np.linalg.norm(y, axis=1)]
            results += [value.numpy() for value in torch_results]
            results.append(np.array(_compiled(y.ravel())))
    torch.set_num_threads(threads)
    return {name: importlib.metadata.version(name) for name in names} | {
        "probe": text_sum(map(summary, results))
    }
