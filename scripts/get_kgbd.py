#!/usr/bin/env python3
"""Fetches the Kinect Gait Biometry Dataset (KGBD) and puts it where Preprocess.py looks for it.

    python scripts/get_kgbd.py                        from its author's public repository, with git
    python scripts/get_kgbd.py --archive FILE         from a .tar.xz, .tar.gz or .zip of it

Needs nothing but Python. Safe to run again; an interrupted run leaves nothing half done.
Publications that use the data cite: V. O. Andersson, R. M. Araujo. Person Identification Using
Anthropometric and Gait Data from Kinect Sensor. AAAI 2015.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

SOURCE = "https://github.com/Vortander/KinectGait"
KNOWN_SHA256 = "401eb9b0af946e6fae61eed5dfef8c239510c5ca0c27e5ee8aa1daee8027cc0f"
PERSONS, WALKS = 164, 822
MOST_BYTES = 2 << 30  # KGBD unpacks to 0.4 GB; an archive that goes on and on is something else
FOLDER = Path("KGBD") / "kinect gait raw dataset"
WALK = re.compile(r"(?:.*/)?(Person\d+)/(\d+\.txt)")


class GetError(Exception):
    """What is wrong and what to do next."""


def main(argv: list[str]) -> int:
    """Fetches or unpacks, and says what is there in the end; 0 done, 2 the user has to act."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", type=Path, help="file to unpack instead of fetching")
    parser.add_argument(
        "--raw_root",
        type=Path,
        default=Path(__file__).resolve().parent.parent,
        help="folder of the raw datasets (default: the repository)",
    )
    options = parser.parse_args(argv)
    target: Path = options.raw_root / FOLDER
    try:
        if count(target) == (PERSONS, WALKS):
            print(f"KGBD is already complete ({PERSONS} persons, {WALKS} walks): {target}")
            return 0
        get(target, options.archive)
    except GetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: {error.filename or target}: {error.strerror or error}; free some space "
            "(about 1.5 GB while it works) or choose another folder with --raw_root",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was changed", file=sys.stderr)
        return 130
    print(f"KGBD: {PERSONS} persons, {WALKS} walks in {target}")
    print("next: python Preprocess.py 6 --dataset KGBD --raw_root", f'"{options.raw_root}"')
    return 0


def get(target: Path, archive: Path | None) -> None:
    """Makes the dataset in a temporary folder beside `target` and swaps it in when it is whole."""
    if archive is not None and not archive.is_file():
        raise GetError(f"--archive {archive}: there is no such file; check the path")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".kgbd-", dir=target.parent))
    try:
        made = work / "made"
        made.mkdir()
        if archive is None:
            clone(work / "clone", made)
        else:
            report_checksum(archive)
            unpack(archive, made)
        persons, walks = count(made)
        if (persons, walks) != (PERSONS, WALKS):
            raise GetError(
                f"{archive or SOURCE}: persons: {persons}, expected {PERSONS}; walks: {walks}, "
                f"expected {WALKS}. The source is incomplete: fetch it again"
            )
        if target.exists():
            target.replace(work / "previous")
        made.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if not any(target.parent.iterdir()):
            target.parent.rmdir()  # an empty folder would look like a dataset


def clone(folder: Path, made: Path) -> None:
    """Fetches the author's repository and takes its person folders."""
    print(f"fetching {SOURCE} (about 400 MB)")
    command = ["git", "clone", "--depth", "1", SOURCE, str(folder)]
    try:
        # no question for a password on a terminal: fail with a message instead
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        subprocess.run(command, check=True, env=environment)
    except FileNotFoundError:
        raise GetError(
            "git is not installed; install it, or download the repository as an archive from "
            f"{SOURCE} and run this with --archive FILE"
        ) from None
    except subprocess.CalledProcessError as error:
        raise GetError(
            f"git could not fetch {SOURCE} (exit code {error.returncode}); check the network and "
            "the free space, or get an archive of it elsewhere and run this with --archive FILE"
        ) from error
    for person in sorted((folder / "Data").glob("Person*")):
        person.replace(made / person.name)


def report_checksum(archive: Path) -> None:
    """Prints the archive's sha256 and whether it is the one the project was tested with."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known = "the archive the project is tested with" if digest == KNOWN_SHA256 else "not known here"
    print(f"sha256 {digest} ({known})")


def unpack(archive: Path, made: Path) -> None:
    """Writes the walks of an archive to ``made/PersonNNN/K.txt``; refuses dangerous members."""
    print(f"unpacking {archive}")
    total = 0
    try:
        members = zip_members if zipfile.is_zipfile(archive) else tar_members
        for name, source in members(archive):
            walk = WALK.fullmatch(name)
            if walk is None:
                continue
            place = made / walk[1] / walk[2]
            place.parent.mkdir(exist_ok=True)
            with place.open("wb") as file:
                total += copy(source, file, MOST_BYTES - total)
            if total > MOST_BYTES:
                raise GetError(f"{archive}: unpacks to more than {MOST_BYTES >> 30} GB; not KGBD")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise broken(archive, error) from error
    except Exception as error:
        # a damaged stream: the decompressors share no base class (LZMAError, zlib.error, OSError)
        # EINVAL: a wrong place in the file; the other numbers are of the disk
        if isinstance(error, GetError) or getattr(error, "errno", None) not in (None, errno.EINVAL):
            raise
        raise broken(archive, error) from error


def copy(source: IO[bytes], file: IO[bytes], most: int) -> int:
    """Copies a file, or little more than so many bytes of it; returns how many."""
    total = 0
    while total <= most and (block := source.read(1 << 20)):
        total += file.write(block)
    return total


def broken(archive: Path, error: Exception) -> GetError:
    """The message for a file that cannot be unpacked."""
    return GetError(
        f"{archive}: is damaged or no .tar.xz, .tar.gz or .zip ({error}); fetch it again"
    )


def tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file of a tar, read in one pass."""
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            check_name(archive, member.name)
            if member.isdir():
                continue
            if not member.isreg():
                raise GetError(f"{archive}: {member.name!r} is a link or device; not unpacked")
            content = tar.extractfile(member)
            if content is not None:
                yield member.name, content


def zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file of a zip."""
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            check_name(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise GetError(f"{archive}: {member.filename!r} is a link or device; not unpacked")
            # the others are unpacked in memory as a whole, however large
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise GetError(f"{archive}: {member.filename!r} is packed by another method")
            if not member.is_dir():
                with packed.open(member) as content:
                    yield member.filename, content


def check_name(archive: Path, name: str) -> None:
    """Refuses names that lead out of the folder, on any system."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or ":" in name:
        raise GetError(f"{archive}: the member {name!r} leads out of the folder; not unpacked")


def count(folder: Path) -> tuple[int, int]:
    """Persons and walks that lie in a folder."""
    walks = [path for path in folder.glob("Person*/*.txt") if WALK.fullmatch(path.as_posix())]
    return len({path.parent for path in walks}), len(walks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
