"""The golden record: what every method and scoring command computes on small generated walkers.

    python tests/golden/make.py                         writes record.json beside this file
    python tests/golden/make.py --check [PIECE ...]     compares with it
    python tests/golden/make.py --full --out FILE       every number by name, to look into a difference

It calls the command line only, so modules may move. Numbers are found by file (metrics.jsonl,
results.json, weights, arrays, CSV files); times, memory, versions, settings and words are left out.

Of every file the record holds a checksum of all its exact numbers, which says whether anything changed,
and plain values of losses, top-1, mAP, weights and features (of more than four numbers the Euclidean
norm), which say how much.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:  # called as a script
    sys.path.insert(0, str(ROOT))

RECORD = Path(__file__).resolve().parent / "record.json"
PERSONS = {"KS20": 4, "KGBD": 6, "IAS": 4, "BIWI": 4, "CASIA_B": 4}
BATCH = {"KS20": 32, "KGBD": 16, "IAS": 8, "BIWI": 6, "CASIA_B": 8, "KS20 by view": 16}
FIDELITIES = ("released", "exact")
SOURCES = {"AGE": "age", "SGELA": "sgela", "MG-SCR": "mgscr", "SM-SGE": "smsge"}
# of results.json and metrics.jsonl: no results, or different in every run
LEFT_OUT = {"timing", "peak_rss_bytes", "versions", "data", "settings", "seconds", "matching"}
FURTHER = ("--rerank", "on", "--rerank_k1", 5, "--rerank_k2", 3)
EXPANDED = ("--expand", 3, "--expand_gallery", "on", "--walk", 2)

Words = Iterable[object]
Record = dict[str, dict[str, str]]


def simmc(*words: object) -> str:
    """What one command prints, called as the console command calls it."""
    from simmc.cli import main

    told, before = io.StringIO(), sys.argv
    sys.argv = ["simmc", *map(str, words)]
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = main()
    finally:
        sys.argv = before
    if code != 0:
        raise RuntimeError(
            f"exit code {code}: simmc {' '.join(map(str, words))}\n{told.getvalue()}"
        )
    return told.getvalue()


class Data:
    """Generated walkers and their windows, made when first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: set[tuple[str, ...]] = set()

    def __call__(self, dataset: str, fidelity: str, protocol: str = "RVE") -> Path:
        """The data root that holds this dataset."""
        raw, windows = self.root / "raw", self.root / fidelity
        if (dataset,) not in self._made:
            size = ("--size", "tiny", "--persons", PERSONS[dataset])
            simmc("generate", "--dataset", dataset, *size, "--raw_root", raw)
        if (dataset, fidelity, protocol) not in self._made:
            where = ("--raw_root", raw, "--data_root", windows)
            how = ("--dataset", dataset, "--fidelity", fidelity, "--protocol", protocol)
            simmc("preprocess", length(dataset), *how, *where)
        self._made |= {(dataset,), (dataset, fidelity, protocol)}
        return windows


def length(dataset: str) -> int:
    return 40 if dataset == "CASIA_B" else 6


class Runs:
    """The commands of one piece: where its data and runs are, and what was printed."""

    def __init__(
        self, data: Data, home: Path, dataset: str, fidelity: str, probe: str = "probe"
    ) -> None:
        self.home, self.folder = home, home / dataset / probe
        protocol = "CVE" if probe[0].isdecimal() else "RVE"
        root = data(dataset, fidelity, protocol)
        place = ("--dataset", dataset, "--probe", probe, "--length", length(dataset))
        self.where = (*place, "--data_root", root, "--model_root", home, "--threads", 1)
        batch = BATCH[dataset + " by view" if protocol == "CVE" else dataset]
        self.how = ("--fidelity", fidelity, "--batch_size", batch)
        self.printed: dict[str, str] = {}

    def train(self, run: str, command: str, *flags: object, epochs: int = 2) -> None:
        simmc(command, *self.where, *self.how, "--run", run, "--epochs", epochs, *flags)

    def score(self, run: str, command: str, *flags: object) -> None:
        told = simmc(command, *self.where, "--run", run, "--mode", "Eval", *flags)
        self.printed[" ".join(map(str, ("eval", run)))] = told

    def matched(self, run: str, command: str, *flags: object) -> None:
        """Plain scoring, and the further ways of matching; files of both are kept."""
        self.score(run, command, *flags)
        for name, how in (("reranked", (*FURTHER, "--walk", "all")), ("expanded", EXPANDED)):
            simmc(command, *self.where, "--run", run, "--mode", "Eval", *flags, *how)
            kept = self.folder / run / "matching.json"
            kept.rename(self.folder / run / f"matching_{name}.json")

    def ask(self, run: str, method: str, *protocols: str) -> None:
        """Features of every window, and who is who."""
        for protocol in protocols or ("paper", "label_free"):
            what = ("--method", method, "--run", run, "--protocol", protocol)
            for command in ("embed", "identify"):
                simmc(command, *self.where, *what, "--out", self.home / command / run / protocol)

    def report(self, kind: str, run: str, *flags: object) -> None:
        simmc("report", kind, self.folder / run, "--out", self.home / f"{kind}_{run}.svg", *flags)


