"""`simmc report`: result tables and pictures of runs."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from simmc import files
from simmc.errors import UserError
from simmc.reports import confusion, plots, render, results, tables
from simmc.reports.style import save_with_numbers, title_of
from simmc.runs.directory import RunDirectory

# A run whose first training balances classes by identity keeps its label-free training here.
_TWIN = "label_free"
_FEWEST_RESAMPLES = 100
_PROTOCOLS = ("label_free", "paper", "fixed_epochs")
_DATA_ROOT: dict[str, Any] = {
    "type": Path,
    "metavar": "DIR",
    "help": "where the data are now (default: as trained)",
}


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of printing usage and leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}. See {self.prog} --help.")


def main(argv: list[str]) -> int:
    """Runs one of the actions."""
    words = _parser().parse_args(argv)
    code: int = words.call(words)
    return code


def table(words: Any) -> int:
    """Prints or writes the table of the named runs, or of all."""
    runs = (
        [results.load(path) for path in words.runs]
        if words.runs
        else results.find_all(words.model_root)
    )
    text = render.render(
        tables.build(runs, with_published=not words.without_published), words.format
    )
    return deliver(text, words.out)


def compare(words: Any) -> int:
    """Prints or writes intervals of some runs, and how they differ from others."""
    from simmc.reports import comparison, sides

    if words.resamples < _FEWEST_RESAMPLES:
        raise UserError(
            f"--resamples {words.resamples}: give {_FEWEST_RESAMPLES} or more; the ends of an "
            "interval are rare draws."
        )
    if words.seed < 0:
        raise UserError(f"--seed {words.seed}: give 0 or more.")
    other = words.with_protocol or words.protocol
    a = sides.load_side("A", words.runs, words.protocol)
    b = sides.load_side("B", words.others, other) if words.others else None
    found = comparison.compare(a, b, resamples=words.resamples, seed=words.seed)
    text = comparison.render(found, words.format)
    return deliver(text, words.out)


def deliver(text: str, out: Path | None) -> int:
    """Prints a table, or writes it and prints the file's name."""
    if out is None:
        print(text, end="")
    else:
        files.write_text(out, text)
        print(out)
    return 0


def cmc(words: Any) -> int:
    """Draws the CMC curve of a run and prints the file's name."""
    run = results.load(words.run)
    print(plots.cmc(run, words.out or run.path / "cmc.png"))
    return 0


def curves(words: Any) -> int:
    """Draws the training curves of a run, finished or not, and prints the files' names."""
    folder = results.folder_of(words.run)
    if not RunDirectory(folder).metrics_path.is_file():
        raise UserError(
            f"{folder} has no metrics.jsonl: this is not the folder of a training. Give one, or "
            "the folder of a dataset and probe, such as ReID_Models/KS20/probe."
        )
    run = results.load(folder) if (folder / results.RESULTS).is_file() else None
    out = words.out or folder / "curves.png"
    twin = folder / _TWIN
    legs: list[tuple[Path, Path, tuple[str, ...]]] = [(folder, out, results.PROTOCOLS)]
    if twin.is_dir():
        legs = [(folder, out, ("paper",)), (twin, out.with_stem(f"{out.stem}_{_TWIN}"), (_TWIN,))]
    for leg, file, protocols in legs:
        title = title_of(run) if run else f"{folder} (no results yet)"
        title += " · label-free training" * (leg == twin)
        metrics = RunDirectory(leg).read_metrics()
        if beside := next((line for line in reversed(metrics) if line.get("unmatched")), None):
            title += f" · {beside['unmatched']} of {beside['probes']} probes unmatched"
        print(plots.curves(metrics, file, run, protocols=protocols, title=title))
    return 0


def confused(words: Any) -> int:
    """Draws who was taken for whom in a recognition run, and writes the counts."""
    run = results.load(words.run)
    out = words.out or run.path / "confusion.png"
    numbers = confusion.as_csv(run, words.protocol)
    for file in save_with_numbers(
        lambda file: confusion.draw(run, words.protocol, file), numbers, out
    ):
        print(file)
    return 0


def importance(words: Any) -> int:
    """Draws windows of a Hi-MPC run with the importance of their frames."""
    from simmc.cli import importance as command  # needs torch, which the other actions do not

    return command.main(words)


