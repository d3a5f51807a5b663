"""One damaged input after another to a reader; what came of each."""

import contextlib
import os
import shutil
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from simmc.errors import UserError
from tests.fuzz.mutate import CANARY, TOKENS, mutate
from tests.fuzz.readers import READERS, Reader

SECONDS = 2.0  # of processor time for an input
LONGEST = 5000  # letters of a message
SHORT = 3  # letters of a name that prove nothing
MEMORY = 96 << 20  # bytes that an input may add to what the process holds
VALID, REFUSED = "valid", "refused"
NAMES = (
    *("Person99999999999999999999", "Person-1", "9" * 30, "a", "0", "001", "x" * 200, "ü", "a b"),
    *("1.txt", "gc1_body7", "latest", ".hidden", "Person1", "..x", "001-nm-01-091.npy", "\udcff"),
)


class Overdue(BaseException):
    """An input has taken too long; no reader catches this."""


@dataclass
class Case:
    """The valid files of a reader in a folder, restored after every input."""

    reader: Reader
    root: Path
    targets: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pristine = self.root / "pristine"
        self.pristine.mkdir(parents=True)
        self.reader.build(self.pristine)
        self.here = self.root / "here"
        self.targets = sorted(
            (path.relative_to(self.pristine).as_posix(), form)
            for pattern, form in self.reader.targets.items()
            for path in self.pristine.glob(pattern)
            if path.is_file()
        )
        self.dirty = True

    def restore(self) -> None:
        """All files as they were built."""
        shutil.rmtree(self.here, ignore_errors=True)
        shutil.copytree(self.pristine, self.here)
        self.dirty = False

    def damage(self, rng: Random) -> str:
        """Damages one file; in words what was done."""
        if self.dirty:
            self.restore()
        name, form = rng.choice(self.targets)
        self.last = name
        path, how = self.here / name, rng.random()
        if how < 0.02:
            path.unlink()
            self.dirty = True
            return f"{name} is missing"
        if how < 0.03:
            path.unlink()
            path.mkdir()
            self.dirty = True
            return f"{name} is a folder"
        if self.reader.names and how < 0.12:
            return self._rename(path, rng)
        data = mutate((self.pristine / name).read_bytes(), form, rng)
        path.write_bytes(data)
        return f"{name}: {data[:200]!r}"

    def undo(self) -> None:
        """Takes the last damage back."""
        if not self.dirty:
            shutil.copyfile(self.pristine / self.last, self.here / self.last)

    def names(self) -> set[str]:
        """What a message can call the damaged file: its name, its path, or that of a folder of it.

        Short names are left out: they are part of some word of almost every message.
        """
        parts = Path(self.last).parts
        ways = {"/".join(parts[a:b]) for b in range(1, len(parts) + 1) for a in range(b)}
        gone = {str(self.here)} if self.dirty else set()  # what is left can name no more
        return {name for name in ways if len(name) > SHORT} | gone

    def _rename(self, path: Path, rng: Random) -> str:
        """A file, a folder above it, or the ending gets another name."""
        parts = path.relative_to(self.here).parts
        depth = rng.randrange(1, len(parts) + 1) if len(parts) > 1 else 1
        old = self.here.joinpath(*parts[:depth])
        name = rng.choice((*NAMES, old.name + "x", "x" + old.name, old.name[:-1] or "y"))
        token = rng.choice(TOKENS).decode("latin-1").replace("/", "").replace("\0", "")[:100]
        name = name if rng.random() < 0.7 else f"{old.stem}{token}{old.suffix}"
        self.dirty = True
        new = old.with_name(name)
        with contextlib.suppress(OSError, ValueError):
            if not new.exists():
                old.rename(new)
        return f"{old.relative_to(self.here)} renamed to {name!r}"


