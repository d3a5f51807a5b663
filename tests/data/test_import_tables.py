"""Readers of tables, arrays and JSON: the same recording in many layouts gives the same numbers."""

import io
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from simmc.data.importing.description import Description
from simmc.data.importing.formats import read_bodies
from simmc.data.importing.joint_names import spelled_joints
from simmc.data.importing.recording import Body
from simmc.data.importing.tabular import from_arrow
from simmc.errors import UserError

JOINTS = ("HipCenter", "Head", "HandLeft")
XYZ = np.random.default_rng(0).normal(size=(9, 3, 3)).round(6)
TIMES = np.arange(9) / 30


def read(data: bytes | str, path: str = "walk.csv", **told) -> list[Body]:
    content = data.encode() if isinstance(data, str) else data
    return read_bodies(path, content, Description(**told))


def wide(name: Callable[[str, str], str] = "{}_{}".format, delimiter: str = ",") -> str:
    names = [name(joint, axis) for joint in JOINTS for axis in "xyz"]
    rows = [delimiter.join(map(repr, frame)) for frame in XYZ.reshape(9, 9).tolist()]
    return "\n".join([delimiter.join(names), *rows]) + "\n"


def as_parquet(columns: dict) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue()


SPELLINGS = (  # of a joint and an axis
    *("{0}{2}", "{0}_{1}", "{0}.{1}", "{0} ({2})", "{0}[{1}]", "{0}_pos_{1}", "{0}Position{2}"),
    *("{0}:{1}", "{0}_{1}_m", "{0}_t{1}", "{1}_{0}", "{2}{0}", '"{0} {1}"'),
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_wide_tables_in_many_spellings(spelling):
    (body,) = read(wide(lambda joint, axis: spelling.format(joint, axis, axis.upper())))
    assert spelled_joints(body.joints) == ("hip_center", "head", "left_hand")
    assert np.array_equal(body.xyz, XYZ)


@pytest.mark.timeout(20)
def test_a_name_of_a_damaged_table_is_not_searched_for_long():
    """The patterns try every division of a row of spaces."""
    text = wide().replace("\n", f",Head{' ' * 40_000}?\n", 1).replace("\n", ",0\n")
    (body,) = read(text.replace(",0\n", "\n", 1))
    assert np.array_equal(body.xyz, XYZ)


def test_the_unit_in_the_names_of_columns():
    for spelling, size in (("{0}_{1}_mm", 1000), ("{0} {1} (CM)", 100), ("{0}_{1} [m]", 1)):
        text = wide(spelling.format)
        (body,) = read(text)
        assert body.metres and np.array_equal(body.xyz, XYZ / size)
        assert body.joints == JOINTS
        assert "by the names of the columns" in body.notes[0]
        (body,) = read(text, unit="px")  # the description is more certain than a name
        assert not body.metres and np.array_equal(body.xyz, XYZ)
        assert body.notes[0].endswith('but unit = "px" of dataset.toml is used')
    (body,) = read(wide("{0}_{1}_mm".format), unit="mm")
    assert not body.metres and np.array_equal(body.xyz, XYZ) and body.notes == ()
    (body,) = read(wide("{0}_{1}_px".format))
    assert not body.metres and np.array_equal(body.xyz, XYZ)
    assert 'set unit = "px"' in body.notes[0]
    text = long().replace("x,y,z", "x_mm,y_mm,z_mm", 1)
    (body,) = read(text, columns={"time": "-"})
    assert body.metres and np.array_equal(body.xyz, XYZ / 1000)
    named = {"time": "-", "x": "x_mm", "y": "y_mm", "z": "z_mm"}
    assert np.array_equal(read(text, columns=named)[0].xyz, XYZ / 1000)
    mixed = wide("{0}_{1}_mm".format).replace("Head_x_mm", "Head_x_cm")
    with pytest.raises(UserError, match="'HipCenter_x_mm' and 'Head_x_cm' have different units"):
        read(mixed)
    assert np.array_equal(read(mixed, unit="mm")[0].xyz, XYZ)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "  "])
def test_delimiters(delimiter):
    (body,) = read(wide(delimiter=delimiter))
    assert np.array_equal(body.xyz, XYZ)


def test_decimal_commas_marks_and_line_ends():
    text = wide(delimiter=";").replace(".", ",")
    for data in (
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n").encode(),
        text.replace("\n", "\r").encode(),
        text.rstrip().encode(),
    ):
        (body,) = read(data)
        assert np.array_equal(body.xyz, XYZ)


def test_lines_above_the_header_and_two_header_rows():
    text = "recorded,2024\n\n" + wide()
    assert np.array_equal(read(text)[0].xyz, XYZ)
    head = ",".join(f"{joint},," for joint in JOINTS) + "\n" + ",".join("XYZ" * 3) + "\n"
    (body,) = read(head + wide(lambda joint, axis: "").partition("\n")[2])
    assert body.joints == JOINTS and np.array_equal(body.xyz, XYZ)