def attention(words: Any) -> int:
    """Draws what an AGE or SGELA run attends to."""
    from simmc.cli import attention as command  # needs torch, which most actions do not

    return command.main(words)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="simmc report",
        allow_abbrev=False,
        description="Tables and pictures of runs. RUN is the folder of a run, or the folder of a "
        "dataset and probe (such as ReID_Models/KS20/probe) for its newest run.",
    )
    actions = parser.add_subparsers(
        metavar="table|cmc|curves|compare|importance|attention|confusion", required=True
    )

    one: argparse.ArgumentParser = actions.add_parser(
        "table",
        help="mean and spread over seeds, both protocols, beside the paper's row",
        description="One row for each dataset, probe, method, fidelity and protocol: mean and "
        "sample standard deviation over seeds, and the paper's row.",
        allow_abbrev=False,
    )
    one.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="default: every run")
    one.add_argument(
        "--model_root",
        type=Path,
        default=Path("ReID_Models"),
        metavar="DIR",
        help="folder of all runs, where no RUN is named (default: ReID_Models)",
    )
    one.add_argument(
        "--format",
        choices=render.FORMATS,
        default="text",
        help="text, md (Markdown), or csv with fractions of 1 (default: text)",
    )
    one.add_argument("--without_published", action="store_true", help="leave the papers' rows out")
    one.add_argument("--out", type=Path, metavar="FILE", help="write to FILE, not to the screen")
    one.set_defaults(call=table)
    _comparison(actions)

    _picture(
        actions,
        "cmc",
        cmc,
        "CMC curve: share of probes with a correct match among the k nearest",
        "Draws the CMC curve: share of probes with a correct match among the k nearest.",
    )
    _picture(
        actions,
        "curves",
        curves,
        "course of the training: rates, clusters, outliers, losses",
        "Draws the course of the training: rates, clusters, outliers, losses.",
    )
    one = _picture(
        actions,
        "importance",
        importance,
        "frames that Hi-MPC's hard skeleton mining weighs most",
        "Draws training windows of a Hi-MPC run at each body level, with the importance of each "
        "frame (docs/importance.md).",
        with_numbers=True,
    )
    which = one.add_mutually_exclusive_group()
    which.add_argument(
        "--count",
        type=int,
        default=3,
        metavar="N",
        help="how many windows, of different persons, clustered at all levels (default: 3)",
    )
    which.add_argument(
        "--windows",
        metavar="N,N,...",
        help="these training windows, by their place in the training order of the run, from 0",
    )
    one.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the draw of windows (default: 0)"
    )
    one.add_argument("--data_root", **_DATA_ROOT)
    one = _picture(
        actions,
        "attention",
        attention,
        "attention matrices of AGE and SGELA beside their locality mask",
        "Draws the alignment scores of a run of AGE or SGELA for each coordinate, mean over the "
        "probe's windows, beside the locality mask (docs/sgela.md).",
        with_numbers=True,
    )
    one.add_argument(
        "--window", type=int, metavar="N", help="one window of the probe, from 0 (default: mean)"
    )
    one.add_argument("--data_root", **_DATA_ROOT)
    one = _picture(
        actions,
        "confusion",
        confused,
        "who was taken for whom by a recognition stage",
        "Draws the confusion matrix of a run of simmc recognition: true persons by row, named ones "
        "by column.",
        with_numbers=True,
    )
    one.add_argument(
        "--protocol",
        choices=("supervised", "fixed_epochs"),
        default="supervised",
        help="which epoch's (default: supervised, the best by the test)",
    )
    return parser


def _comparison(actions: Any) -> None:
    """The parser of the action that compares runs."""
    one: argparse.ArgumentParser = actions.add_parser(
        "compare",
        help="95 %% intervals over persons, and the paired difference from other runs",
        description="Side A, the first runs, and side B, those after --with: one run a seed, alike "
        "in all else. Mean, spread over seeds and 95 % interval over persons of each side; and, "
        "run by run of the same seed and data, the difference A - B with its interval and p-value "
        "(docs/metrics.md).",
        allow_abbrev=False,
    )
    one.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs of side A")
    one.add_argument(
        "--with",
        nargs="+",
        type=Path,
        default=[],
        dest="others",
        metavar="RUN",
        help="runs of side B (default: intervals of A alone)",
    )
    one.add_argument(
        "--protocol",
        choices=_PROTOCOLS,
        default="label_free",
        help="whose numbers are compared (default: label_free)",
    )
    one.add_argument(
        "--with_protocol",
        choices=_PROTOCOLS,
        help="whose numbers of side B, if not those of --protocol; the result says so",
    )
    one.add_argument(
        "--resamples", type=int, default=10000, metavar="N", help="random draws (default: 10000)"
    )
    one.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)")
    one.add_argument(
        "--format",
        choices=render.FORMATS,
        default="text",
        help="text, md (Markdown), or csv with fractions of 1 (default: text)",
    )
    one.add_argument("--out", type=Path, metavar="FILE", help="write to FILE, not to the screen")
    one.set_defaults(call=compare)


def _picture(
    actions: Any,
    name: str,
    call: Callable[[Any], int],
    summary: str,
    about: str,
    *,
    with_numbers: bool = False,
) -> argparse.ArgumentParser:
    """The parser of an action that draws a run, with what they all take."""
    file = "a .png or .svg file"
    if with_numbers:
        about += " Writes a .png, a .svg and a .csv file."
        file = "one of the pictures, .png or .svg; the others get its name with their own ending"
    one: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=about, allow_abbrev=False
    )
    one.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    one.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"{file} (default: {name}.png in the run's folder)",
    )
    one.set_defaults(call=call)
    return one
