"""Each perturbation against its definition, on sets small enough to see."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simmc.data.experiment.experiment import Sets
from simmc.data.store import StoredSplit
from simmc.data.synthetic.perturbations import ALLOWED, PERTURBATIONS, perturbed
from simmc.errors import UserError


def split(persons=6, recordings=3, windows=20, seed=0):
    """Windows (f = 4, 3 joints) person by person, recording by recording, in the order of time."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(10, 10 + persons), recordings * windows)
    recording = np.repeat(100 * seed + np.arange(persons * recordings), windows)
    x, y, z = rng.normal(size=(3, len(labels), 4, 3))
    return StoredSplit((x, y, z), labels, recording, Path("a set"))


def sets():
    return Sets(split(seed=0), split(seed=1), split(seed=2))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_no_perturbation_changes_nothing():
    given = sets()
    assert perturbed(given, "", rng()) is given


def test_noise_has_its_deviation_everywhere():
    given = sets()
    found = perturbed(given, "noise:0.02", rng())
    for before, after in zip(given, found, strict=True):
        moved = np.stack(after.planes) - np.stack(before.planes)
        assert moved.std() == pytest.approx(0.02, rel=0.03)
        assert abs(moved.mean()) < 0.001
        assert after.labels is before.labels and after.recording is before.recording


def literal_lost(planes, seen):
    """Joint by joint and frame by frame: seen last, else seen first, else the others' mean."""
    out = planes.copy()
    _, n, f, joints = planes.shape
    for w in range(n):
        for j in range(joints):
            ever = [i for i in range(f) if seen[w, i, j]]
            for i in range(f):
                earlier = [k for k in ever if k <= i]
                if ever:
                    out[:, w, i, j] = planes[:, w, earlier[-1] if earlier else ever[0], j]
                else:
                    others = [k for k in range(joints) if seen[w, i, k]]
                    out[:, w, i, j] = planes[:, w, i, others].mean(1) if others else 0
    return out


@pytest.mark.parametrize("share", [0.4, 0.9])
def test_lost_joints_are_filled(share):
    given = sets()
    found = perturbed(given, f"lost:{share}", rng(3))
    draw = rng(3)
    for before, after in zip(given, found, strict=True):
        planes = np.stack(before.planes)
        seen = draw.random(planes.shape[1:]) >= share
        assert seen.mean() == pytest.approx(1 - share, abs=0.03)
        np.testing.assert_allclose(np.stack(after.planes), literal_lost(planes, seen))


def test_one_list_stays_one_list():
    both = split(seed=1)
    for word in ("noise:0.1", "lost:0.2", "strangers"):
        found = perturbed(Sets(split(), both, both), word, rng())
        assert found.probe is found.gallery


def test_every_recording_has_a_camera_of_its_own():
    given = sets()
    found = perturbed(given, "camera:180-10", rng())
    for before, after in zip(given, found, strict=True):
        old, new = np.stack(before.planes, -1), np.stack(after.planes, -1)  # (N, f, J, 3)
        np.testing.assert_allclose((new**2).sum(-1), (old**2).sum(-1))  # turned, not stretched
        matrices = []
        for name in np.unique(before.recording):
            own = before.recording == name
            a, b = old[own].reshape(-1, 3), new[own].reshape(-1, 3)
            matrix, *_ = np.linalg.lstsq(a, b, rcond=None)
            np.testing.assert_allclose(a @ matrix, b, atol=1e-9)  # one camera for all its windows
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(matrix) == pytest.approx(1)  # no mirror
            matrices.append(matrix)
        upright = np.degrees(np.arccos([m[1, 1] for m in matrices]))
        assert 1 < upright.max() <= 10  # the vertical tilts, and no more than asked
        assert len({round(float(m[0, 0]), 6) for m in matrices}) == len(matrices)
        assert after.labels is before.labels and after.recording is before.recording


def test_a_camera_that_only_turns_keeps_the_vertical():
    before = split()
    after = perturbed(Sets(before, split(seed=1), split(seed=2)), "camera:90-0", rng()).train
    np.testing.assert_allclose(after.planes[1], before.planes[1])
    assert np.abs(after.planes[0] - before.planes[0]).max() > 0.1