def test_numbers_without_a_header():
    rows = wide(lambda joint, axis: "").partition("\n")[2]
    (body,) = read(rows)
    assert body.joints == ("0", "1", "2") and np.array_equal(body.xyz, XYZ)
    by_axis = "\n".join(",".join(map(repr, frame)) for frame in XYZ.mT.reshape(9, 9).tolist())
    assert np.array_equal(read(by_axis, order="axes")[0].xyz, XYZ)
    counted = "\n".join(f"{n},{row}" for n, row in enumerate(rows.splitlines()))
    assert np.array_equal(read(counted)[0].xyz, XYZ)


def long(frame: bool = True, time: bool = False) -> str:
    lines = ["frame,time,joint,x,y,z"]
    for n, (at, points) in enumerate(zip(TIMES, XYZ.tolist(), strict=True)):
        for joint, point in zip(JOINTS, points, strict=True):
            cells = [str(n) if frame else "", repr(float(at)) if time else "", joint]
            lines.append(",".join([*cells, *map(repr, point)]))
    return "\n".join(lines)


def test_long_tables():
    (body,) = read(long(), columns={"time": "-"})
    assert body.joints == JOINTS and np.array_equal(body.xyz, XYZ) and body.times is None
    (body,) = read(long(time=True))
    assert np.allclose(body.times, TIMES)
    lines = long(frame=False).splitlines()
    (body,) = read("\n".join(lines), columns={"time": "-", "frame": "-"})
    assert np.array_equal(body.xyz, XYZ)
    rng = np.random.default_rng(1)
    lines = long().splitlines()
    mixed = [lines[0], *(lines[1 + n] for n in rng.permutation(len(lines) - 1))]
    (body,) = read("\n".join(mixed), columns={"time": "-"})
    order = [body.joints.index(joint) for joint in JOINTS]
    assert np.array_equal(body.xyz[:, order], XYZ)
    del lines[5]
    (body,) = read("\n".join(lines), columns={"time": "-"})
    assert np.isnan(body.xyz[1, 1]).all() and np.isnan(body.xyz).sum() == 3


def test_columns_of_persons_and_recordings_divide_a_table():
    lines = wide().splitlines()
    who = ["ann", "bob", "ann", "bob", "ann", "ann", "ann", "bob", "bob"]
    text = "\n".join(f"{a},{b}" for a, b in zip(["Subject", *who], lines, strict=True))
    bodies = read(text)
    assert [body.fields["person"] for body in bodies] == ["ann", "bob"]
    for body in bodies:
        assert np.array_equal(body.xyz, XYZ[np.array(who) == body.fields["person"]])
    assert len({body.name for body in bodies}) == 2
    (one,) = read(text, columns={"person": "-"})
    assert len(one.xyz) == 9
    assert {body.fields["gait"] for body in read(text, columns={"gait": "Subject"})} == set(who)


def test_times_get_their_unit_from_the_frame_rate():
    rows = wide().splitlines()
    for scale in (1, 1e3, 1e6, 1e7):
        stamps = ["Timestamp", *(repr(float(at * scale)) for at in TIMES)]
        (body,) = read("\n".join(f"{a},{b}" for a, b in zip(stamps, rows, strict=True)))
        assert np.allclose(np.diff(body.times), 1 / 30)
    dates = ["time", *(f"2024-05-01T10:00:00.{n * 40:03}" for n in range(9))]
    (body,) = read("\n".join(f"{a},{b}" for a, b in zip(dates, rows, strict=True)))
    assert np.allclose(np.diff(body.times), 0.04)


def test_empty_cells_are_not_seen_and_other_text_is_refused():
    rows = wide().splitlines()
    cells = rows[4].split(",")
    for text in ("", "NaN", "null", "NA"):
        rows[4] = ",".join([text, *cells[1:]])
        (body,) = read("\n".join(rows))
        assert np.isnan(body.xyz[3, 0, 0]) and np.isnan(body.xyz).sum() == 1
    rows[4] = ",".join(["oops", *cells[1:]])
    with pytest.raises(UserError, match=r"line 5: 'oops'"):
        read("\n".join(rows))
    (body,) = read("\n".join(rows), bad_rows="drop")
    assert np.array_equal(body.xyz, np.delete(XYZ, 3, axis=0))
    rows[4] = ",".join(cells[:5])
    with pytest.raises(UserError, match="line 5"):
        read("\n".join(rows))
    assert len(read("\n".join(rows), bad_rows="drop")[0].xyz) == 8


