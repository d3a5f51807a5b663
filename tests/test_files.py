import errno
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc import files
from simmc.errors import UserError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def full_disk(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_replaces_the_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "new folder" / "a.txt"
    files.write_text(target, "one\n")
    files.write_text(target, "zwei ü\n")
    assert target.read_bytes() == "zwei ü\n".encode()
    assert names(target.parent) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="umask is a POSIX notion")
def test_file_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "a", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_block_keeps_the_previous_file(tmp_path, error):
    target = tmp_path / "a.txt"
    files.write_text(target, "good")
    with pytest.raises(error), files.open_atomic(target, "w") as file:
        file.write("half")
        raise error
    assert target.read_text() == "good"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_is_the_users_error_and_keeps_the_previous_file(
    tmp_path, monkeypatch, function
):
    target = tmp_path / "a.txt"
    files.write_text(target, "good")
    with monkeypatch.context() as patch:
        patch.setattr(os, function, full_disk)
        with pytest.raises(UserError, match=r"a\.txt.*No space.*--model_root"):
            files.write_text(target, "new")
    assert target.read_text() == "good"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_is_a_file_names_the_target(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*target"):
        files.write_text(tmp_path / "file" / "target", "x")


def test_a_killed_writer_leaves_the_previous_file(tmp_path):
    target = tmp_path / "a.bin"
    files.write_bytes(target, b"good")
    script = (
        "import sys, time\n"
        "from simmc import files\n"
        "with files.open_atomic(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); print('writing', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().strip() == "writing"
        process.kill()
        process.wait()
    assert target.read_bytes() == b"good"
    assert len(names(tmp_path)) == 2  # what the killed process could not remove
    files.remove_leftovers(target)
    assert names(tmp_path) == ["a.bin"]


def test_leftovers_of_other_files_stay(tmp_path):
    (tmp_path / ".b[1].bin.12345678.part").write_text("")
    (tmp_path / ".ab.12345678.part").write_text("")
    files.remove_leftovers(tmp_path / "b")
    assert len(names(tmp_path)) == 2
    files.remove_leftovers(tmp_path / "b[1].bin")
    assert names(tmp_path) == [".ab.12345678.part"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    """The size changes from one whole version to the other, whatever a reader's moment."""
    target = tmp_path / "a"
    files.write_bytes(target, b"a" * 10)
    with files.open_atomic(target) as file:
        file.write(b"b" * 20)
        file.flush()
        time.sleep(0)
        assert target.read_bytes() == b"a" * 10
    assert target.read_bytes() == b"b" * 20


def test_json_takes_numpy_and_turns_nan_into_null(tmp_path):
    path = tmp_path / "x.json"
    numbers = {"a": np.float64(0.5), "b": np.int64(3), "c": np.array([1.0, np.nan])}
    files.write_json(path, {**numbers, "d": float("inf"), "e": tmp_path, "f": (1, 2), 4: True})
    expected = {"a": 0.5, "b": 3, "c": [1.0, None], "d": None, "f": [1, 2], "4": True}
    assert json.loads(path.read_text()) == {**expected, "e": str(tmp_path)}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
def test_plain_json_round_trips(value):
    assert json.loads(files.json_text(value)) == value
