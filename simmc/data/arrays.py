"""Single ``.npy`` files: written atomically, read with a clear error for every fault.

Two public files hold pickles: ``ids_*.npy`` is a 0-d object array around a dict of lists of
indices, and some releases keep ``frame_id_*.npy`` as an object array of integers. A pickle may call
anything on loading. Here it gets stand-ins: it runs no code of numpy or another library, and every
name but those of array, dtype and scalar reconstruction is refused.

Memory and time are bounded by the size of the file. Python's unpickler keeps its memo in a dict,
where the one in C allocates for the highest number in the file; operations that allocate for an
announced size are refused; and no more items are unfolded than the file has bytes, however often
its lists refer to each other.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from simmc import files
from simmc.errors import UserError
from simmc.schema import INT64

REWRITE = "run Preprocess.py again, or write a custom set again with write_dataset"
AGAIN = f"the set is damaged: {REWRITE}"
# what numpy, its header parser and the unpickler raise for a damaged file
FAULTS = (
    *(pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, EOFError),
    *(struct.error, MemoryError, OverflowError, RecursionError, ImportError, AssertionError),
    *(SyntaxError, tokenize.TokenError),
)
_NOT_PLAIN = "holds more than integers, lists and dicts of them"
# what pickles of integers, lists, dicts, arrays and their scalars consist of, in every protocol
_OPERATIONS = (
    *("MARK", "STOP", "POP", "POP_MARK", "PROTO", "FRAME", "NONE", "NEWTRUE", "NEWFALSE"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "GLOBAL", "STACK_GLOBAL"),
    *("GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
    *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "REDUCE", "BUILD"),
    *("PERSID", "BINPERSID"),
)


def save(path: Path, array: np.ndarray) -> None:
    """Write a plain ``.npy`` atomically."""
    with files.open_atomic(path, "wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def save_blocks(
    paths: Sequence[Path], blocks: Iterable[np.ndarray], shape: tuple[int, int]
) -> None:
    """Write float64 arrays of one shape side by side, without holding them in memory.

    Each block is (len(paths), n, shape[1]): the next n rows of every array.
    """
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    with ExitStack() as stack:
        opened = [stack.enter_context(files.open_atomic(path, "wb")) for path in paths]
        for file in opened:
            np.lib.format.write_array_header_1_0(file, header)
        rows = 0
        for block in blocks:
            rows += block.shape[1]
            for file, plane in zip(opened, block, strict=True):
                file.write(np.ascontiguousarray(plane, "<f8").data)
        if rows != shape[0]:
            raise ValueError(f"{rows} rows, {shape[0]} announced")


def read_rows(path: Path, count: int) -> Iterator[np.ndarray]:
    """The rows of a stored float array, at most `count` at a time, not mapped into memory."""
    _open(path)  # UserError unless it is an array
    with path.open("rb") as file:
        shape, by_column, dtype = read_header(file)
        if by_column or dtype.hasobject:
            raise UserError(f"{path}: stored by column; {AGAIN}")
        for low in range(0, shape[0], count):
            rows = min(count, shape[0] - low)
            yield np.fromfile(file, dtype, rows * shape[1]).reshape(rows, shape[1])


def _open(path: Path, advice: str = AGAIN) -> np.ndarray:
    """An array mapped from disk, so that a header cannot ask for more memory than the file has.

    UserError, which ends with `advice`, if it cannot be read.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; {advice}") from None
    except (OSError, *FAULTS) as error:
        raise UserError(f"{path}: cannot be read ({error}); {advice}") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an archive, not an array; {advice}")
    return array


def read_plane(path: Path, length: int, n_joints: int) -> np.ndarray:
    """One coordinate (N * f, J), mapped from disk as (N, f, J) floats."""
    array = _open(path)
    if array.ndim != 2 or array.shape[1] != n_joints or array.dtype.kind != "f":
        raise UserError(
            f"{path}: {array.dtype} of shape {array.shape}, expected floats of shape "
            f"(N * {length}, {n_joints}); {AGAIN}"
        )
    if len(array) % length:
        raise UserError(f"{path}: {len(array)} rows, no multiple of --length {length}; {AGAIN}")
    return array.reshape(-1, length, n_joints)


def read_integers(path: Path, count: int) -> np.ndarray:
    """One integer a window, (N,) int64; public files may hold them as objects or as floats."""
    try:
        with path.open("rb") as file:
            pickled = read_header(file)[2].hasobject
        array = np.asarray(read_object_array(path) if pickled else _open(path))
    except (OSError, *FAULTS) as error:
        raise UserError(f"{path}: cannot be read ({error}); {AGAIN}") from error
    if array.shape != (count,):
        raise UserError(f"{path}: shape {array.shape}, but there are {count} windows; {AGAIN}")
    if array.dtype.kind not in "iuf" or not _are_integers(array):
        raise UserError(f"{path}: holds {array.dtype} values that are not 64-bit integers; {AGAIN}")
    return array.astype(np.int64)


def _are_integers(array: np.ndarray) -> bool:
    if array.dtype.kind == "f":  # beyond 2**53 a float does not determine the integer
        return bool(((np.abs(array) <= 2**53) & (np.floor(array) == array)).all())
    return array.dtype.kind == "i" or not array.size or int(array.max()) < 2**63


def read_floats(path: Path, advice: str) -> np.ndarray:
    """Floats of any shape, mapped from disk; UserError, which ends with `advice`, otherwise."""
    array = _open(path, advice)
    if array.dtype.kind != "f" or array.size == 0:
        raise UserError(f"{path}: {array.dtype} of shape {array.shape}, expected floats; {advice}")
    return array


