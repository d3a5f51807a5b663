import numpy as np
import pytest

from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval
from simmc.runs.outcomes import ProbeOutcomes

FOUND = Retrieval(np.array([1, 0, 3]), np.array([0.5, np.nan, 0.25]), np.array([0.5, np.nan, 0.1]))


def same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        if values is None:
            assert other[name] is None
        else:
            assert values.dtype == other[name].dtype
            np.testing.assert_array_equal(values, other[name])


@pytest.mark.parametrize("recording", [None, [5, 5, 9]])
def test_what_is_written_is_read(recording, tmp_path):
    made = ProbeOutcomes.of(FOUND, np.array([7, 7, 8]), recording)
    file = tmp_path / "probes_paper.npz"
    made.write(file)
    first = file.read_bytes()
    found = ProbeOutcomes.read(file)
    same(vars(made), vars(found))
    assert (found.first_match_rank.dtype, found.identity.dtype) == (np.int32, np.int64)
    found.write(file)
    assert file.read_bytes() == first
    with np.load(file) as arrays:
        assert ("recording" in arrays) == (recording is not None)


def test_mean_of_what_is_kept_is_the_map():
    found = Retrieval(FOUND.first_match_rank, np.array([1.0, 0.5, 0.25]), np.ones(3), left_out=1)
    kept = ProbeOutcomes.of(found, np.arange(3))
    assert np.nanmean(kept.average_precision) == found.map
    assert found.average_precision[0] == 1  # what was retrieved stays as it was


def test_arrays_of_different_lengths():
    with pytest.raises(ValueError, match="for 2 probes"):
        ProbeOutcomes.of(FOUND, np.arange(2))


@pytest.mark.parametrize("damage", ["torn", "text", "pickle", "array", "other", "empty", "missing"])
def test_a_damaged_file_is_the_users_error(damage, tmp_path):
    file = tmp_path / "probes_paper.npz"
    ProbeOutcomes.of(FOUND, np.arange(3)).write(file)
    content = file.read_bytes()
    if damage == "torn":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        file.write_text("hello")
    elif damage == "pickle":
        np.savez(file, identity=np.array([{}, None], object))
    elif damage == "array":
        with file.open("wb") as out:
            np.save(out, np.arange(3))
    elif damage == "other":
        np.savez(file, features=np.arange(3))
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
    with pytest.raises(UserError, match=r"probes_paper\.npz.*--mode Eval"):
        ProbeOutcomes.read(file)