def test_keep_leaves_whole_recordings():
    given = sets()
    found = perturbed(given, "keep:2", rng()).train
    assert np.unique(found.labels).tolist() == np.unique(given.train.labels).tolist()
    for person in np.unique(found.labels):
        own = Counter(found.recording[found.labels == person].tolist())
        assert list(own.values()) == [20, 20]
    assert len(perturbed(given, "keep:7", rng()).train) == len(given.train)


def test_borrowed_recordings_are_whole_and_stay_in_the_gallery():
    given = sets()
    found = perturbed(given, "borrow:2", rng())
    assert found.gallery is given.gallery and found.probe is given.probe
    own, more = np.split(np.arange(len(found.train)), [len(given.train)])
    np.testing.assert_array_equal(found.train.recording[own], given.train.recording)
    known = {(r, p) for r, p in zip(given.gallery.recording, given.gallery.labels, strict=True)}
    borrowed = Counter(zip(found.train.recording[more], found.train.labels[more], strict=True))
    assert set(borrowed) <= known and set(borrowed.values()) == {20}
    assert set(Counter(person for _, person in borrowed).values()) == {2}
    first = np.flatnonzero(given.gallery.recording == found.train.recording[more[0]])[0]
    for got, kept in zip(found.train.planes, given.gallery.planes, strict=True):
        np.testing.assert_array_equal(got[more[0]], kept[first])


def test_nothing_is_borrowed_from_a_gallery_that_is_the_probe():
    both = split(seed=1)
    with pytest.raises(UserError, match="may not be used in training"):
        perturbed(Sets(split(), both, both), "borrow:1", rng())


def test_pieces_are_runs_of_one_recording():
    given = sets()
    found = perturbed(given, "pieces:3-7", rng()).train
    sizes = []
    for piece in np.unique(found.recording):
        own = np.flatnonzero(found.recording == piece)
        assert (np.diff(own) == 1).all()  # one after the other in time
        (whole,) = np.unique(given.train.recording[own])
        last = own[-1] + 1 == len(found) or given.train.recording[own[-1] + 1] != whole
        assert len(own) <= 7 and (len(own) >= 3 or last)
        sizes.append(len(own))
    assert {3, 7} <= set(sizes)
    assert np.array_equal(found.labels, given.train.labels)


def test_pieces_take_no_number_that_a_recording_has():
    given = sets()
    made = set(perturbed(given, "pieces:3-7", rng()).train.recording.tolist())
    for other in given:
        assert not made & set(other.recording.tolist())


def test_pieces_of_recordings_that_are_not_contiguous():
    """Dense layouts store every recording once for each offset."""
    given = split()
    order = np.argsort(np.arange(len(given)) % 20, kind="stable")
    found = perturbed(Sets(given.take(order), split(), split()), "pieces:2-4", rng()).train
    for piece in np.unique(found.recording):
        own = np.flatnonzero(found.recording == piece)
        assert len(np.unique(given.recording[order[own]])) == 1


def test_mixed_recordings_hold_two_persons():
    given = sets()
    found = perturbed(given, "mixed:0.5", rng()).train
    swapped = 0
    for name in np.unique(found.recording):
        own = found.recording == name
        persons = Counter(found.labels[own].tolist())
        assert list(persons.values()) in ([20], [10, 10])
        swapped += len(persons) - 1
    assert 6 <= swapped <= 8  # 18 recordings, 4 pairs; pairs of one person stay
    assert np.array_equal(np.unique(found.recording), np.unique(given.train.recording))


def test_of_an_odd_number_of_recordings_one_stays():
    given = sets()
    odd = given._replace(train=given.train.take(given.train.recording > 0))
    found = perturbed(odd, "mixed:1", rng()).train
    swapped = {
        int(name) for name in np.unique(found.recording[found.recording != odd.train.recording])
    }
    assert 0 < len(swapped) <= 16 and len(np.unique(found.recording)) == 17


