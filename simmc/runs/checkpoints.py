"""Checkpoints: plain values in one file, written whole, read without running anything.

A checkpoint is a dictionary of tensors, text, numbers, lists and dictionaries. It is read with
torch's restricted loader (`weights_only`), never with a full unpickler, so that a file from the
internet cannot run code.

A SHA-256 sum follows torch's own bytes. torch checks none, and a single changed byte can make it
return memory that was never written. `torch.load` ignores the sum, so it can read the file too.
"""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from simmc import files
from simmc.errors import UserError

SCHEMA = "simmc checkpoint"
VERSION = 1
_SEAL = b"simmc-sha256:"
# what Python and torch raise over a state that holds other things than expected
MISFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_AGAIN = "Train again (--mode Train), or name another run with --run or --model_root."


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint in one step: a crash leaves the previous one.

    Args:
        path: the file.
        state: dictionaries, lists and tuples of tensors (any shape, dtype and device; stored on
            the CPU), text, numbers and None.

    Raises:
        TypeError: the state holds another type, which could not be read back.
        UserError: the disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    # Serialised in memory first: a full disk then fails in our own write, not inside torch.
    torch.save({"schema": SCHEMA, "version": VERSION, "state": _plain(state, "state")}, buffer)
    files.remove_leftovers(path)
    files.write_bytes(path, sealed(buffer.getvalue()))


def load(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint; tensors arrive on the CPU.

    Raises:
        UserError: missing, unreadable, damaged, holding anything but plain values, or of another
            version.
    """
    content = _unpacked(Path(path), _read(Path(path)))
    # compared as text: a tensor in their place is neither equal nor different
    if not isinstance(content, dict) or str(content.get("schema")) != SCHEMA:
        raise UserError(f"{path} is not a checkpoint of this program. {_AGAIN}")
    version = str(content.get("version"))[:40]
    if version != str(VERSION):
        raise UserError(
            f"{path} has checkpoint version {version}, this program reads version "
            f"{VERSION}. Use the program version that wrote it. Otherwise: {_AGAIN}"
        )
    state = content.get("state")
    if not isinstance(state, dict):
        raise UserError(f"{path} is damaged: it holds no state. {_AGAIN}")
    return state


def weights_of(state: dict[str, Any]) -> tuple[dict[str, torch.Tensor], int]:
    """The weights of a network in a state, and the epoch that they come from.

    Raises:
        ValueError: the state holds something else there, or weights that are not finite.
    """
    weights = state.get("network")
    if not isinstance(weights, dict) or not weights:
        raise ValueError("it holds no network")
    for name, values in weights.items():
        if not isinstance(name, str) or not isinstance(values, torch.Tensor):
            raise ValueError(f"the network's entry {str(name)[:80]!r} is no tensor")
        plain = values.layout == torch.strided and values.device.type == "cpu"
        if not plain or values.is_complex() or values.is_quantized:
            raise ValueError(f"{name} is not a dense tensor of real numbers")
        if not values.isfinite().all():
            raise ValueError(f"{name} is not finite")
    return weights, epoch_of(state)


def epoch_of(state: dict[str, Any]) -> int:
    """The epoch of a state; ValueError where it has none."""
    epoch = state.get("epoch")
    if type(epoch) is not int or not 0 <= epoch < 2**53:
        raise ValueError("it holds no epoch")
    return epoch


def sealed(data: bytes) -> bytes:
    """`data` with its checksum behind it."""
    return data + _SEAL + hashlib.sha256(data).digest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}. {_AGAIN}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}. {_AGAIN}") from error


def _unpacked(path: Path, data: bytes) -> Any:
    """The content of a checkpoint file, its checksum verified."""
    content, _, _ = data.rpartition(_SEAL)
    if not content or data != sealed(content):
        raise UserError(f"{path} is damaged or not a checkpoint of this program. {_AGAIN}")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} was refused: it holds Python objects other than tensors and plain values, and "
            f"reading them could run code. {_AGAIN}"
        ) from error
    except Exception as error:  # foreign bytes can fail anywhere inside torch
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read: {first}. {_AGAIN}") from error


def _plain(value: Any, where: str) -> Any:
    """A copy of `value` in the types that `load` admits; the error names the offending entry."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str | int):
                raise TypeError(f"{where}: key {key!r} is neither text nor an integer")
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise TypeError(
        f"{where} is a {type(value).__name__}; a checkpoint holds only tensors and plain values"
    )
