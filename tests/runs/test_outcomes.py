import io

import numpy as np
import pytest

from simmc.errors import UserError
from simmc.evaluation.ranking import Retrieval
from simmc.runs.records import ProbeOutcomes

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


def saved(array, save=np.save):
    buffer = io.BytesIO()
    save(buffer, **array) if save is np.savez else save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        saved({"identity": np.array([{}, None], object)}, np.savez),  # a pickle
        saved({"features": np.arange(3)}, np.savez),
        saved(np.arange(3)),
    ],
)
def test_a_damaged_file_is_the_users_error(content, tmp_path):
    file = tmp_path / "probes_paper.npz"
    ProbeOutcomes.of(FOUND, np.arange(3)).write(file)
    whole = file.read_bytes()
    for bad in (content, whole[: len(whole) // 2], None):
        file.unlink() if bad is None else file.write_bytes(bad)
        with pytest.raises(UserError, match=r"probes_paper\.npz.*--mode Eval"):
            ProbeOutcomes.read(file)