def timed():
    """The sets with a time for every recording: its number, and one second more."""
    return Sets(
        *(
            replace(part, times=np.stack([part.recording, part.recording + 1.0], 1))
            for part in sets()
        )
    )


@pytest.mark.parametrize(
    "text", ["keep:2", "borrow:1", "mixed:0.5", "strangers", "leak", "noise:0.1"]
)
def test_a_recording_keeps_its_times(text):
    for found in perturbed(timed(), text, rng()):
        np.testing.assert_array_equal(found.times[:, 0], found.recording)
        np.testing.assert_array_equal(found.times[:, 1], found.recording + 1)


def test_pieces_have_no_times():
    found = perturbed(timed(), "pieces:3-7+borrow:1", rng()).train
    borrowed = len(found) - len(split())
    assert borrowed and np.isnan(found.times[:-borrowed]).all()
    np.testing.assert_array_equal(found.times[-borrowed:, 0], found.recording[-borrowed:])
    unknown = Sets(split(seed=0), *timed()[1:])
    assert perturbed(unknown, "borrow:1", rng()).train.times is None


def test_strangers_share_nobody():
    found = perturbed(sets(), "strangers", rng())
    known, asked = set(found.train.labels.tolist()), set(found.probe.labels.tolist())
    assert len(known) == len(asked) == 3 and not known & asked
    assert set(found.gallery.labels.tolist()) == asked


def test_a_leak_divides_windows_and_not_recordings():
    given = sets()
    found = perturbed(given, "leak", rng())
    assert [len(part) for part in found] == [len(part) for part in given]
    rows = [np.column_stack([part.labels, part.recording, part.planes[0][:, 0]]) for part in found]
    before = [np.column_stack([p.labels, p.recording, p.planes[0][:, 0]]) for p in given]
    together = [np.concatenate(parts) for parts in (rows, before)]
    one, other = (part[np.lexsort(part.T)] for part in together)
    np.testing.assert_array_equal(one, other)  # every window once
    for part in found:  # of (almost) every recording some windows are in every set
        assert len(np.unique(part.recording)) > 0.9 * 3 * 6 * 3
    same = perturbed(Sets(given.train, given.probe, given.probe), "leak", rng())
    assert same.same_windows and [len(part) for part in same] == [len(part) for part in given]


def test_several_at_once_and_the_seed_decides():
    one, same, other = (
        perturbed(sets(), "keep:1+pieces:5-5+noise:0.1", rng(seed)).train for seed in (1, 1, 2)
    )
    assert len(np.unique(one.recording)) == 6 * 4
    assert np.array_equal(one.planes[0], same.planes[0])
    assert not np.array_equal(one.planes[0], other.planes[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rain", "allowed: noise:METRES"),
        ("noise", "a number from 0 to 10"),
        ("noise:wet", "noise:wet"),
        ("lost:1.5", "from 0 to 1"),
        ("keep:0", "a whole number from 1"),
        ("keep:1.5", "a whole number"),
        ("pieces:7-3", "pieces:5-50"),
        ("pieces:3", "pieces:5-50"),
        ("camera:90", "camera:180-10"),
        ("strangers:2", "takes no value"),
        ("leak:0.2", "takes no value"),
    ],
)
def test_invalid_values(text, message):
    with pytest.raises(UserError, match=message):
        perturbed(sets(), text, rng())


@pytest.mark.parametrize("text", ["keep:1", "borrow:1", "pieces:2-3", "mixed:0.1"])
def test_recordings_have_to_be_known(text):
    train, probe, gallery = (replace(part, recording=None) for part in sets())
    with pytest.raises(UserError, match="a set"):
        perturbed(Sets(train, probe, gallery), text, rng())


@pytest.mark.parametrize("text", ["noise:0.1", "lost:0.1"])
def test_joints_are_needed_to_move_them(text):
    plain = split()
    features = replace(plain, features=np.zeros((len(plain), 4, 8)))
    with pytest.raises(UserError, match="source model"):
        perturbed(Sets(features, features, features), text, rng())


def test_every_difficulty_is_named_in_the_help():
    assert all(name in ALLOWED for name in PERTURBATIONS)