# --- what is run: one function a piece -------------------------------------------------------


def simmc_runs(to: Runs) -> None:
    to.train("plain", "simmc", "--H", 16, "--mact", 1)
    to.matched("plain", "simmc")
    to.ask("plain", "simmc")


def himpc_runs(to: Runs) -> None:
    to.train("plain", "himpc", "--H", 16)
    to.matched("plain", "himpc")
    to.ask("plain", "himpc")


def trackmc_runs(to: Runs) -> None:
    for tier in ("off", "positives", "merge"):
        to.train(tier, "trackmc", "--H", 16, "--recordings", tier, "--parts", 3)
        to.matched(tier, "trackmc", "--recordings", tier)
        to.ask(tier, "trackmc")


def supervised_runs(to: Runs) -> None:
    for model, flags in (("encoder", ("--H", 16)), ("posegait", ())):
        to.train(model, "supervised", "--model", model, *flags)
        to.matched(model, "supervised", "--model", model)


def source_runs(to: Runs, source: str) -> None:
    command = SOURCES[source]
    exported = ("--source", source, "--features_root", to.home / "features")
    to.train("source", command, "--H", 8)
    to.matched("source", command)
    simmc("export-features", *to.where, *exported, "--run", "source", "--stage", "pretext")
    pooled = ("--kind", "mean", "--name", "pooled", "--stage", "pretext")
    simmc("export-features", *to.where, *exported, "--run", "source", *pooled)
    to.train("tuned", "finetune", *exported, "--H", 16)
    to.matched("tuned", "finetune", *exported)
    below = ("--source", source, "--encoder_run", to.folder / "source", "--hidden", 8)
    to.train("named", "recognition", *below)
    to.score("named", "recognition", *below)
    matching = (*below, "--score", "match", "--train", "all")
    to.train("whole", "recognition", *matching)
    to.score("whole", "recognition", *matching)
    if source == "MG-SCR":  # its published row has learned identities
        again = ("--stage", "recognition", "--name", "identities", "--run", "whole")
        simmc("export-features", *to.where, *exported, *again)
        to.train("tuned_whole", "finetune", *exported, "--features", "identities", "--H", 16)


def pretext_runs(to: Runs, source: str) -> None:
    to.train("source", SOURCES[source], "--H", 8)
    to.score("source", SOURCES[source])


def descriptor_runs(to: Runs) -> None:
    simmc("descriptors", *to.where, *to.how)
    for classifier in ("knn", "svm", "adaboost"):
        how = ("--descriptor", "D13", "--classifier", classifier)
        simmc("descriptors", *to.where, *to.how, *how)
        each = ("--unit", "frame", "--train_on", "train_gallery", "--save_flag", "frame")
        simmc("descriptors", *to.where, *to.how, *how, *each)


def simmc_variants(to: Runs) -> None:
    small = ("--H", 16, "--label_free_run", "off")
    for name, flags in {
        "raw": ("--encoder", "none"),
        "one_mask": ("--q", 1, "--mask_x", 0, "--lambda", 0, "--D", 2),
        "masks": ("--mask_x", 1, "--mask_x_2", 3, "--lambda", 0.3),
        "approximate": ("--neighbors", "approximate"),
        "label_free": ("--selection", "label_free"),
        "mirrored": ("--kgbd_order", "mirrored", "--root", "none"),
        "inputs": ("--input", "turned+bones+distances+angles+motion"),
    }.items():
        to.train(name, "simmc", *small, *flags)
    # continued by the same command with --resume
    to.train("continued", "simmc", *small, epochs=1)
    to.train("continued", "simmc", *small, "--resume", 1)


def stressed_runs(to: Runs) -> None:
    for stress in (
        *("noise:0.02", "lost:0.4", "camera:180-10", "keep:1", "borrow:1"),
        *("pieces:2-5", "mixed:0.2", "strangers"),
    ):
        name = stress.partition(":")[0]
        to.train(name, "trackmc", "--H", 8, "--stress", stress, "--label_free_run", "off")


