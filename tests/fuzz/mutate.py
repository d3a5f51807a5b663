"""Damaged copies of valid files: by bytes, and by what a format is made of.

Every choice is drawn from the generator that is passed in, so that a seed stands for one input. The
generator is `random.Random` or Hypothesis's stand-in for it.
"""

import io
import json
import os
import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
import torch

from simmc.runs import checkpoints

TOKENS = (
    *(b"nan", b"inf", b"-inf", b"1e30", b"-1e39", b"1e308", b"1e999", b"0", b"-1", b"0.0", b"1,5"),
    *(b"9" * 5000, b"1" + b"0" * 30, b"9223372036854775807", b"9223372036854775808", b"-0"),
    *(b"true", b"null", b"[]", b"{}", b'""', b'"x"', b"[" * 3000, b'{"a":' * 2000, b"(" * 300),
    *(b"\x00", b"\x00" * 64, b"\xff\xfe", b"\xed\xa0\x80", b"\n", b"\r\n", b",", b";", b'"', b" "),
    *(b"\\ud800", b"\xef\xbb\xbf", b"a" * 300, b"..", b"../x", b"/", b"NaN", b"Infinity", b"0x1F"),
)
WORDS = (0, 1, -1, 127, 255, 2**15, 2**16, 2**27, 2**31 - 1, 2**32 - 1, 2**40, 2**62, 2**63 - 1)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 10**30, 10**400),
    *(0.5, -0.5, 31.0),
    *(1e30, 1e308, float("nan"), float("inf"), "", "x", "nan", "0", "a" * 300, "../x", "/", "\0"),
    *("\ud800", [], {}, [[]], [None], [1, 2], {"a": 1}, {"": {}}, [["x"]], [1e300, "a"]),
)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
Mutator = Callable[[bytes, Random], bytes]
ZEROS = bytes(1 << 26)  # a member of an archive that is tiny until it is unpacked
CANARY = "ran"  # a folder that the pickles below make, where something runs them


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


TRAPS = (
    *(Calls(os.mkdir, CANARY), Calls(os.system, f"mkdir {CANARY}"), Calls(eval, "1")),
    *(Calls(__import__, "os"), Calls(np.load, CANARY), Calls(open, CANARY, "w")),
)


def by_bytes(data: bytes, rng: Random) -> bytes:
    """Changes that know nothing of a format."""
    if not data:
        return rng.choice(TOKENS)
    a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    near = min(len(data), a + rng.choice((1, 2, 4, 8, 64)))
    how = rng.randrange(10)
    if how == 0:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if how == 1:
        return data[:a]
    if how == 2:
        return data[:a] + data[near:]
    if how == 3:
        return data[:a] + rng.choice(TOKENS) + data[a:]
    if how == 4:
        return data[:a] + rng.choice(TOKENS) + data[near:]
    if how == 5:
        form = rng.choice(("<i", ">i", "<q", ">q", "<h", "<B"))
        word = rng.choice(WORDS) & (256 ** struct.calcsize(form) - 1)
        packed = word.to_bytes(struct.calcsize(form), "big" if form[0] == ">" else "little")
        return data[:a] + packed + data[a + len(packed) :]
    if how == 6:
        return data[:a] + data[a:b] + data[a:b] + data[b:]
    if how == 7:
        return data[b:] + data[a:b] + data[:a]
    if how == 8:
        return data + rng.choice((data[a:b], rng.choice(TOKENS)))
    return rng.choice((b"", rng.choice(TOKENS), bytes(rng.randrange(256) for _ in range(40))))


def by_numbers(data: bytes, rng: Random) -> bytes:
    """A number of a text is replaced."""
    found = list(NUMBER.finditer(data))
    if not found:
        return by_bytes(data, rng)
    place = rng.choice(found)
    return data[: place.start()] + rng.choice(TOKENS) + data[place.end() :]


def by_lines(data: bytes, rng: Random) -> bytes:
    """A line of a text is lost, doubled, moved or cut."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return by_bytes(data, rng)
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(5)
    if how == 0:
        del lines[a]
    elif how == 1:
        lines.insert(b, lines[a])
    elif how == 2:
        lines[a], lines[b] = lines[b], lines[a]
    elif how == 3:
        lines[a] = lines[a][: rng.randrange(len(lines[a]))]
    else:
        lines[a] = lines[a].replace(b".", b",").replace(b",", rng.choice((b",", b";", b" ")))
    return b"".join(lines)


def text(data: bytes, rng: Random) -> bytes:
    """Lines with numbers."""
    return rng.choice((by_bytes, by_numbers, by_numbers, by_lines))(data, rng)


def tree(value: Any, rng: Random, special: tuple[Any, ...] = VALUES) -> Any:
    """A value of lists and dictionaries, changed at one place."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        how = rng.randrange(8)
        rest = {name: one for name, one in value.items() if name != key}
        if how == 0:
            return rest
        if how == 1:
            return {**rest, rng.choice(("", "x", "__class__", "epoch", "a" * 300)): value[key]}
        return {**value, key: tree(value[key], rng, special)}
    if isinstance(value, list | tuple) and len(value) and rng.random() < 0.9:
        at = rng.randrange(len(value))
        how = rng.randrange(8)
        if how == 0:
            return [*value[:at], *value[at + 1 :]]
        if how == 1:
            return [*value, value[at]]
        return [*value[:at], tree(value[at], rng, special), *value[at + 1 :]]
    if rng.randrange(12) == 0:
        for _ in range(rng.choice((1, 3, 200))):
            value = [value]
        return value
    return rng.choice(special)


