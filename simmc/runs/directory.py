"""The folder of one run: `<model_root>/<dataset>/<probe>/<run>/`.

    config.json     settings with the origin of each value
    metrics.jsonl   one line an epoch
    best.pt         weights of the best epoch
    last.pt         everything needed to continue
    results.json    the final numbers
    probes_*.npz    results of every probe window, by protocol
    matching.json   figures of further ways of matching, if requested

Beside the runs of a probe lies `latest`, a text file with the name of the newest one.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from simmc import files
from simmc.errors import UserError
from simmc.files import Within, parse_json, read_json
from simmc.runs.records import EpochRecord, Results

LATEST = "latest"
_LONGEST = 200  # letters of a name; file systems allow 255, and a suffix may follow
_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+=-]{{0,{_LONGEST - 1}}}")

# What the files hold, as `simmc.files` checks it. Entries without a name here are free; files
# of older versions lack some entries, so most are optional.
_TEXT = (None, str)
_SHARE = Within(0, 1 + 1e-9)  # a mean may be rounded upwards
_RATE = (None, _SHARE)
_COUNT = Within(0, 2**53, whole=True)
_EPOCH = Within(-1, 2**53, whole=True)
_RATES = ("top1", "top5", "top10", "mAP", "mINP", "nauc_roc", "nauc_cmc")
_FIGURES = {
    **{f"{name}?": _RATE for name in _RATES},
    "epoch?": (None, _EPOCH),
    "cmc?": (None, [_SHARE]),
    "confusion?": (None, [[Within(-(2**53), 2**53, whole=True)]]),
}
_VERSION = {"method_version?": Within(1, 2**31, whole=True)}
CONFIG = {"command?": str, "settings?": {str: object}, "origin?": {str: str}, **_VERSION}
RESULTS = {
    **dict.fromkeys(("method?", "dataset?", "probe?", "fidelity?", "note?"), _TEXT),
    **dict.fromkeys(("length?", "seed?"), (None, str, int)),
    "protocols?": (
        None,
        {str: (None, {**_FIGURES, "kinds?": (None, {str: _FIGURES})})},
    ),
    "counts?": (None, {str: (None, float, {str: object}, [object])}),
    "settings?": (None, {str: object}),
    "data?": (None, {"manifest_sha256?": _TEXT, "generated?": (None, bool)}),
    "supervised?": (None, bool),
    **_VERSION,
    "health?": (None, {"verdict": str, "reason": str, "next_step": str}),
}
_RECORD = {
    "epoch": _COUNT,
    "seconds?": {str: Within(0, 1e12)},
    str: (None, float, str, {str: object}),
}


class _File:
    """A file of a run, by its name: `run.last` is a path."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunDirectory", owner: type) -> Path:
        return run.path / self.name


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run.

    Attributes:
        path: the run's own folder, which exists.
    """

    path: Path

    best = _File("best.pt")  # checkpoint of the best epoch
    last = _File("last.pt")  # checkpoint to continue from
    config_path = _File("config.json")  # settings, with the origin of each
    metrics_path = _File("metrics.jsonl")  # one line an epoch
    results_path = _File("results.json")  # the final numbers
    matching_path = _File("matching.json")  # figures of further ways of matching

    @classmethod
    def create(
        cls,
        model_root: str | Path,
        dataset: str,
        probe: str,
        name: str | None,
        default_name: str,
        *,
        pointer: str = LATEST,
    ) -> "RunDirectory":
        """Makes a new folder and points `latest` at it; an existing run is never touched.

        Args:
            model_root: folder of all runs (`--model_root`).
            dataset: first folder level below it.
            probe: second folder level below it.
            name: the user's name for the run (`--run`), or None.
            default_name: used where the user gave none.
            pointer: the file beside the runs that names the newest one of a kind.

        A taken name gets the suffix -2, -3, ...
        """
        wanted = _checked(name or default_name)
        home = Path(model_root) / dataset / probe
        try:
            home.mkdir(parents=True, exist_ok=True)
            path = _new_folder(home, wanted)
        except OSError as error:
            raise files.cannot_write(home / wanted, error) from error
        files.write_text(home / pointer, path.name + "\n")
        return cls(path)

    @classmethod
    def latest(
        cls, model_root: str | Path, dataset: str, probe: str, *, pointer: str = LATEST
    ) -> "RunDirectory":
        """The newest run of this dataset and probe."""
        home = Path(model_root) / dataset / probe
        if (named := pointed(home / pointer)) is not None:
            return cls(named)
        folders = [path for path in home.iterdir() if path.is_dir()] if home.is_dir() else []
        if not folders:
            raise UserError(
                f"there is no run in {home}. Train first (--mode Train), give the --dataset "
                "and --probe of your runs, or the folder of all runs with --model_root."
            )
        # the pointer is lost or names a run that was deleted
        return cls(max(folders, key=lambda path: (path.stat().st_mtime_ns, path.name)))

    @classmethod
    def find(
        cls,
        model_root: str | Path,
        dataset: str,
        probe: str,
        name: str | None,
        *,
        pointer: str = LATEST,
    ) -> "RunDirectory":
        """The named run, or the newest where `name` is None."""
        if not name:
            return cls.latest(model_root, dataset, probe, pointer=pointer)
        path = Path(model_root) / dataset / probe / _checked(name)
        if not path.is_dir():
            others = _names_with(path.parent, "")
            raise UserError(
                f"--run {name}: there is no run {path}. Runs there: {others}. Choose one of them, "
                "train first, or name the folder of your runs with --model_root."
            )
        return cls(path)

    def probes_path(self, protocol: str) -> Path:
        """Results of every probe window under a protocol."""
        return self.path / f"probes_{protocol}.npz"

    def require(self, file: Path) -> Path:
        """`file` if it exists, else a message that names the runs that have one."""
        if not file.is_file():
            others = _names_with(self.path.parent, file.name)
            raise UserError(
                f"the run {self.path} has no {file.name} yet: it stopped before the first one was "
                f"written. Train again, or choose with --run a run that has one ({others})."
            )
        return file

    @contextmanager
    def lock(self) -> Iterator[str]:
        """Keep every other process from training this run meanwhile; reading it stays possible.

        The system releases the lock when the process ends, however it ends.

        Yields:
            Why nothing is locked, as on a shared disk without locks; empty where it is.

        Raises:
            UserError: another process trains it.
        """
        lock = FileLock(self.path / ".lock", blocking=False)
        reason = ""
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                f"the run {self.path} is being trained by another process. Wait for it or stop "
                "it, choose another run with --run, or leave --resume out to begin a new one."
            ) from error
        except (OSError, NotImplementedError) as error:  # no locks, or a file of another user
            reason = str(error) or type(error).__name__
        try:
            yield reason
        finally:
            lock.release()

    def child(self, name: str) -> "RunDirectory":
        """A run inside this run, such as the label-free one; made if missing."""
        path = self.path / _checked(name)
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise files.cannot_write(path, error) from error
        return RunDirectory(path)

    def write_config(self, config: dict[str, Any]) -> None:
        """Stores the resolved settings."""
        files.write_json(self.config_path, config)

    def read_config(self) -> dict[str, Any]:
        """The stored settings."""
        return read_object(self.require(self.config_path), CONFIG)

    def write_results(self, results: Results) -> None:
        """Stores the final numbers."""
        files.write_json(self.results_path, results)

    def read_results(self) -> Results:
        """The stored final numbers."""
        return cast(Results, read_object(self.require(self.results_path), RESULTS))

    def append_metrics(self, metrics: EpochRecord) -> None:
        """Adds one line, visible to readers at once; NaN is written as null."""
        line = files.json_text(metrics) + "\n"
        try:
            with self.metrics_path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
        except OSError as error:
            raise files.cannot_write(self.metrics_path, error) from error

    def read_metrics(self) -> list[EpochRecord]:
        """All lines so far; a last line that was torn by a crash is left out."""
        try:
            lines = self.metrics_path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"cannot read {self.metrics_path}: {error.strerror}.") from error
        rows: list[EpochRecord] = []
        for number, line in enumerate(lines, start=1):
            try:
                if line.strip():
                    where = f"{self.metrics_path}, line {number}"
                    advice = "remove the line or start a new run"
                    rows.append(cast(EpochRecord, parse_json(line, _RECORD, where, advice)))
            except UserError:
                if number == len(lines):  # no newline after it: the write was cut short
                    break
                raise
        return rows

    def truncate_metrics(self, epoch: int) -> None:
        """Drops what was logged after `epoch`, so that a resumed run writes each epoch once."""
        kept = [row for row in self.read_metrics() if row.get("epoch", 0) <= epoch]
        text = "".join(files.json_text(row) + "\n" for row in kept)
        files.remove_leftovers(self.metrics_path)
        files.write_text(self.metrics_path, text)


def read_object(path: Path, schema: Any) -> dict[str, Any]:
    """The content of a JSON file of a run; UserError if it is damaged."""
    found: dict[str, Any] = read_json(path, schema, "train again to write it")
    return found


def pointed(pointer: Path) -> Path | None:
    """The run's folder that a file beside the runs names; None where it names none."""
    try:
        with pointer.open("rb") as file:
            name = file.read(_LONGEST + 2).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    path = pointer.parent / name
    return path if _NAME.fullmatch(name) and path.is_dir() else None


def _new_folder(home: Path, wanted: str) -> Path:
    number = 1
    while True:
        path = home / (wanted if number == 1 else f"{wanted}-{number}")
        try:
            path.mkdir()  # fails if it exists: two runs started together never share a folder
        except FileExistsError:
            number += 1
            continue
        return path


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name.startswith(LATEST):
        raise UserError(
            f"{name!r} cannot name a run (--run, --save_flag): use letters, digits, '_', '-', '.', "
            f"'+' and '=', {_LONGEST} at most, start with a letter, digit or '_', and not with "
            f"{LATEST!r}."
        )
    return name


def _names_with(home: Path, file: str) -> str:
    found = sorted(path.name for path in home.glob("*") if path.is_dir() and (path / file).exists())
    return ", ".join(found) or "none"
