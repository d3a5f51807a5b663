"""The commands, each imported only when it is called, and what becomes of their errors.

Exit codes: 0 done; 1 a fault of this program; 2 the user's input is wrong; 130 interrupted.
"""

import difflib
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence

# names, not the package: `simmc` is also the name of a module of this folder
from simmc import __doc__ as about
from simmc import __version__ as version
from simmc.errors import UserError
from simmc.fidelity import EPOCHS

# name -> ("module:function", what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "preprocess": ("simmc.cli.preprocess:main", "cut raw recordings into windows of equal length"),
    "simmc": ("simmc.cli.simmc:main", "train SimMC without labels, or score a trained run"),
    "descriptors": (
        "simmc.cli.descriptors:main",
        "score hand-crafted descriptors, which learn nothing",
    ),
    "himpc": ("simmc.cli.himpc:main", "train Hi-MPC without labels, or score a trained run"),
    "trackmc": (
        "simmc.cli.trackmc:main",
        "train TrackMC, our own method, without labels, or score a trained run",
    ),
    "supervised": (
        "simmc.cli.supervised:main",
        "train with identity labels, as the upper reference and for PoseGait",
    ),
    "age": ("simmc.cli.sgela:age", "train AGE without labels, or score a trained run"),
    "sgela": ("simmc.cli.sgela:main", "train SGELA without labels, or score a trained run"),
    "mgscr": ("simmc.cli.graphs:mgscr", "train MG-SCR's pretext task, or score a trained run"),
    "smsge": ("simmc.cli.graphs:smsge", "train SM-SGE without labels, or score a trained run"),
    "finetune": (
        "simmc.cli.finetune:main",
        "SimMC-UF: train SimMC on the features of a source model",
    ),
    "export-features": (
        "simmc.cli.export:main",
        "write a source model's features, or take in some made elsewhere",
    ),
    "recognition": (
        "simmc.cli.recognition:main",
        "train a head on a source model with identity labels: classification, and + DF",
    ),
    "embed": ("simmc.cli.embed:main", "write the features that a trained run gives every window"),
    "identify": (
        "simmc.cli.identify:main",
        "who is who by a trained run: people, and the recordings nearest to each probe's",
    ),
    "generate": ("simmc.cli.generate:main", "make raw data of invented walkers to try things on"),
    "report": ("simmc.cli.report:main", "tables and figures of finished runs against the papers"),
    "benchmark": (
        "simmc.cli.benchmark:main",
        "time and memory of the clustering beside the published routine",
    ),
    "doctor": ("simmc.cli.doctor:main", "look over this machine, its packages and its data"),
}

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
    """Calls one command and turns whatever happens into a message and an exit code.

    Args:
        command: a name of `COMMANDS`.
        argv: the words after the command's name.
    """
    try:
        if sys.version_info < (3, 11):  # noqa: UP036 - a checkout can be run without installing
            raise UserError("Python 3.11 or later is needed; this is " + sys.version.split()[0])
        code = _function(command)(list(argv))
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
        # The reader of our output left, as `| head` does; Python must not complain at its own exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            return _fault()
        return _say(f"error: {error.strerror}: {str(error.filename)[:200]}...", USER_FAULT)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "simmc":
            return _fault()
        return _say(
            f"error: the package {error.name} is not installed. Install what requirements.txt "
            "lists, with the Python that runs this: python -m pip install -r requirements.txt",
            USER_FAULT,
        )
    except Exception:
        return _fault()


def overview() -> str:
    """The page of `simmc --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: simmc COMMAND [--name value ...]",
            "",
            about or "",
            "",
            "commands:",
            *lines,
            "",
            "simmc COMMAND --help tells what a command accepts; simmc --version the version.",
        ]
    )


def _function(command: str) -> Callable[[list[str]], int]:
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"commands: {', '.join(COMMANDS)}."
        raise UserError(f"there is no command {command!r}; {hint}")
    module, _, name = COMMANDS[command][0].partition(":")
    function: Callable[[list[str]], int] = getattr(importlib.import_module(module), name)
    return function


def _interrupted(command: str) -> str:
    again = (
        "A training continues from its last checkpoint: the same command with --resume."
        if command in EPOCHS
        else "Run the same command again to finish."
    )
    return f"\ninterrupted. Every file that was written is whole. {again}"


def _fault() -> int:
    traceback.print_exc()
    return _say(
        f"\nThis is a fault of simmc {version}, not of your input. Please report it with "
        "the lines above, the command you typed and the output of: simmc doctor",
        FAULT,
    )


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