def read_object_array(path: Path) -> Any:
    """The content of an object-dtype ``.npy`` as plain lists, dicts and numbers.

    UserError if the file is damaged or its pickle asks for anything beyond arrays of integers.
    """
    try:
        with path.open("rb") as file:
            shape, _, dtype = read_header(file)
            if not dtype.hasobject:
                raise ValueError("no object array")
            found = _Restricted(file.read())
            content = _plain(found.load(), found.budget)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    except FAULTS as error:
        raise UserError(
            f"{path}: damaged, or not a list of window indices by identity ({str(error)[:100]}); "
            f"{REWRITE}, and do not trust where it came from"
        ) from error
    if shape == () or isinstance(content, list):
        return content
    raise UserError(f"{path}: {_NOT_PLAIN}; {REWRITE}")


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran order, and dtype of an open ``.npy``.

    ValueError, or another of `FAULTS`, if the file is none.
    """
    first = np.lib.format.read_magic(file) == (1, 0)
    formats = np.lib.format
    read = formats.read_array_header_1_0 if first else formats.read_array_header_2_0
    shape, by_column, dtype = read(file)
    return shape, by_column, dtype


def parse_npy(file: IO[bytes], size: int) -> np.ndarray:
    """The plain array in an open ``.npy`` of so many bytes; one of `FAULTS` if it is none.

    The header is checked before memory is taken for the numbers that it claims.
    """
    shape, by_column, dtype = read_header(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError("not a plain array, or its header and size disagree")
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if by_column else "C")


class _Dtype:
    """Stands in for numpy.dtype: a numeric type or "O"."""

    def __init__(self, code: str, _align: Any = None, _copy: Any = None) -> None:
        if not re.fullmatch(r"[biuf][1248]|O8?", code):
            raise pickle.UnpicklingError("it holds arrays of other types than numbers")
        self.dtype: np.dtype[Any] = np.dtype(code[:1] if code[0] == "O" else code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stands in for numpy.ndarray; keeps the content of the pickle until `plain` is called."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.type, _, self.data = state

    def plain(self, budget: _Budget) -> Any:
        if len(self.shape) > 1:  # (2**40, 0) would be as many empty lists
            raise pickle.UnpicklingError(_NOT_PLAIN)
        budget.spend(len(self.data))
        if self.type.dtype == object:
            items = [_plain(item, budget) for item in self.data]
            return items[0] if self.shape == () else items
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        return np.frombuffer(data, self.type.dtype).reshape(self.shape).tolist()


def _reconstruct(kind: type, _shape: Any = None, _code: Any = None) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError(_NOT_PLAIN)
    return _Array()


def _scalar(kind: _Dtype, data: bytes | str) -> Any:
    if len(data) > 8:
        raise pickle.UnpicklingError(_NOT_PLAIN)
    data = data.encode("latin-1") if isinstance(data, str) else data
    return np.frombuffer(data, kind.dtype)[0].item()


@dataclass
class _Budget:
    """How many items, and bytes of copied text, may still be created."""

    left: int

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise pickle.UnpicklingError("it unfolds to more items than it has bytes")


_ADMITTED: dict[tuple[str, str], Any] = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Dtype}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _ADMITTED[_module, "_reconstruct"] = _reconstruct
    _ADMITTED[_module, "scalar"] = _scalar


def _keyed(load: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """An operation that fills a dict, if all keys are integers of 64 bits.

    Crafted keys of other types can take quadratic time.
    """

    def checked(self: Any) -> None:
        if not all(type(key) is int and key in INT64 for key in self.stack[keys]):
            raise pickle.UnpicklingError("its keys are not integers of 64 bits")
        load(self)

    return checked


_build: Any = pickle._Unpickler.dispatch[pickle.BUILD[0]]


class _Restricted(pickle._Unpickler):
    """Python's unpickler with few operations, few names, and keys that are integers."""

    stack: list[Any]

    def __init__(self, data: bytes) -> None:
        # a stream in memory allocates nothing for an announced size
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.budget = _Budget(len(data))

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self.encode
        try:
            return _ADMITTED[module, name]
        except KeyError:
            asked = ascii(f"{module}.{name}"[:80])
            raise pickle.UnpicklingError(f"it asks for {asked}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to an outside object")

    def encode(self, text: str, codec: str = "latin1") -> bytes:
        if codec not in ("latin1", "latin-1"):  # what pickles of Python 2 protocols use for bytes
            raise pickle.UnpicklingError("it holds text of another codec than latin-1")
        self.budget.spend(len(text))
        return text.encode("latin-1")

    def checked_build(self) -> None:
        if not isinstance(self.stack[-2], _Array | _Dtype):  # else it could change what is admitted
            raise pickle.UnpicklingError(_NOT_PLAIN)
        _build(self)

    dispatch: ClassVar[dict[int, Any]] = {
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in _OPERATIONS)
    }
    dispatch[pickle.BUILD[0]] = checked_build
    dispatch[pickle.SETITEM[0]] = _keyed(dispatch[pickle.SETITEM[0]], slice(-2, -1))
    for _code in (pickle.SETITEMS[0], pickle.DICT[0]):
        dispatch[_code] = _keyed(dispatch[_code], slice(None, None, 2))


def _plain(value: Any, budget: _Budget) -> Any:
    """Python numbers, lists and dicts of them; UnpicklingError for anything else."""
    budget.spend(1)
    if isinstance(value, _Array):
        return value.plain(budget)
    if isinstance(value, dict):
        return {key: _plain(item, budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, budget) for item in value]
    if isinstance(value, int | float):
        return value
    raise pickle.UnpicklingError(_NOT_PLAIN)
