"""`simmc report`: result tables and pictures of runs."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simmc import files
from simmc.errors import UserError
from simmc.reports import confusion, plots, render, results, tables
from simmc.reports.style import save_with_numbers, title_of
from simmc.runs.directory import RunDirectory
from simmc.settings.layers import Parser

Call = Callable[[Any], list[Path]]  # returns the files written
_FEWEST_RESAMPLES = 100
LABEL_FREE = "label_free"
_PROTOCOLS = (LABEL_FREE, "paper", "fixed_epochs")


def main(argv: list[str]) -> int:
    """Runs one of the actions and prints the names of the files that it wrote."""
    words = _parser().parse_args(argv)
    for file in words.call(words):
        print(file)
    return 0


def table(words: Any) -> list[Path]:
    """Prints or writes the table of the given runs, or of all."""
    runs = [results.load(path) for path in words.runs] or results.find_all(words.model_root)
    found = tables.build(runs, with_published=not words.without_published)
    return deliver(render.render(found, words.format), words.out)


def compare(words: Any) -> list[Path]:
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
    return deliver(comparison.render(found, words.format), words.out)


def deliver(text: str, out: Path | None) -> list[Path]:
    """Prints a table, or writes it."""
    if out is None:
        print(text, end="")
        return []
    files.write_text(out, text)
    return [out]


def cmc(words: Any) -> list[Path]:
    """Draws the CMC curve of a run."""
    run = results.load(words.run)
    return [plots.cmc(run, words.out or run.path / "cmc.png")]


def curves(words: Any) -> list[Path]:
    """Draws the training curves of a run, finished or not."""
    folder = results.folder_of(words.run)
    if not RunDirectory(folder).metrics_path.is_file():
        raise UserError(
            f"{folder} has no metrics.jsonl: this is not the folder of a training. Give one, or "
            "the folder of a dataset and probe, such as ReID_Models/KS20/probe."
        )
    run = results.load(folder) if (folder / results.RESULTS).is_file() else None
    out = words.out or folder / "curves.png"
    inner = folder / LABEL_FREE  # the second training, where the first one uses identities
    stages: list[tuple[Path, Path, tuple[str, ...]]] = [(folder, out, results.PROTOCOLS)]
    if inner.is_dir():
        second = out.with_stem(f"{out.stem}_{LABEL_FREE}")
        stages = [(folder, out, ("paper",)), (inner, second, (LABEL_FREE,))]
    drawn = []
    for stage, file, protocols in stages:
        title = title_of(run) if run else f"{folder} (no results yet)"
        title += " · label-free training" * (stage == inner)
        metrics = RunDirectory(stage).read_metrics()
        if record := next((line for line in reversed(metrics) if line.get("unmatched")), None):
            title += f" · {record['unmatched']} of {record['probes']} probes unmatched"
        drawn.append(plots.curves(metrics, file, run, protocols=protocols, title=title))
    return drawn


def confused(words: Any) -> list[Path]:
    """Draws the confusion matrix of a recognition run, and writes the counts."""
    run = results.load(words.run)
    out = words.out or run.path / "confusion.png"
    numbers = confusion.as_csv(run, words.protocol)
    return save_with_numbers(lambda file: confusion.draw(run, words.protocol, file), numbers, out)


def importance(words: Any) -> list[Path]:
    """Draws windows of a Hi-MPC run with the importance of their frames."""
    from simmc.cli import importance as command  # needs torch, which the other actions do not

    return command.draw(words)


def attention(words: Any) -> list[Path]:
    """Draws the attention of an AGE or SGELA run."""
    from simmc.cli import attention as command  # needs torch, which most actions do not

    return command.draw(words)


def page(words: Any) -> list[Path]:
    """Writes the page of all records, or fills the tables of Markdown files from them."""
    from simmc.cli.reproduce import versions_now  # needs torch
    from simmc.reports import cells, web
    from simmc.reports import page as drawn

    if not words.records.is_dir():
        raise UserError(
            f"--records {words.records}: there is no such folder; write it with: "
            "python -m simmc reproduce TABLE"
        )
    found = cells.read_records(words.records, versions_now)
    if words.fill:
        for file in words.fill:
            try:
                text = file.read_text(encoding="utf-8")
            except OSError as error:
                raise UserError(f"--fill {file}: cannot be read ({error.strerror})") from error
            files.write_text(file, drawn.fill(text, found))
        return list(words.fill)
    out = words.out or Path("results.html")
    if words.runs and out.suffix != ".html":
        raise UserError(f"--out {out}: --runs draws on the .html page only.")
    match out.suffix:
        case ".html":
            runs = []
            if words.runs:
                from simmc.cli.page_runs import embedded_runs  # needs torch

                runs = embedded_runs(words.runs, found, words.data_root)
            carried = drawn.read_carried(words.records.parent / "carried")
            text = web.html_page(found, carried, runs)
        case ".md":
            text = drawn.markdown_page(found)
        case ".tex":
            text = drawn.latex_page(found)
        case _:
            raise UserError(f"--out {out}: the name must end in .html, .md or .tex.")
    return deliver(text, out)


def _flag(*names: str, **how: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, how


def _number(name: str, default: int, about: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    return _flag(name, type=int, default=default, metavar="N", help=f"{about} (default: {default})")


_DATA_ROOT = _flag(
    "--data_root", type=Path, metavar="DIR", help="where the data are now (default: as trained)"
)
_FORMAT = _flag(
    "--format",
    choices=render.FORMATS,
    default="text",
    help="text, md (Markdown), or csv with fractions of 1 (default: text)",
)
_TABLE_FILE = _flag("--out", type=Path, metavar="FILE", help="write to FILE, not to the screen")
_NUMBERS = "Writes a .png, a .svg and a .csv file; --out names one of the pictures."


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="simmc report",
        allow_abbrev=False,
        description="Tables and pictures of runs. RUN is the folder of a run, or the folder of a "
        "dataset and probe (such as ReID_Models/KS20/probe) for its newest run.",
    )
    actions = parser.add_subparsers(
        metavar="table|page|cmc|curves|compare|importance|attention|confusion", required=True
    )

    def action(name: str, call: Call, summary: str, about: str, *flags: Any) -> Any:
        one = actions.add_parser(name, help=summary, description=about, allow_abbrev=False)
        one.set_defaults(call=call)
        for names, how in flags:
            one.add_argument(*names, **how)
        return one

    def picture(name: str, call: Call, summary: str, about: str, *flags: Any) -> Any:
        run = _flag("run", type=Path, metavar="RUN", help="folder of the run")
        where = f"a .png or .svg file (default: {name}.png in the run's folder)"
        out = _flag("--out", type=Path, metavar="FILE", help=where)
        return action(name, call, summary, about, run, out, *flags)

    root = "folder of all runs, used where no RUN is given (default: ReID_Models)"
    action(
        "table",
        table,
        "mean and spread over seeds, both protocols, beside the paper's row",
        "One row for each dataset, probe, method, fidelity and protocol: mean and sample standard "
        "deviation over seeds, and the paper's row.",
        _flag("runs", nargs="*", type=Path, metavar="RUN", help="default: every run"),
        _flag("--model_root", type=Path, default=Path("ReID_Models"), metavar="DIR", help=root),
        _FORMAT,
        _flag("--without_published", action="store_true", help="leave the papers' rows out"),
        _TABLE_FILE,
    )
    where = "folder of the records (default: results/records)"
    trained = (
        "trained runs to draw (t-SNE, rank lists, confusion): folders of runs, or of the cells of "
        "simmc reproduce"
    )
    action(
        "page",
        page,
        "one page of all recorded results: which published claims hold, every table",
        "Draws the records of simmc reproduce as one page: a self-contained .html, or .md, or .tex "
        "with booktabs. --fill draws the marked tables of Markdown files again.",
        _flag("--records", type=Path, default=Path("results/records"), metavar="DIR", help=where),
        _flag("--out", type=Path, metavar="FILE", help="default: results.html"),
        _flag("--fill", type=Path, nargs="+", metavar="FILE", help="Markdown files with markers"),
        _flag("--runs", type=Path, nargs="+", default=[], metavar="FOLDER", help=trained),
        _DATA_ROOT,
    )
    others = {"nargs": "+", "type": Path, "metavar": "RUN"}
    other = "runs of side B (default: intervals of A alone)"
    which = "protocol whose numbers are compared (default: label_free)"
    which_b = "protocol of side B (default: --protocol)"
    action(
        "compare",
        compare,
        "95 %% intervals over persons, and the paired difference from other runs",
        "Side A is the first runs, side B those after --with: one run a seed, otherwise with the "
        "same settings. Prints mean, spread over seeds and 95 % interval over persons of each "
        "side, and the difference A - B of runs with the same seed and data, with its interval "
        "and p-value (docs/metrics.md).",
        _flag("runs", **others, help="runs of side A"),
        _flag("--with", **others, default=[], dest="others", help=other),
        _flag("--protocol", choices=_PROTOCOLS, default="label_free", help=which),
        _flag("--with_protocol", choices=_PROTOCOLS, help=which_b),
        _number("--resamples", 10000, "random draws"),
        _number("--seed", 0, "seed of the draws"),
        _FORMAT,
        _TABLE_FILE,
    )
    summary = "CMC curve: share of probes with a correct match among the k nearest"
    picture("cmc", cmc, summary, f"Draws the {summary}.")
    summary = "course of the training: rates, clusters, outliers, losses"
    picture("curves", curves, summary, f"Draws the {summary}.")
    one = picture(
        "importance",
        importance,
        "frames that Hi-MPC's hard skeleton mining weighs most",
        "Draws training windows of a Hi-MPC run at each body level, with the importance of each "
        f"frame (docs/importance.md). {_NUMBERS}",
        _number("--seed", 0, "seed of the draw of windows"),
        _DATA_ROOT,
    )
    either = one.add_mutually_exclusive_group()
    count = "number of windows, of different persons, clustered at all levels"
    names, how = _number("--count", 3, count)
    either.add_argument(*names, **how)
    place = "these training windows, by their place in the training order, from 0"
    either.add_argument("--windows", metavar="N,N,...", help=place)
    window = "one window of the probe, from 0 (default: mean)"
    picture(
        "attention",
        attention,
        "attention matrices of AGE and SGELA beside their locality mask",
        "Draws the alignment scores of a run of AGE or SGELA for each coordinate, mean over the "
        f"probe's windows, beside the locality mask (docs/sgela.md). {_NUMBERS}",
        _flag("--window", type=int, metavar="N", help=window),
        _DATA_ROOT,
    )
    choices = ("supervised", "fixed_epochs")
    whose = "whose epoch (default: supervised, the best by the test)"
    picture(
        "confusion",
        confused,
        "confusion matrix of a recognition stage",
        "Draws the confusion matrix of a run of simmc recognition: true persons by row, predicted "
        f"persons by column. {_NUMBERS}",
        _flag("--protocol", choices=choices, default="supervised", help=whose),
    )
    return parser
