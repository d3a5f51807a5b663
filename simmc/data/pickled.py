"""Pickles of integers, read without running anything.

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
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simmc.files import INT64

NOT_PLAIN = "holds more than integers, lists and dicts of them"
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


def unpickled(data: bytes) -> Any:
    """The plain lists, dicts and numbers of a pickle; one of `arrays.FAULTS` for any other."""
    found = _Restricted(data)
    return _plain(found.load(), found.budget)


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
            raise pickle.UnpicklingError(NOT_PLAIN)
        budget.spend(len(self.data))
        if self.type.dtype == object:
            items = [_plain(item, budget) for item in self.data]
            return items[0] if self.shape == () else items
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        return np.frombuffer(data, self.type.dtype).reshape(self.shape).tolist()


def _reconstruct(kind: type, _shape: Any = None, _code: Any = None) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError(NOT_PLAIN)
    return _Array()


def _scalar(kind: _Dtype, data: bytes | str) -> Any:
    if len(data) > 8:
        raise pickle.UnpicklingError(NOT_PLAIN)
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
            raise pickle.UnpicklingError(NOT_PLAIN)
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
    raise pickle.UnpicklingError(NOT_PLAIN)
