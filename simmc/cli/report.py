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

Call = Callable[[Any], int]
_FEWEST_RESAMPLES = 100
LABEL_FREE = "label_free"
_PROTOCOLS = (LABEL_FREE, "paper", "fixed_epochs")
_DATA_ROOT: dict[str, Any] = {
    "type": Path,
    "metavar": "DIR",
    "help": "where the data are now (default: as trained)",
}
_FORMAT: dict[str, Any] = {
    "choices": render.FORMATS,
    "default": "text",
    "help": "text, md (Markdown), or csv with fractions of 1 (default: text)",
}
_TABLE_FILE: dict[str, Any] = {
    "type": Path,
    "metavar": "FILE",
    "help": "write to FILE, not to the screen",
}
_NUMBERS = "Writes a .png, a .svg and a .csv file; --out names one of the pictures."


def main(argv: list[str]) -> int:
    """Runs one of the actions."""
    words = _parser().parse_args(argv)
    code: int = words.call(words)
    return code


def table(words: Any) -> int:
    """Prints or writes the table of the given runs, or of all."""
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
    inner = folder / LABEL_FREE  # the second training, where the first one uses identities
    stages: list[tuple[Path, Path, tuple[str, ...]]] = [(folder, out, results.PROTOCOLS)]
    if inner.is_dir():
        second = out.with_stem(f"{out.stem}_{LABEL_FREE}")
        stages = [(folder, out, ("paper",)), (inner, second, (LABEL_FREE,))]
    for stage, file, protocols in stages:
        title = title_of(run) if run else f"{folder} (no results yet)"
        title += " · label-free training" * (stage == inner)
        metrics = RunDirectory(stage).read_metrics()
        if record := next((line for line in reversed(metrics) if line.get("unmatched")), None):
            title += f" · {record['unmatched']} of {record['probes']} probes unmatched"
        print(plots.curves(metrics, file, run, protocols=protocols, title=title))
    return 0


def confused(words: Any) -> int:
    """Draws the confusion matrix of a recognition run, and writes the counts."""
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
    """Draws the attention of an AGE or SGELA run."""
    from simmc.cli import attention as command  # needs torch, which most actions do not

    return command.main(words)


def page(words: Any) -> int:
    """Writes the page of all records, or fills the tables of Markdown files from them."""
    from simmc.reports import cells, web
    from simmc.reports import page as drawn

    if not words.records.is_dir():
        raise UserError(
            f"--records {words.records}: there is no such folder; write it with: "
            "python -m simmc reproduce TABLE"
        )
    found = cells.read_records(words.records)
    if words.fill:
        for file in words.fill:
            try:
                text = file.read_text(encoding="utf-8")
            except OSError as error:
                raise UserError(f"--fill {file}: cannot be read ({error.strerror})") from error
            files.write_text(file, drawn.fill(text, found))
            print(file)
        return 0
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
    _table_actions(actions)
    _picture_actions(actions)
    return parser