def as_json(data: bytes, rng: Random) -> bytes:
    """JSON, or lines of it."""
    if rng.random() < 0.35:
        return text(data, rng)
    lines = data.splitlines()
    many = len(lines) > 1 and lines[0].endswith(b"}")
    at = rng.randrange(len(lines)) if many else 0
    try:
        value = tree(json.loads(lines[at] if many else data), rng)
        changed = json.dumps(value).encode()
    except (ValueError, RecursionError):  # damaged before
        return text(data, rng)
    return b"\n".join([*lines[:at], changed, *lines[at + 1 :], b""]) if many else changed


def packed(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    """An array as a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version, allow_pickle=True)
    return file.getvalue()


def npy(data: bytes, rng: Random) -> bytes:
    """An array: its bytes, header, type, shape or values."""
    how = rng.randrange(8)
    if how < 2:
        return by_bytes(data, rng)
    if how == 2:  # the header alone, which is text
        end = data.find(b"\n") + 1 or len(data)
        return data[:10] + text(data[10:end], rng) + data[end:]
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
        return packed(changed_array(array, rng), rng.choice((None, None, (2, 0), (3, 0))))
    except Exception:  # damaged before, or no such conversion
        return by_bytes(data, rng)


def changed_array(array: np.ndarray, rng: Random) -> np.ndarray:
    """Another type, shape or value."""
    how = rng.randrange(9)
    if how == 0:
        return array.astype(
            rng.choice(("f2", "f4", ">f8", "i1", ">i8", "u8", "c16", "U9", "?", "O"))
        )
    if how == 1:
        return array.reshape(rng.choice(((-1,), (1, -1), (-1, 1), (1, *array.shape))))
    if how == 2:
        return array.T if array.ndim > 1 else array[::-1]
    if how == 3:
        return array[: rng.randrange(len(array) + 1)] if array.ndim else array
    if how == 4:
        return np.concatenate([array, array[: rng.randrange(1, 9)]]) if array.ndim else array
    if how == 5:
        return np.asfortranarray(array)
    if how == 6:
        return np.empty(rng.choice(((), (0,), (0, 20), (3, 0))), array.dtype)
    made = array.copy().reshape(-1)
    if made.size:
        special = (1e30, 1e308, np.nan, np.inf, -np.inf, 0, -1, 2**62, -(2**63), 1e200, 0.5)
        at = slice(None) if how == 7 else rng.randrange(made.size)
        with np.errstate(all="ignore"):
            made[at] = np.array(rng.choice(special)).astype(made.dtype)
    return made.reshape(array.shape)


LARGE = b"\x80\x02}r"  # a pickle that stores a value under a number, as which it takes memory


def pickled(data: bytes, rng: Random) -> bytes:
    """An .npy file that holds a pickle: its bytes, its value, or a pickle that is a trap."""
    how = rng.randrange(6)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|O", "fortran_order": False, "shape": rng.choice(((), (), (3,)))}
    )
    head = file.getvalue()
    if how < 2 or data.startswith(LARGE, len(head)):  # these take half a second to load
        return by_bytes(data, rng)
    if how == 2:
        return head + LARGE + struct.pack("<I", rng.choice((2**27, 2**20, 2**31))) + b"."
    if how == 3:
        if rng.random() < 0.3:
            return head + pickle.dumps(rng.choice(TRAPS), rng.randrange(6))
        levels = rng.choice((10, 23, 300, 5000))
        if rng.random() < 0.5:
            return head + b"\x80\x02" + b"(" * levels + b"l" * levels + b"."
        nested: Any = [1]
        for _ in range(min(levels, 300)):
            nested = [nested, nested]  # small through the memo, exponential without it
        return head + pickle.dumps(nested, rng.randrange(6))
    try:
        value = np.load(io.BytesIO(data), allow_pickle=True).tolist()
        special = (*VALUES[:20], [0, 0], {0: [0, 0]}, {0: [-1]}, [2**63], np.arange(3), b"x", 1.5)
        protocol = rng.randrange(6)
        return head + pickle.dumps(np.array(tree(value, rng, special), dtype=object), protocol)
    except Exception:  # damaged before, or no pickle
        return by_bytes(data, rng)


def archive(data: bytes, rng: Random, inner: Mutator = npy) -> bytes:
    """A zip: its bytes, or one of its members, or how and under which names they are packed."""
    how = rng.randrange(6)
    if how < 2:
        return by_bytes(data, rng)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            members = {name: old.read(name) for name in old.namelist()}
    except Exception:  # damaged before
        return by_bytes(data, rng)
    name = rng.choice(list(members))
    if how == 2:
        members[rng.choice((name + "x", "../" + name, "/", "a" * 300))] = members.pop(name)
    elif how == 3 and rng.random() < 0.1:
        members[name] = ZEROS
    else:
        members[name] = inner(members[name], rng)
    method = rng.choice((zipfile.ZIP_DEFLATED,) * 4 + (zipfile.ZIP_STORED, zipfile.ZIP_LZMA))
    pack = zipped_zeros if ZEROS in members.values() and method != zipfile.ZIP_STORED else zipped
    return pack(tuple(members.items()), method)


def zipped(members: tuple[tuple[str, bytes], ...], method: int) -> bytes:
    """An archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as new:
        for name, content in members:
            new.writestr(name, content)
    return file.getvalue()


# packing 64 MB takes half a second
zipped_zeros = lru_cache(maxsize=64)(zipped)


def tarred(data: bytes, rng: Random) -> bytes:
    """A compressed tar: its bytes, those of the tar inside, or its members."""
    import gzip
    import lzma

    how = rng.randrange(5)
    if how < 2:
        return by_bytes(data, rng)
    tool = gzip if data[:2] == b"\x1f\x8b" else lzma
    try:
        inside = tool.decompress(data)
        if how < 4:
            return tool.compress(by_bytes(inside, rng))
        file = io.BytesIO()
        with (
            tarfile.open(fileobj=io.BytesIO(inside)) as old,
            tarfile.open(fileobj=file, mode="w") as new,
        ):
            for member in old:
                content = old.extractfile(member)
                if rng.random() < 0.4:
                    member.name = rng.choice(
                        ("../x", "/x", "Data/Person1/" + "9" * 200, "\0", "x\udcff")
                    )
                    member.type = rng.choice((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE))
                new.addfile(member, content)
        return tool.compress(file.getvalue())
    except Exception:  # damaged before
        return by_bytes(data, rng)


def matlab(data: bytes, rng: Random) -> bytes:
    """A MATLAB file: its bytes, or those inside its compressed elements."""
    if rng.random() < 0.4:
        return by_bytes(data, rng)
    try:
        kind, size = struct.unpack_from("<II", data, 128)
        if kind != 15:
            return by_bytes(data, rng)
        inside = by_bytes(zlib.decompress(data[136 : 136 + size]), rng)
    except (struct.error, zlib.error):
        return by_bytes(data, rng)
    packed = zlib.compress(inside)
    return data[:128] + struct.pack("<II", 15, len(packed)) + packed + data[136 + size :]


def checkpoint(data: bytes, rng: Random) -> bytes:
    """A checkpoint: its bytes, the same with a valid checksum, or its values."""
    how = rng.randrange(5)
    if how == 0:
        return by_bytes(data, rng)
    content = data[: -len(checkpoints.sealed(b""))]
    if how == 1:
        return checkpoints.sealed(by_bytes(content, rng))
    try:
        value = torch.load(io.BytesIO(content), weights_only=True)
        tensors = (torch.zeros(0), torch.full((2, 3), torch.nan), torch.zeros(3, dtype=torch.int64))
        made = (*VALUES, *tensors, torch.zeros(2, dtype=torch.bfloat16), torch.tensor(2.5))
        file = io.BytesIO()
        torch.save(rng.choice(TRAPS) if rng.random() < 0.05 else tree(value, rng, made), file)
        return checkpoints.sealed(file.getvalue())
    except Exception:  # damaged before
        return by_bytes(data, rng)


FORMATS: dict[str, Mutator] = {
    "bytes": by_bytes,
    "text": text,
    "json": as_json,
    "npy": npy,
    "pickle": pickled,
    "npz": archive,
    "zip": lambda data, rng: archive(data, rng, text),
    "tar": tarred,
    "mat": matlab,
    "checkpoint": checkpoint,
}


def mutate(data: bytes, form: str, rng: Random) -> bytes:
    """A damaged copy: mostly one change, sometimes several."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = FORMATS[form](data, rng)
    return data
