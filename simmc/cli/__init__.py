"""The commands, each imported only when it is called, and the exit codes of errors.

Exit codes: 0 done; 1 a bug in this program; 2 the user's input is wrong; 130 interrupted.
"""

import difflib
import errno
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

# names, not the package: `simmc` is also the name of a module of this folder
from simmc import __doc__ as about
from simmc import __version__ as version
from simmc.cli.light import without_libraries
from simmc.errors import UserError

Command = Callable[[list[str]], int]
# Trained methods (simmc.methods.registry) come before these in the overview.
OTHERS = {
    "preprocess": "cut raw recordings into windows of equal length",
    "import": "make a dataset of your own recordings: CSV, arrays, JSON, BVH, C3D and more",
    "datasets": "list the stored datasets with counts and problems",
    "descriptors": "score hand-crafted descriptors, which learn nothing",
    "export-features": "write the features of a source model, or import features made elsewhere",
    "embed": "write the features that a trained run gives every window",
    "identify": "list who is who by a trained run: people, and nearest gallery recordings",
    "look": "write a page about a dataset: what to check, and moving recordings",
    "generate": "write raw data of synthetic walkers for tests",
    "report": "tables and figures of finished runs against the papers",
    "reproduce": "run the cells of a published table again, and record the results",
    "benchmark": "measure time and memory of the clustering and of the published routine",
    "doctor": "check this machine, its packages and its data",
}


def find(command: str) -> Command:
    """The function behind a command; only its modules are imported."""
    match command:
        case "preprocess":
            from simmc.cli.preprocess import main as command_main
        case "import":
            from simmc.cli.import_data import main as command_main
        case "datasets":
            from simmc.cli.datasets import main as command_main
        case "descriptors":
            from simmc.cli.descriptors import main as command_main
        case "export-features":
            from simmc.cli.export import main as command_main
        case "embed":
            from simmc.cli.embed import main as command_main
        case "identify":
            from simmc.cli.identify import main as command_main
        case "look":
            from simmc.cli.look import main as command_main
        case "generate":
            from simmc.cli.generate import main as command_main
        case "report":
            from simmc.cli.report import main as command_main
        case "reproduce":
            from simmc.cli.reproduce import main as command_main
        case "benchmark":
            from simmc.cli.benchmark import main as command_main
        case "doctor":
            from simmc.cli.doctor import main as command_main
        case _:
            return find_method(command)
    return command_main


def find_method(command: str) -> Command:
    """The function behind the command of a method."""
    from simmc.cli.console import CONSOLE
    from simmc.engine import run as engine
    from simmc.methods.registry import METHODS

    if command in METHODS:
        return lambda argv: engine.main(METHODS[command], argv, CONSOLE)
    known = [*METHODS, *OTHERS]
    close = difflib.get_close_matches(command, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"commands: {', '.join(known)}."
    raise UserError(f"there is no command {command!r}; {hint}")


DONE, FAULT, USER_FAULT, BROKEN_PIPE, INTERRUPTED = 0, 1, 2, 141, 130


def main() -> int:
    """Entry of the console command `simmc` and of `python -m simmc`."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return DONE
    if words[0] in ("-V", "--version"):
        print(f"simmc {version}")
        return DONE
    return run(words[0], words[1:])


def run(command: str, argv: Sequence[str]) -> int:
    """Run one command with the words after its name; print errors and return the exit code."""
    try:
        if sys.version_info < (3, 11):  # noqa: UP036 - a checkout can be run without installing
            raise UserError("Python 3.11 or later is needed; this is " + sys.version.split()[0])
        if {"-h", "--help"} & set(argv):
            with without_libraries():
                return find(command)(list(argv))
        code = find(command)(list(argv))
        sys.stdout.flush()
        return code
    except UserError as error:
        return _say(f"error: {error}", USER_FAULT)
    except SystemExit as leave:  # argparse leaves this way after --help
        if isinstance(leave.code, str):
            return _say(leave.code, FAULT)
        return leave.code or DONE
    except KeyboardInterrupt as stop:
        return _say(f"\n{stop}" if str(stop) else _interrupted(command), INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has closed it, as `| head` does; avoid a second error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "simmc":
            return _fault()
        return _say(
            f"error: the package {error.name} is not installed. Install what requirements.txt "
            "lists, with the Python that runs this: python -m pip install -r requirements.txt",
            USER_FAULT,
        )
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            return _fault()
        return _say(f"error: {error.strerror}: {str(error.filename)[:200]}...", USER_FAULT)
    except Exception:
        return _fault()


def overview() -> str:
    """The page of `simmc --help`."""
    with without_libraries():
        from simmc.methods.registry import METHODS
    summaries = {name: method.summary for name, method in METHODS.items()} | OTHERS
    width = max(map(len, summaries))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in summaries.items()]
    return "\n".join(
        [
            "usage: simmc COMMAND [--name value ...]",
            "",
            about or "",
            "",
            "commands:",
            *lines,
            "",
            "simmc COMMAND --help shows what a command accepts; simmc --version the version.",
            "Where simmc is not installed: python -m simmc COMMAND.",
        ]
    )


def with_flag(argv: Sequence[str], flag: str) -> list[str]:
    """The words of a call; a first one that is no flag becomes the value of this flag."""
    return [flag, *argv] if argv and not argv[0].startswith("-") else list(argv)


def progress(
    description: str, total: int | None = None
) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """Wraps what is worked on to show a bar, on a terminal alone."""
    from tqdm import tqdm

    how = {"total": total, "leave": False, "file": sys.stderr, "disable": None}
    return lambda items: tqdm(items, description, **how)


def aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """The lines of a table; columns that are not in `left` end at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<" if place in left else ">" for place in range(len(widths))]
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return [form.format(*row).rstrip() for row in rows]


def _interrupted(command: str) -> str:
    again = (
        "Run the same command again to finish."
        if command in OTHERS
        else "A training continues from its last checkpoint: the same command with --resume."
    )
    return f"\ninterrupted. Every file that was written is complete. {again}"


def _fault() -> int:
    traceback.print_exc()
    return _say(
        f"\nThis is a bug in simmc {version}, not in your input. Please report it with "
        "the lines above, the command you typed and the output of: python -m simmc doctor",
        FAULT,
    )


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
