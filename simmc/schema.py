"""Reading and checking JSON that a user may have changed.

A schema is written as the value looks:

* ``int`` (fits int64), ``float`` (a finite number), ``str``, ``bool``, ``None``, or ``object`` for
  anything;
* ``[S]``: a list of S;
* ``{"a": S, "b?": S}``: an object with the key a and perhaps b; other keys are ignored;
* ``{str: S}``: an object with any keys;
* ``Within(low, high)``: a number in this range, including the ends;
* ``(S, T)``: one of them; the message names the last.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simmc.errors import UserError

INT64 = range(-(2**63), 2**63)
_NAMES: dict[Any, str] = {int: "an integer of 64 bits", float: "a finite number", str: "text"}
_NAMES |= {bool: "true or false", None: "null"}


@dataclass(frozen=True)
class Within:
    """A number in a range, including its ends; with `whole`, an integer."""

    low: float
    high: float
    whole: bool = False


def read_json(path: Path, schema: Any, advice: str) -> Any:
    """The content of a JSON file.

    UserError, which ends with `advice`, if it cannot be read, is no JSON or does not fit.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; {advice}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {advice}") from error
    return parse_json(data, schema, str(path), advice)


def parse_json(
    data: bytes | str, schema: Any, where: str, advice: str, *, allow_nan: bool = False
) -> Any:
    """The value of a JSON text; UserError, which begins with `where`, if it does not fit.

    Infinity is refused, and NaN unless it is allowed.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(
            text, parse_float=_finite, parse_constant=_nan if allow_nan else _no_number
        )
        if "\\u" in text:  # half of a surrogate pair cannot be printed
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{where}: not valid JSON ({_short(str(error))}); {advice}") from error
    if wrong := fault(value, schema):
        raise UserError(f"{where}: {wrong}; {advice}")
    return value


def fault(value: Any, schema: Any, place: str = "") -> str:
    """What is wrong with a value, and where; "" if nothing."""
    if isinstance(schema, tuple):
        either = [fault(value, one, place) for one in schema]
        return either[-1] if all(either) else ""
    if isinstance(schema, list):
        if not isinstance(value, list):
            return _expected("a list", value, place)
        faults = (fault(item, schema[0], f"{place}[{at}]") for at, item in enumerate(value))
        return next(filter(None, faults), "")
    if isinstance(schema, dict):
        return _object_fault(value, schema, place)
    if isinstance(schema, Within):
        kind = int if schema.whole else float
        if _is(value, kind) and schema.low <= value <= schema.high:
            return ""
        what = "an integer" if schema.whole else "a number"
        return _expected(f"{what} from {schema.low:g} to {schema.high:g}", value, place)
    return "" if _is(value, schema) else _expected(_NAMES[schema], value, place)


def _object_fault(value: Any, schema: dict[Any, Any], place: str) -> str:
    if not isinstance(value, dict):
        return _expected("an object with keys", value, place)
    inner = f"{place}." if place else ""
    for key, form in schema.items():
        if key is str:
            faults = (fault(item, form, f"{inner}{name}") for name, item in value.items())
            if wrong := next(filter(None, faults), ""):
                return wrong
        elif (name := key.removesuffix("?")) in value:
            if wrong := fault(value[name], form, f"{inner}{name}"):
                return wrong
        elif name == key:
            return f"{inner}{name} is missing"
    return ""


def _is(value: Any, kind: Any) -> bool:
    if kind is object:
        return True
    if kind is None:
        return value is None
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int):
        return (kind is int and value in INT64) or (kind is float and value in INT64)
    if kind is float:
        return isinstance(value, float) and math.isfinite(value)
    return isinstance(value, kind)


def _expected(what: str, value: Any, place: str) -> str:
    place = f"{_short(place)}: " if place else ""
    return f"{place}{what} is expected, not {_short(_shown(value))}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {len(value)} keys"
    # str() of a huge integer may be refused
    if isinstance(value, int) and not isinstance(value, bool) and value not in INT64:
        return f"an integer of {value.bit_length()} bits"
    return json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _finite(text: str) -> float:
    if math.isfinite(value := float(text)):
        return value
    raise ValueError(f"{_short(text)} is not finite")


def _nan(text: str) -> float:
    return math.nan if text == "NaN" else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")