def outcome(case: Case, rng: Random) -> tuple[str, str]:
    """What a reader made of one damaged input, and the input in words.

    "valid", "refused", or a kind of failure: the name of an exception and where it was raised,
    "time", or "memory".
    """
    said = case.damage(rng)
    before = reset_peak()
    try:
        with warnings.catch_warnings(), limited(SECONDS), watched(case.root) as seen:
            warnings.simplefilter("ignore")
            case.reader.call(case.here)
        kind = VALID
    except UserError as error:
        kind = _judged(str(error), case)
    except Overdue:
        kind = "time"
    except AssertionError as error:
        kind = f"passed, but: {error}"
    except Exception as error:
        kind = f"{type(error).__name__} in {_place(error)}"
    added = peak() - before
    kind = seen[0] if seen else kind
    with contextlib.suppress(OSError):
        case.undo()
    return "memory" if added > MEMORY else kind, said


def _judged(message: str, case: Case) -> str:
    """What a refusal is worth: it is short, and names a file or folder of the reader."""
    if len(message) >= LONGEST:
        return "a message that fills the screen"
    return REFUSED if any(name in message for name in case.names()) else f"unnamed: {message}"


_STARTS = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("subprocess.Popen", "socket.connect", "socket.bind", "ctypes.dlopen"),
}
_WRITES = {  # audit event -> its arguments that are paths
    **dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod"), (0,)),
    **{"os.rename": (0, 1), "os.symlink": (1,), "os.link": (1,), "open": (0,)},
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_WATCH: list[tuple[Path, list[str]]] = []  # the folder and the list of the input at work


@contextlib.contextmanager
def watched(root: Path) -> Iterator[list[str]]:
    """Collects what reading does not do: programs, connections, evaluated text, files elsewhere.

    By Python's audit events, so that attempts are seen that fail or whose error is caught.
    """
    if not hasattr(watched, "hooked"):  # a hook cannot be removed
        sys.addaudithook(_audit)
        watched.hooked = True  # type: ignore[attr-defined]
    seen: list[str] = []
    _WATCH.append((root.resolve(), seen))
    try:
        yield seen
    finally:
        _WATCH.pop()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _WATCH:
        return
    root, seen = _WATCH[-1]
    text = event == "exec" and arguments[0].co_filename == "<string>" and not _imports()
    if event in _STARTS or text:
        seen.append(f"ran {event} {ascii(arguments)[:80]}")
    elif event in _WRITES and not (event == "open" and not arguments[2] & _WRITING):
        for place in _WRITES[event]:
            if isinstance(arguments[place], str | bytes | Path) and _outside(
                arguments[place], root
            ):
                seen.append(f"{event} of {ascii(arguments[place])[:80]}")


def _imports() -> bool:
    """Whether a module is being imported: named tuples evaluate text."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None


def _outside(path: str | bytes | Path, root: Path) -> bool:
    """Whether a path is neither below a folder nor relative to an open one, as rmtree's are."""
    text = os.fsdecode(path)
    if text in (os.devnull, "/proc/self/clear_refs") or (os.sep not in text and text != CANARY):
        return False
    return not Path(text).parent.resolve().is_relative_to(root)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Ends what takes more processor time, by `Overdue`.

    Compiled code is not interrupted; it counts as overdue when it returns.
    """

    def stop(*_: object) -> None:
        raise Overdue

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _place(error: BaseException) -> str:
    """The innermost line of the project in a traceback."""
    found, trace = "?", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "simmc" in file.parts or file.parent.name == "scripts":
            found = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def reset_peak() -> int:
    """Begins a new high-water mark of the process's memory; bytes held now (0: not known)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _field("VmRSS")
    return 0


def peak() -> int:
    """The most bytes held since `reset_peak`, 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        return _field("VmHWM")
    return 0


def _field(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing that a reader prints is shown, also where compiled code prints it."""
    kept = {number: os.dup(number) for number in (1, 2)}
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123
        for number in kept:
            os.dup2(nothing.fileno(), number)
    try:
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


def counts(found: Counter[str]) -> dict[str, Any]:
    """Valid, refused, and failures by kind."""
    failures = {kind: n for kind, n in sorted(found.items()) if kind not in (VALID, REFUSED)}
    return {VALID: found[VALID], REFUSED: found[REFUSED], "failures": failures}


__all__ = ["READERS", "REFUSED", "VALID", "Case", "counts", "outcome", "quiet"]
