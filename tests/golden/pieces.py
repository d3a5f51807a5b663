"""The commands behind the golden record: what is run, on which generated walkers."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

PERSONS = {"KS20": 4, "KGBD": 6, "IAS": 4, "BIWI": 4, "CASIA_B": 4}
BATCH = {"KS20": 32, "KGBD": 16, "IAS": 8, "BIWI": 6, "CASIA_B": 8, "KS20 by view": 16}
FIDELITIES = ("released", "exact")
SOURCES = {"AGE": "age", "SGELA": "sgela", "MG-SCR": "mgscr", "SM-SGE": "smsge"}
FURTHER = ("--rerank", "on", "--rerank_k1", 5, "--rerank_k2", 3)
EXPANDED = ("--expand", 3, "--expand_gallery", "on", "--walk", 2)


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
        to.train(
            name,
            "trackmc",
            "--H",
            8,
            "--recordings",
            "merge",
            "--stress",
            stress,
            "--label_free_run",
            "off",
        )


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
    to.train("trackmc", "trackmc", *small, "--recordings", "merge")
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
    for command in ("age", "sgela"):
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
        "KS20": {  # TrackMC on KS20: by view, below
            **{name: clustered[name] for name in ("simmc", "himpc")},
            **{name: partial(pretext_runs, source=source) for source, name in SOURCES.items()},
        },
    }
    for dataset, every in by_dataset.items():
        for fidelity in FIDELITIES:
            for name, steps in every.items():
                if dataset == "KS20" and name in SOURCES.values() and fidelity == "exact":
                    continue  # for time; by KGBD it is the same code
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