def _table_actions(actions: Any) -> None:
    """The parsers of `table` and `compare`."""
    one = _action(
        actions,
        "table",
        table,
        "mean and spread over seeds, both protocols, beside the paper's row",
        "One row for each dataset, probe, method, fidelity and protocol: mean and sample standard "
        "deviation over seeds, and the paper's row.",
    )
    add = one.add_argument
    add("runs", nargs="*", type=Path, metavar="RUN", help="default: every run")
    root = "folder of all runs, used where no RUN is given (default: ReID_Models)"
    add("--model_root", type=Path, default=Path("ReID_Models"), metavar="DIR", help=root)
    add("--format", **_FORMAT)
    add("--without_published", action="store_true", help="leave the papers' rows out")
    add("--out", **_TABLE_FILE)
    one = _action(
        actions,
        "page",
        page,
        "one page of all recorded results: which published claims hold, every table",
        "Draws the records of simmc reproduce as one page: a self-contained .html, or .md, or .tex "
        "with booktabs. --fill draws the marked tables of Markdown files again.",
    )
    add = one.add_argument
    where = "folder of the records (default: results/records)"
    add("--records", type=Path, default=Path("results/records"), metavar="DIR", help=where)
    add("--out", type=Path, metavar="FILE", help="default: results.html")
    add("--fill", type=Path, nargs="+", metavar="FILE", help="Markdown files with markers")
    trained = (
        "trained runs to draw (t-SNE, rank lists, confusion): folders of runs, or of the cells of "
        "simmc reproduce"
    )
    add("--runs", type=Path, nargs="+", default=[], metavar="FOLDER", help=trained)
    add("--data_root", **_DATA_ROOT)
    one = _action(
        actions,
        "compare",
        compare,
        "95 %% intervals over persons, and the paired difference from other runs",
        "Side A is the first runs, side B those after --with: one run a seed, otherwise with the "
        "same settings. Prints mean, spread over seeds and 95 % interval over persons of each "
        "side, and the difference A - B of runs with the same seed and data, with its interval "
        "and p-value (docs/metrics.md).",
    )
    add = one.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="runs of side A")
    other = {"nargs": "+", "type": Path, "default": [], "dest": "others", "metavar": "RUN"}
    add("--with", **other, help="runs of side B (default: intervals of A alone)")
    which = "protocol whose numbers are compared (default: label_free)"
    add("--protocol", choices=_PROTOCOLS, default="label_free", help=which)
    add("--with_protocol", choices=_PROTOCOLS, help="protocol of side B (default: --protocol)")
    add("--resamples", **_number(10000), help="random draws (default: 10000)")
    add("--seed", **_number(0), help="seed of the draws (default: 0)")
    add("--format", **_FORMAT)
    add("--out", **_TABLE_FILE)


def _picture_actions(actions: Any) -> None:
    """The parsers of the actions that draw a run."""
    summary = "CMC curve: share of probes with a correct match among the k nearest"
    _picture(actions, "cmc", cmc, summary, f"Draws the {summary}.")
    summary = "course of the training: rates, clusters, outliers, losses"
    _picture(actions, "curves", curves, summary, f"Draws the {summary}.")
    one = _picture(
        actions,
        "importance",
        importance,
        "frames that Hi-MPC's hard skeleton mining weighs most",
        "Draws training windows of a Hi-MPC run at each body level, with the importance of each "
        f"frame (docs/importance.md). {_NUMBERS}",
    )
    add = one.add_argument
    count = "number of windows, of different persons, clustered at all levels (default: 3)"
    which = one.add_mutually_exclusive_group()
    which.add_argument("--count", **_number(3), help=count)
    place = "these training windows, by their place in the training order, from 0"
    which.add_argument("--windows", metavar="N,N,...", help=place)
    add("--seed", **_number(0), help="seed of the draw of windows (default: 0)")
    add("--data_root", **_DATA_ROOT)
    one = _picture(
        actions,
        "attention",
        attention,
        "attention matrices of AGE and SGELA beside their locality mask",
        "Draws the alignment scores of a run of AGE or SGELA for each coordinate, mean over the "
        f"probe's windows, beside the locality mask (docs/sgela.md). {_NUMBERS}",
    )
    add = one.add_argument
    add("--window", type=int, metavar="N", help="one window of the probe, from 0 (default: mean)")
    add("--data_root", **_DATA_ROOT)
    one = _picture(
        actions,
        "confusion",
        confused,
        "confusion matrix of a recognition stage",
        "Draws the confusion matrix of a run of simmc recognition: true persons by row, predicted "
        f"persons by column. {_NUMBERS}",
    )
    add = one.add_argument
    protocol = "whose epoch (default: supervised, the best by the test)"
    choices = ("supervised", "fixed_epochs")
    add("--protocol", choices=choices, default="supervised", help=protocol)


def _picture(actions: Any, name: str, call: Call, summary: str, about: str) -> Any:
    """The parser of an action that draws a run."""
    one = _action(actions, name, call, summary, about)
    one.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    out = f"a .png or .svg file (default: {name}.png in the run's folder)"
    one.add_argument("--out", type=Path, metavar="FILE", help=out)
    return one


def _action(actions: Any, name: str, call: Call, summary: str, about: str) -> Any:
    """The parser of an action, without arguments."""
    made = actions.add_parser(name, help=summary, description=about, allow_abbrev=False)
    made.set_defaults(call=call)
    return made


def _number(default: int) -> dict[str, Any]:
    return {"type": int, "default": default, "metavar": "N"}
