"""The folder of an import that is not finished: frames read so far, and what is known of them.

A killed import goes on from it. It is removed when the dataset is written.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from simmc.errors import UserError
from simmc.files import cannot_write

Entry = dict[str, Any]
_SYNC_SECONDS = 2.0  # work that is lost at most
_FRAMES, _LINES = "frames.bin", "files.jsonl"


class Work:
    """Frames (float64, one recording after another) and a line of JSON for each source file.

    The first line is the key: what the frames depend on. Work with another key is thrown away. A
    line is written after its frames are on the disk, so whatever has a line is whole.
    """

    def __init__(self, folder: Path, key: Entry) -> None:
        self.entries: dict[tuple[str, str], Entry] = {}  # (path, stamp) -> entry
        self._waiting: list[Entry] = []
        self._synced = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        end = self._read(folder / _LINES, key)
        self._frames: IO[bytes] = (folder / _FRAMES).open("r+b" if end else "w+b")
        self._lines: IO[bytes] = (folder / _LINES).open("ab" if end else "wb")
        if not end:
            self._lines.write(_line(key))
        self._end = max((e["end"] for e in self.entries.values()), default=0)
        self._frames.truncate(self._end)
        self._frames.seek(self._end)

    def _read(self, path: Path, key: Entry) -> bool:
        """Whether there is work with this key; takes its entries."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return False
        *lines, rest = data.split(b"\n")
        if not lines or lines[0] + b"\n" != _line(key):
            return False
        if rest:  # a line that a kill cut short
            os.truncate(path, len(data) - len(rest))
        try:
            found = [json.loads(line) for line in lines[1:]]
            self.entries = {(e["path"], e["stamp"]): e for e in found}
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def add(self, entry: Entry, frames: list[np.ndarray]) -> Entry:
        """Store the frames of one source file, and its entry with where they lie."""
        starts = []
        for array in frames:
            starts.append(self._end)
            self._frames.write(np.ascontiguousarray(array, np.float64).data)
            self._end += array.size * 8
        entry = {**entry, "starts": starts, "end": self._end}
        self.entries[entry["path"], entry["stamp"]] = entry
        self._waiting.append(entry)
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()
        return entry

    def sync(self) -> None:
        """Force everything to the disk."""
        self._frames.flush()
        os.fsync(self._frames.fileno())
        for entry in self._waiting:
            self._lines.write(_line(entry))
        self._waiting.clear()
        self._lines.flush()
        os.fsync(self._lines.fileno())
        self._synced = time.monotonic()

    def frames(self, start: int, shape: tuple[int, ...]) -> np.ndarray:
        """Stored frames, in memory."""
        self._frames.seek(start)
        return np.fromfile(self._frames, np.float64, int(np.prod(shape))).reshape(shape)

    def close(self) -> None:
        """Close the files."""
        self._frames.close()
        self._lines.close()


@contextmanager
def opened(folder: Path, key: Entry) -> Iterator[Work]:
    """The work in a folder, which is removed when the block ends without an error.

    UserError if another import is at work there, or nothing can be written.
    """
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), timeout=0)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            work = Work(folder, key)
            try:
                yield work
            except BaseException:
                with suppress(OSError):
                    work.sync()
                raise
            finally:
                work.close()
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            Path(lock.lock_file).unlink()
    except Timeout:
        raise UserError(f"{folder.parent}: another import is writing there; wait for it") from None
    except OSError as error:
        raise cannot_write(folder, error) from error


def _line(value: Entry) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"