def himpc_variants(to: Runs) -> None:
    small = ("--H", 16, "--label_free_run", "off")
    for name, flags in {
        "no_heads": ("--M", 0, "--levels", "joint,limb"),
        "easy": ("--mining", "easy", "--t", "auto"),
        "unmined": ("--mining", "none", "--D", 2),
    }.items():
        to.train(name, "himpc", *small, *flags)


def sgela_variants(to: Runs) -> None:
    small = ("--H", 8, "--label_free_run", "off")
    for name, flags in {
        "plus": ("--task", "plus"),
        "plus_tasks": ("--task", "plus", "--plus_data", "tasks"),
        "masked": ("--attention", "masked"),
        "basic": ("--attention", "basic", "--interval", 2),
        "none": ("--attention", "none"),
    }.items():
        to.train(name, "sgela", *small, *flags)


def one_of_each(to: Runs) -> None:
    """The datasets that the other pieces do not use."""
    small = ("--H", 16)
    to.train("simmc", "simmc", *small)
    to.score("simmc", "simmc")
    to.train("himpc", "himpc", *small)
    to.train("trackmc", "trackmc", *small)
    simmc("descriptors", *to.where, *to.how)


def reported(to: Runs) -> None:
    """Tables and comparisons of finished runs."""
    for seed in (0, 1):
        for name, lr in (("slow", 1e-4), ("fast", 1e-3)):
            flags = ("--H", 8, "--lr", lr, "--seed", seed, "--save_flag", name)
            to.train(f"{name}{seed}", "simmc", *flags)
    simmc("report", "table", "--model_root", to.home, *csv_to(to.home / "table.csv"))
    sides = [[to.folder / f"{name}{seed}" for seed in (0, 1)] for name in ("slow", "fast")]
    for protocol in ("paper", "label_free"):
        out = csv_to(to.home / f"compare_{protocol}.csv")
        how = ("--protocol", protocol, "--resamples", 500, *out)
        simmc("report", "compare", *sides[0], "--with", *sides[1], *how)


def pictures(to: Runs) -> None:
    """The numbers beside the pictures of frames, attention and confusion."""
    to.train("himpc", "himpc", "--H", 16, epochs=1)
    to.report("importance", "himpc", "--count", 2)
    for source, command in (("AGE", "age"), ("SGELA", "sgela")):
        to.train(command, command, "--H", 8, epochs=1)
        to.report("attention", command)
    below = ("--source", "SGELA", "--encoder_run", to.folder / "sgela", "--hidden", 8)
    to.train("named", "recognition", *below)
    to.report("confusion", "named")


def csv_to(path: Path) -> tuple[object, ...]:
    return ("--format", "csv", "--out", path)


def sizes(to: Runs) -> None:
    for command, flags in (
        *((name, ()) for name in ("simmc", "himpc", "trackmc", "age", "sgela", "mgscr", "smsge")),
        *(("supervised", ("--model", model)) for model in ("encoder", "posegait")),
        *(("finetune", ("--source", source)) for source in SOURCES),
        *(("recognition", ("--source", source, "--train", "all")) for source in SOURCES),
    ):
        for dataset in ("KS20", "KGBD"):
            where = ("--dataset", dataset, "--model_root", to.home / "none", "--model_size", 1)
            to.printed[" ".join(("size", command, *flags[1:2], dataset))] = simmc(
                command, *where, *flags
            )


def pieces() -> dict[str, tuple[Callable[[Runs], None], str, str, str]]:
    """Name to what runs, dataset, fidelity and probe; each piece stands alone."""
    found: dict[str, tuple[Callable[[Runs], None], str, str, str]] = {}
    clustered = {"simmc": simmc_runs, "himpc": himpc_runs, "trackmc": trackmc_runs}
    by_dataset: dict[str, dict[str, Callable[[Runs], None]]] = {
        "KGBD": {
            **clustered,
            **{"supervised": supervised_runs, "descriptors": descriptor_runs},
            **{name: partial(source_runs, source=source) for source, name in SOURCES.items()},
        },
        "KS20": {
            **clustered,
            **{name: partial(pretext_runs, source=source) for source, name in SOURCES.items()},
        },
    }
    for dataset, every in by_dataset.items():
        for fidelity in FIDELITIES:
            for name, steps in every.items():
                found[f"{name}-{dataset}-{fidelity}"] = (steps, dataset, fidelity, "probe")
    others = (("IAS", "A"), ("BIWI", "Walking"), ("KS20", "0.30"), ("CASIA_B", "nm.nm"))
    for dataset, probe in others:
        for fidelity in FIDELITIES:
            found[f"each-{dataset}-{probe}-{fidelity}"] = (one_of_each, dataset, fidelity, probe)
    rest = (
        simmc_variants,
        himpc_variants,
        sgela_variants,
        stressed_runs,
        reported,
        sizes,
        pictures,
    )
    for steps in rest:
        found[steps.__name__] = (steps, "KGBD", "exact", "probe")
    return found


