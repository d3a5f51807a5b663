#!/usr/bin/env python3
"""Time and memory of the clustering beside the published dense routine and faiss.

`python benchmarks/clustering.py --help`; docs/benchmark.md explains it. It needs a checkout with
what requirements.txt lists; scikit-learn, faiss-cpu and matplotlib add contestants and pictures.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import measure, page
from benchmarks.contestants import CONTESTANTS
from benchmarks.inputs import GENERATED, untrained_features
from benchmarks.measure import Plan, Source
from simmc import files
from simmc.cli.console import CONSOLE
from simmc.data.experiment.experiment import Experiment
from simmc.errors import UserError
from simmc.methods.simmc import METHOD, SimMCSettings
from simmc.runs import runtime
from simmc.settings import Settings, option, resolve
from simmc.settings.groups import THREADS
from simmc.settings.options import Range

WHAT, HOW, WHERE = "what to measure", "how", "files and machine"
KGBD = "KGBD"
INPUTS = (KGBD, *GENERATED)
PRESETS = {
    "none": (),
    "full": tuple(1000 * n for n in (2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)),
}


@dataclass(frozen=True)
class Benchmark(Settings):
    """Settings of a measurement."""

    COMMAND: ClassVar[str] = "benchmark"
    SUMMARY: ClassVar[str] = (
        "Measure time and memory of k-NN, Jaccard distance and DBSCAN over N, beside the dense "
        "routine of the published programs. The same command continues what was interrupted."
    )

    sizes: str = option(
        "2k,4k,8k,16k,32k",
        "Numbers of rows, such as 2000,4k; full: 2k to 1M; none: only --epoch.",
        group=WHAT,
    )
    inputs: str = option(
        ",".join(INPUTS),
        "Features: KGBD (untrained SimMC, from --data_root), clustered, structureless (generated).",
        group=WHAT,
    )
    contestants: str = option("all", f"all, or some of {', '.join(CONTESTANTS)}.", group=WHAT)
    memory: bool = option(True, "Measure peak memory too.", group=WHAT)
    epoch: bool = option(False, "Also time the training recipe on KGBD.", group=WHAT)
    epochs: int = option(4, "Epochs of that training.", limits=Range(2), group=WHAT)
    render: str = option(
        "", "Measure nothing; write tables and pictures of this benchmark.json.", group=WHAT
    )

    repeats: int = option(3, "How often each time is taken.", limits=Range(1), group=HOW)
    exact_up_to: int = option(
        128_000, "Largest N with exact k-NN; approximate beyond.", limits=Range(0), group=HOW
    )
    dense_up_to: int = option(
        32_000, "Largest N with the dense routine.", limits=Range(0), group=HOW
    )
    fit_from: int | None = option(
        None,
        "Smallest N that exponents are fitted to.",
        kind=int,
        limits=Range(0),
        words={"stored": None},
        group=HOW,
    )
    seed: int = option(0, "Seed of generated features and of masks.", limits=Range(0), group=HOW)

    out: str = option(
        "", "Folder of the results (default: benchmark, or that of --render).", group=WHERE
    )
    data_root: str = option("Datasets", "Folder of the preprocessed datasets.", group=WHERE)
    threads: int | None = option(
        None, "Worker threads.", kind=int, limits=THREADS, words={"auto": None}, group=WHERE
    )
    config: str = option("", "TOML file of settings.", group=WHERE)

    def check(self) -> None:
        """Lists that can be read."""
        numbers(self.sizes)
        chosen("--inputs", self.inputs, INPUTS)
        chosen("--contestants", self.contestants, tuple(CONTESTANTS))


def main(argv: list[str]) -> int:
    """Measures, or renders what was measured."""
    settings = resolve(Benchmark, argv).settings
    if settings.render:
        file = Path(settings.render)
        kept = measure.read(file)
        out = Path(settings.out) if settings.out else file.parent
        if settings.fit_from is not None:
            kept["fit_from"] = settings.fit_from
    else:
        out = Path(settings.out or "benchmark")
        kept = take(settings, out)
    render(kept, out)
    return 0


def take(settings: Benchmark, out: Path) -> dict[str, Any]:
    """Every measurement that is asked for and not there yet; the record."""
    here = runtime.start("cpu", None, settings.threads)
    same = ("repeats", "seed", "exact_up_to")
    kept = measure.begin(out, {name: getattr(settings, name) for name in same}, here.threads)
    kept["load"].append(measure.load_average())
    if settings.fit_from is not None:
        kept["fit_from"] = settings.fit_from
    measure.save(out, kept)
    plan = Plan(
        chosen("--contestants", settings.contestants, tuple(CONTESTANTS)),
        settings.repeats,
        here.threads,
        settings.exact_up_to,
        settings.dense_up_to,
        settings.memory,
    )
    sizes = numbers(settings.sizes)
    for name in chosen("--inputs", settings.inputs, INPUTS) if sizes else ():
        source = kgbd(settings, here, kept) if name == KGBD else generated(name, settings.seed)
        if source is not None:
            measure.measure(source, sizes, plan, out, kept, CONSOLE.say)
    if settings.epoch and not kept["epoch"] and find_kgbd(settings, kept) is not None:
        CONSOLE.say(f"training on {KGBD}, {settings.epochs} epochs")
        kept["epoch"] = measure.run_training(
            str(Path(settings.data_root).resolve()), settings.epochs, here.threads, out
        )
        if kept["epoch"] is None:
            measure.note(kept, "epoch: left out, the process was killed")
    measure.save(out, kept)
    return kept


def render(kept: dict[str, Any], out: Path) -> None:
    """Writes benchmark.md and the pictures, and says where."""
    written = [out / "benchmark.md"]
    files.write_text(written[0], page.document(kept))
    if importlib.util.find_spec("matplotlib") is None:
        CONSOLE.notes(["no pictures: matplotlib is not installed (requirements.txt lists it)"])
    else:
        written += page.draw(kept, out)
    CONSOLE.say("\n".join(map(str, written)))


def generated(name: str, seed: int) -> Source:
    """Generated features."""
    return Source(f"{name} (generated)", True, None, lambda n: GENERATED[name](n, seed))


def kgbd(settings: Benchmark, here: runtime.Runtime, kept: dict[str, Any]) -> Source | None:
    """Features of an untrained SimMC over KGBD; None, with a note, where KGBD is not there.

    N rows are the first of the training order, which is random.
    """
    found = find_kgbd(settings, kept)
    if found is None:
        return None
    training, data = found
    rows = untrained_features(training, data, here)
    name = f"{KGBD} layout, walkers (generated)" if data.generated else f"{KGBD} (real)"
    return Source(name, data.generated, len(rows), lambda n: rows[:n])


def find_kgbd(settings: Benchmark, kept: dict[str, Any]) -> tuple[SimMCSettings, Experiment] | None:
    """KGBD and the settings of a training on it; None, with a note, where it cannot be loaded."""
    words = ["--dataset", KGBD, "--data_root", settings.data_root, "--seed", str(settings.seed)]
    try:
        training = resolve(SimMCSettings, words).settings
        return training, METHOD.load(training)
    except UserError as error:
        sentence = f"{KGBD} left out: {error}"
        measure.note(kept, sentence)
        CONSOLE.notes([sentence])
        return None


def numbers(text: str) -> tuple[int, ...]:
    """Sizes from text: "2000,4k,1M", or the name of a preset.

    Raises:
        UserError: it cannot be read.
    """
    if text.casefold() in PRESETS:
        return PRESETS[text.casefold()]
    units = {"k": 1000, "m": 1_000_000}
    found = []
    for word in text.split(","):
        digits, unit = word.strip(), 1
        if digits[-1:].casefold() in units:
            digits, unit = digits[:-1], units[digits[-1:].casefold()]
        if not (digits.isascii() and digits.isdecimal() and int(digits) > 0):
            raise UserError(
                f"--sizes {text!r} is not possible; allowed: numbers of rows with commas between "
                f"them, such as 2000,4k,1M, or {', '.join(PRESETS)}."
            )
        found.append(int(digits) * unit)
    return tuple(found)


def chosen(flag: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Some of the known names, in their own order; "all" for all of them."""
    if text.casefold() == "all":
        return known
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in known:
            raise UserError(
                f"{flag} {word!r} is not possible; allowed: {', '.join(known)}, or all."
            )
    return tuple(name for name in known if name in words)


if __name__ == "__main__":
    from simmc import cli

    sys.exit(cli.run("benchmark", sys.argv[1:]))
