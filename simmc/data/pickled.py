"""Reads the two public ``.npy`` files that hold pickles, and nothing else.

``ids_*.npy`` is a 0-d object array around a dict of lists of indices, and some releases keep
``frame_id_*.npy`` as an object array of integers. A pickle may call anything on loading, so the
stream is read with stand-ins: none of numpy's or any other library's code runs on its behalf, and
every name but those of array, dtype and scalar reconstruction is refused.
"""

from __future__ import annotations

import pickle
import re
import struct
import tokenize
from pathlib import Path
from typing import IO, Any

import numpy as np

from simmc.errors import UserError

# What a damaged header or pickle makes numpy, its header parser and the unpickler raise.
FAULTS = (
    *(pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, EOFError),
    *(struct.error, MemoryError, OverflowError, RecursionError, ImportError, AssertionError),
    *(SyntaxError, tokenize.TokenError),
)
_NOT_PLAIN = "holds more than integers, lists and dicts of them"


class _Dtype:
    """Stands in for numpy.dtype: a numeric type or "O"."""

    def __init__(self, code: str, *_flags: Any) -> None:
        if not re.fullmatch(r"[biuf][1248]|O8?", code):
            raise pickle.UnpicklingError(f"arrays of type {code!r} are not admitted")
        self.dtype: np.dtype[Any] = np.dtype(code[:1] if code[0] == "O" else code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stands in for numpy.ndarray; keeps what the pickle says until `plain` is called."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.type, self.fortran, self.data = state

    def plain(self) -> Any:
        if self.type.dtype == object:
            items = [_plain(item) for item in self.data]
            return items[0] if self.shape == () else items
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        flat = np.frombuffer(data, self.type.dtype)
        return flat.reshape(self.shape, order="F" if self.fortran else "C").tolist()


def _reconstruct(kind: type, *_shape_and_code: Any) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError(_NOT_PLAIN)
    return _Array()


def _scalar(kind: _Dtype, data: bytes | str) -> Any:
    data = data.encode("latin-1") if isinstance(data, str) else data
    return np.frombuffer(data, kind.dtype)[0].item()


def _encode(text: str, codec: str = "latin1") -> bytes:
    if codec not in ("latin1", "latin-1"):  # what pickles of Python 2 protocols use for bytes
        raise pickle.UnpicklingError(f"codec {codec!r} is not admitted")
    return text.encode("latin-1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _ADMITTED[_module, "_reconstruct"] = _reconstruct
    _ADMITTED[_module, "scalar"] = _scalar


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"it refers to an outside object {pid!r}")


def _plain(value: Any) -> Any:
    """Python numbers, lists and dicts of them; UnpicklingError for anything else."""
    if isinstance(value, _Array):
        return value.plain()
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int | float):
        return value
    raise pickle.UnpicklingError(_NOT_PLAIN)


def read_object_array(path: Path) -> Any:
    """The content of an object-dtype ``.npy`` as plain lists, dicts and numbers.

    Raises:
        UserError: the file is damaged, or its pickle asks for anything beyond arrays of integers.
    """
    try:
        with path.open("rb") as file:
            shape, dtype = read_header(file)
            if not dtype.hasobject:
                raise ValueError("no object array")
            content = _plain(_Restricted(file, encoding="latin1").load())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    except FAULTS as error:
        raise UserError(
            f"{path}: damaged, or not a list of window indices by identity ({error}); "
            "make it again with Preprocess.py and do not trust where it came from"
        ) from error
    if shape == () or isinstance(content, list):
        return content
    raise UserError(f"{path}: {_NOT_PLAIN}; make it again with Preprocess.py")


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an open ``.npy``; ValueError where it is none."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype
