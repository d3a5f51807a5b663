"""JSON from outside: what is read, and what is refused with the file and the advice."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.errors import UserError
from simmc.files import Within, parse_json, read_json

ADVICE = "write it again"
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def refused(data: bytes | str, schema: Any) -> str:
    with pytest.raises(UserError) as caught:
        parse_json(data, schema, "some.json", ADVICE)
    message = str(caught.value)
    assert message.startswith("some.json: ") and message.endswith(ADVICE) and len(message) < 400
    message.encode()
    return message


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"\xff\xfe", b'{"a": NaN}', b"[Infinity]", b"[-Infinity]", b"[1e999]"),
        *(b'["\\ud800"]', b'{"\\udfff": 1}', b"[" * 100_000, b'{"a":' * 50_000),
        *(b"1" * 5000, b"[-" + b"9" * 10**6 + b"]", "é".encode("latin-1")),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_json(data):
    refused(data, object)


@pytest.mark.parametrize(
    ("value", "schema", "place"),
    [
        ([], {"a": int}, ""),
        ({}, {"a": int}, "a is missing"),
        ({"a": {"b": [1, 2, "x"]}}, {"a": {"b": [int]}}, "a.b[2]"),
        ({"a": True}, {"a": int}, "a: "),
        ({"a": 1}, {"a": bool}, "a: "),
        ({"a": 2**63}, {"a": int}, "a: "),
        ({"a": -(2**63) - 1}, {"a": int}, "a: "),
        ({"a": 10**30}, {"a": float}, "a: "),
        ({"a": 10**30}, {"a": str}, "a: "),
        ({"a": 1.0}, {"a": int}, "a: "),
        ({"a": "1"}, {"a": (None, int)}, "a: "),
        ({"a": {"x": 1, "y": None}}, {"a": {str: int}}, "a.y"),
        ({"a": 31}, {"a": Within(0, 1)}, "a: "),
        ({"a": 0.5}, {"a": Within(0, 1, whole=True)}, "a: "),
        ({"b": "x"}, {"b?": float}, "b: "),
        ({"a": None}, {"a": [int]}, "a: "),
        ({"a": "x" * 10**5}, {"a": int}, "a: "),
        ({"x" * 10**5: 1}, {str: str}, "xxx"),
    ],
)
def test_what_does_not_fit_is_named(value, schema, place):
    assert place in refused(json.dumps(value), schema)


def test_what_fits_is_given_back():
    value = {"a": 3, "b": [1, 2.5, -0.0], "c": {"x": None, "y": "ü"}, "more": [[]], "d": 1}
    schema = {"a": int, "b": [float], "c": {str: (None, str)}, "d": Within(1, 1), "e?": int}
    assert parse_json(json.dumps(value), schema, "some.json", ADVICE) == value
    assert math.isnan(parse_json("[NaN]", object, "some.json", ADVICE, allow_nan=True)[0])


@given(value=ANY_JSON, schema=st.sampled_from([int, float, str, [int], {"a": int}, {str: float}]))
def test_any_json_fits_or_is_refused(value, schema):
    try:
        found = parse_json(json.dumps(value), schema, "some.json", ADVICE)
    except UserError as error:
        assert str(error).startswith("some.json: ")
    else:
        assert found == value


@given(data=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data):
    try:
        parse_json(data, object, "some.json", ADVICE)
    except UserError as error:
        assert str(error).startswith("some.json: ")


def test_files_are_named(tmp_path):
    path = tmp_path / "found.json"
    for what in ("missing", "a folder"):
        with pytest.raises(UserError, match=r"found\.json.*write it again"):
            read_json(path, object, ADVICE)
        if what == "missing":
            path.mkdir()
    path.rmdir()
    path.write_text('{"a": 1}', encoding="utf-8")
    assert read_json(path, {"a": int}, ADVICE) == {"a": 1}