# --- what is recorded ------------------------------------------------------------------------


def summary(values: Any) -> str:
    """An array as text: checksum of dtype, shape and bytes, then plain values or their norm."""
    array = np.ascontiguousarray(values)
    sha = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())
    flat = array.astype(np.float64).ravel()
    plain = flat if flat.size <= 4 else [np.linalg.norm(flat[np.isfinite(flat)])]
    return " ".join([sha.hexdigest()[:10], *(f"{value:.8g}" for value in plain)])


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
        array = np.load(path, allow_pickle=False)
        return {"array": summary(array)} if array.dtype.kind in "iufb" else {}
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
    """Parameter counts and operations of a model's size, or the percentages of a scored run."""
    pattern = r"\d[\d,]{3,}|\d+\.\d+(?= GFLOP)" if name.startswith("size") else r"\b\d+\.\d\d\b"
    found = [float(number.replace(",", "")) for number in re.findall(pattern, text)]
    return {"numbers": summary(np.array(sorted(found)))}


def piece(name: str, data: Data, home: Path) -> Record:
    """Runs one piece; its numbers by file."""
    if name != "data":
        steps, dataset, fidelity, probe = pieces()[name]
        runs = Runs(data, home, dataset, fidelity, probe)
        steps(runs)
        return of_folder(home) | {name: of_text(name, text) for name, text in runs.printed.items()}
    for dataset in PERSONS:
        for fidelity in FIDELITIES:
            data(dataset, fidelity)
            if dataset == "KS20":
                data(dataset, fidelity, "CVE")
    found: Record = {}
    for path, numbers in of_folder(data.root).items():  # fidelity/dataset/length/...
        place, _, file = path.partition("_npy_data/")
        for key, text in numbers.items():
            found.setdefault("/".join(place.split("/")[:2]), {})[f"{place} {file} {key}"] = text
    return found


def shortened(record: Record) -> Record:
    """One checksum a file, and the plain values that tell how large a difference is."""
    return {
        file: {"all": text_sum(f"{key} {text}" for key, text in sorted(numbers.items()))}
        | {key: text.partition(" ")[2] for key, text in numbers.items() if judged(file, key)}
        for file, numbers in record.items()
    }


def judged(file: str, key: str) -> bool:
    """Losses, top-1, mAP, weights and features."""
    last = key.rpartition(".")[2]
    if file.endswith(".pt"):
        return key.startswith("network") and not key.endswith("by name")
    return last.startswith("loss_") or last in ("top1", "mAP") or key == "array"


NAMES = ("data", *pieces())


# --- this machine ----------------------------------------------------------------------------


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


# --- comparison ------------------------------------------------------------------------------


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


def write(record: dict[str, Any], path: Path) -> None:
    """One line a file of a piece, so that a change of the record can be read."""
    lines = [f'{{\n"machine": {json.dumps(record["machine"])},\n"pieces": {{']
    blocks = []
    for name, files in record["pieces"].items():
        rows = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in files.items()]
        blocks.append(f"{json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n}")
    path.write_text("\n".join([*lines, ",\n".join(blocks), "}\n}\n"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the record")
    parser.add_argument("--out", type=Path, default=RECORD, help="file of the record")
    parser.add_argument("--full", action="store_true", help="every number by name")
    parser.add_argument("names", nargs="*", metavar="PIECE", help="these only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Data(Path(folder) / "data")
        made = {
            name: piece(name, data, Path(folder) / f"runs {name}") for name in given.names or NAMES
        }
    if not given.full:
        made = {name: shortened(numbers) for name, numbers in made.items()}
    if not given.check:
        write({"machine": machine(), "pieces": made}, given.out)
        return 0
    old = json.loads(given.out.read_text())["pieces"]
    found = [f"{name}: {line}" for name in made for line in differences(old[name], made[name])]
    print("\n".join(found) or "the same to the last digit")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