def test_times_of_a_parquet_file_keep_all_digits():
    """Seconds since 1970: rounded to six digits, all frames would have the same time."""
    names = [f"{joint}_{axis}" for joint in JOINTS for axis in "xyz"]
    wide_columns = dict(zip(names, XYZ.reshape(9, 9).T, strict=True))
    flat = dict(zip("xyz", XYZ.reshape(-1, 3).T, strict=True))
    for columns, times in (
        (wide_columns, 1.7e9 + TIMES),
        ({"joint": JOINTS * 9, **flat}, np.repeat(1.7e9 + TIMES, 3)),
    ):
        (body,) = read(as_parquet({"time": times, **columns}), "walk.parquet")
        assert np.array_equal(body.xyz, XYZ) and np.allclose(body.times - 1.7e9, TIMES)


def test_persons_with_long_numbers_are_not_merged():
    """As pandas writes them where one is missing: as floats."""
    columns = {f"{j}_{a}": XYZ[:, n, "xyz".index(a)] for n, j in enumerate(JOINTS) for a in "xyz"}
    bodies = from_arrow(
        "t", pa.table({"person": [1234567.0, 1234568.0, 7.0] * 3, **columns}), Description()
    )
    assert [body.fields["person"] for body in bodies] == ["1234567", "1234568", "7"]


def test_parquet_and_plane_poses():
    data = {f"{j}_{a}": XYZ[:, n, "xy".index(a)] for n, j in enumerate(JOINTS) for a in "xy"}
    (body,) = read(as_parquet(data), "walk.parquet")
    assert body.flat and np.array_equal(body.xyz[..., :2], XYZ[..., :2])
    assert (body.xyz[..., 2] == 0).all()


# Arrays


def saved(**arrays) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **arrays) if "array" not in arrays else np.save(sink, arrays["array"])
    return sink.getvalue()


def test_arrays_of_many_shapes():
    for array, axes in (
        (XYZ, ""),
        (XYZ.reshape(9, 9), ""),
        (np.moveaxis(XYZ, 2, 0), "cfj"),
        (np.moveaxis(XYZ, 1, 2), "fcj"),
        (XYZ.astype(">f8"), ""),
    ):
        (body,) = read(saved(array=array), "walk.npy", axes=axes)
        assert np.array_equal(body.xyz, XYZ)
    both = np.stack([XYZ, XYZ + 1])
    bodies = read(saved(array=both), "walk.npy")
    assert [np.array_equal(b.xyz, a) for b, a in zip(bodies, both, strict=True)] == [True, True]
    with pytest.raises(UserError, match="axes"):
        read(saved(array=XYZ[0, 0]), "walk.npy")


def test_recordings_one_after_another_in_an_archive():
    data = saved(
        xyz=np.concatenate([XYZ, XYZ + 1]), offsets=[0, 9, 18], person=["a", "b"], gait=[1, 2]
    )
    bodies = read(data, "all.npz")
    assert [(b.fields["person"], b.fields["gait"]) for b in bodies] == [("a", "1"), ("b", "2")]
    assert np.array_equal(bodies[1].xyz, XYZ + 1)
    several = read(saved(one=XYZ, two=XYZ + 1), "all.npz")
    assert [body.name for body in several] == ["all.npz#one", "all.npz#two"]


@pytest.mark.parametrize(("bit", "reason"), [(1, "encrypted"), (32, "patched")])
def test_archives_that_zipfile_does_not_read_are_refused(bit, reason):
    data = bytearray(saved(x=XYZ))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + flags] |= bit
    with pytest.raises(UserError, match=reason):
        read(bytes(data), "all.npz")


def test_json_in_many_shapes():
    frames = [dict(zip(JOINTS, frame, strict=True)) for frame in XYZ.tolist()]
    axes = [{j: dict(zip("xyz", p, strict=True)) for j, p in f.items()} for f in frames]
    for content in (
        XYZ.tolist(),
        {"label": 3, "skeletons": XYZ.tolist()},
        frames,
        axes,
        {"frames": axes, "fps": 30},
        {joint: XYZ[:, n].tolist() for n, joint in enumerate(JOINTS)},
    ):
        (body,) = read(json.dumps(content), "walk.json")
        assert np.array_equal(body.xyz, XYZ)
    (body,) = read("\n".join(map(json.dumps, axes)), "walk.jsonl")
    assert body.joints == JOINTS and np.array_equal(body.xyz, XYZ)


@pytest.mark.parametrize("path", ["a.csv", "a.json", "a.npy", "a.npz", "a.parquet", "a.txt"])
@settings(max_examples=50)
@given(data=st.binary(max_size=200), cut=st.integers(0, 400))
def test_damaged_files_are_refused(path, data, cut):
    """Bytes that are no file, and whole files with a part exchanged."""
    whole = {"a.npy": saved(array=XYZ), "a.npz": saved(x=XYZ), "a.json": json.dumps(XYZ.tolist())}
    good = whole.get(path, wide())
    good = good.encode() if isinstance(good, str) else good
    for content in (data, good[:cut] + data + good[cut + len(data) :]):
        try:
            bodies = read(content, path)
        except UserError:
            continue
        assert all(body.xyz.shape[1:] == (len(body.joints), 3) for body in bodies)
