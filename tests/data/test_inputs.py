import math

import numpy as np
import pytest

from simmc.data.experiment import inputs
from simmc.data.experiment.experiment import Experiment, Split
from simmc.data.skeletons import CASIA_14, KINECT_V1, KINECT_V2, SKELETONS, Skeleton
from simmc.data.synthetic import walkers
from simmc.errors import UserError

SENSORS = [KINECT_V1, KINECT_V2, CASIA_14]
SETS = {"Kinect v1": "IAS", "Kinect v2": "KS20", "CASIA-B 14": "CASIA_B"}


def walked(skeleton: Skeleton, count: int = 5, length: int = 6) -> np.ndarray:
    """Windows (count, length, J, 3) of synthetic walkers, relative to the root."""
    recordings = walkers.generate(SETS[skeleton.name], 2, 0, "tiny")
    windows = np.stack([r.frames[:length] for r in recordings[:count]])
    root = skeleton.index(skeleton.root)
    return windows - windows[:, :, [root]]


def rotated(windows: np.ndarray, angle: float) -> np.ndarray:
    """Windows turned about the vertical, point by point."""
    found = windows.copy()
    found[..., 0] = windows[..., 0] * math.cos(angle) - windows[..., 2] * math.sin(angle)
    found[..., 2] = windows[..., 0] * math.sin(angle) + windows[..., 2] * math.cos(angle)
    return found


@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
@pytest.mark.parametrize("angle", [0.7, math.pi, -2.5])
def test_turning_takes_the_direction_out(skeleton, angle):
    windows = walked(skeleton)
    turned = inputs.turn(windows, skeleton)
    again = inputs.turn(rotated(windows, angle), skeleton)
    np.testing.assert_allclose(again, turned, atol=1e-9)
    # it is a turn about the vertical: heights and distances stay
    np.testing.assert_array_equal(turned[..., 1], windows[..., 1])
    np.testing.assert_allclose(
        inputs.distances(turned, skeleton), inputs.distances(windows, skeleton), atol=1e-9
    )


@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
def test_turned_bodies_have_their_left_at_positive_x(skeleton):
    turned = inputs.turn(walked(skeleton), skeleton)
    for left, right in inputs.ACROSS:
        across = turned[:, :, skeleton.index(left)] - turned[:, :, skeleton.index(right)]
        assert (np.median(across[..., 0], axis=1) > 0).all()
        assert (abs(np.median(across[..., 2], axis=1)) < 0.35 * abs(across[..., 0]).max()).all()


def test_lost_frames_do_not_turn_a_window():
    windows = walked(KINECT_V1)
    straight = inputs.heading(windows, KINECT_V1)
    spoilt = windows.copy()
    lost = KINECT_V1.indices(["left_shoulder", "right_shoulder"])
    swapped = spoilt[:, :2, lost[::-1]]  # two of six frames take the back for the front
    spoilt[:, :2, lost] = swapped
    spoilt[:, 3, lost[0]] = [5.0, 0.0, -5.0]  # and one has a joint at the other end of the room
    difference = inputs.heading(spoilt, KINECT_V1) - straight
    assert (abs(np.angle(np.exp(1j * difference))) < 0.25).all()


SHOULDERS = Skeleton("shoulders", ("left_shoulder", "right_shoulder"), "right_shoulder", (), (), ())


def tilted(windows: np.ndarray, degrees: float) -> np.ndarray:
    """Windows as a camera tilted about the x axis sees them, point by point."""
    angle, found = math.radians(degrees), windows.copy()
    found[..., 1] = windows[..., 1] * math.cos(angle) - windows[..., 2] * math.sin(angle)
    found[..., 2] = windows[..., 1] * math.sin(angle) + windows[..., 2] * math.cos(angle)
    return found


def trunks(windows: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(N, 3) from the middle of the hips to the middle of the shoulders, mean over the frames."""
    ends = [
        [windows[:, :, skeleton.index(f"{side}_{name}")].mean(1) for side in ("left", "right")]
        for name in ("hip", "shoulder")
    ]
    hips, shoulders = np.array(ends).mean(1)
    return shoulders - hips


@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
@pytest.mark.parametrize("degrees", [0.5, -10, 80, 178])
def test_levelling_takes_the_tilt_of_the_camera_out(skeleton, degrees):
    windows = walked(skeleton)
    moved = tilted(rotated(windows, 0.7), degrees)
    found = inputs.INPUTS["levelled"](moved, skeleton)
    np.testing.assert_allclose(found, inputs.INPUTS["levelled"](windows, skeleton), atol=1e-9)
    # it is a rotation: distances stay
    np.testing.assert_allclose(
        inputs.distances(inputs.level(moved, skeleton), skeleton),
        inputs.distances(windows, skeleton),
        atol=1e-9,
    )


@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
def test_levelled_trunks_are_vertical(skeleton):
    found = trunks(inputs.level(tilted(walked(skeleton), 8), skeleton), skeleton)
    np.testing.assert_allclose(found[:, [0, 2]], 0, atol=1e-9)
    assert (found[:, 1] > 0).all()


def lean_of(degrees, turn=0.0, *, known=True):
    """The sideways lean of a walker, one recording of three equal windows for each tilt."""
    walker = rotated(inputs.turn(walked(KINECT_V1)[:1], KINECT_V1), math.pi / 2)  # across is z
    tilts = [rotated(tilted(walker, angle), turn * i) for i, angle in enumerate(degrees)]
    windows = np.concatenate([tilt for tilt in tilts for _ in range(3)])
    of = np.repeat(np.arange(len(degrees)), 3) if known else None
    split = Split(windows, np.zeros(len(windows), int), of)
    return inputs.sideways_lean(split, KINECT_V1)


def test_sideways_lean_is_the_median_distance_from_the_median():
    """Whatever the direction of walking; a lean that all recordings share is none."""
    assert lean_of([0] * 5) == pytest.approx(0, abs=1e-6)
    assert lean_of([7] * 5, 1.0) == pytest.approx(0, abs=1e-6)
    assert lean_of([-8, -3, 0, 4, 9]) == pytest.approx(4, abs=0.1)
    assert lean_of([-8, -3, 0, 4, 9], 1.0) == pytest.approx(lean_of([-8, -3, 0, 4, 9]))


def test_sideways_lean_counts_all_windows(monkeypatch):
    """Whatever the pieces in which they are read."""
    whole = lean_of([-8, -3, 0, 4, 9])
    monkeypatch.setattr(inputs, "_CHUNK", 2)
    assert lean_of([-8, -3, 0, 4, 9]) == whole


def test_no_lean_where_it_cannot_be_told():
    """Unknown recordings, poses in a plane, no windows, no hips."""
    assert lean_of([-8, 9], known=False) is None
    windows, of = walked(KINECT_V1), np.arange(5)
    flat = windows * np.array([1.0, 1.0, 0.0])
    for one in (flat, windows[:0]):
        assert inputs.sideways_lean(Split(one, of[: len(one)], of[: len(one)]), KINECT_V1) is None
    assert inputs.sideways_lean(Split(windows[:, :, :2], of, of), SHOULDERS) is None


def test_levelling_uses_one_matrix_for_a_window():
    windows = tilted(walked(KINECT_V1), 8)
    found = inputs.level(windows, KINECT_V1)
    for before, after in zip(windows, found, strict=True):
        np.testing.assert_allclose(  # so all angles between points of different frames stay
            after.reshape(-1, 3) @ after.reshape(-1, 3).T,
            before.reshape(-1, 3) @ before.reshape(-1, 3).T,
            atol=1e-9,
        )


def test_a_body_without_a_trunk_is_not_levelled():
    windows = np.zeros((2, 3, 20, 3))
    assert (inputs.level(windows, KINECT_V1) == 0).all()
    windows[..., KINECT_V1.index("head"), 0] = 1.0
    np.testing.assert_array_equal(inputs.level(windows, KINECT_V1), windows)


def lines(*ends: tuple[float, float]) -> np.ndarray:
    """A window (1, f, 2, 3) with one line across the body a frame, from 0 to (x, z)."""
    windows = np.zeros((1, len(ends), 2, 3))
    windows[0, :, 0, 0], windows[0, :, 0, 2] = np.array(ends).T
    return windows


def at(*degrees: float, length: float = 0.3) -> list[tuple[float, float]]:
    angles = np.radians(degrees)
    return [(length * math.cos(a), length * math.sin(a)) for a in angles]


@pytest.mark.parametrize(
    ("degrees", "counted"),
    [
        ([10, 20, 30, 180, 190], [10, 20, 30]),  # back for front, twice in five
        ([0, 0, 0, 44, -44], [0, 0, 0, 44, -44]),
        ([0, 0, 0, 44, 46, -46], [0, 0, 0, 44]),  # 45 degrees from the medoid is the limit
        ([100, 130, 150, 80, 60, 5], [100, 130, 80, 60]),  # from the medoid, 100, not the mean
        ([-170, 170, 175, 20], [-170, 170, 175]),  # across the cut of the angles
    ],
)
def test_heading_is_the_mean_of_the_lines_within_45_degrees_of_their_medoid(degrees, counted):
    found = inputs.heading(lines(*at(*degrees)), SHOULDERS)
    expected = np.angle(np.exp(1j * np.radians(counted)).sum())
    assert found == pytest.approx([expected])


def test_a_line_in_another_direction_never_decides_whatever_rounding_makes_of_it():
    """The product of a unit vector with itself may exceed 1, which has no angle."""
    for degrees in range(360):
        back = degrees + 180
        found = inputs.heading(lines(*at(degrees, back - 5, back, back + 5)), SHOULDERS)
        assert np.cos(found - math.radians(back)) == pytest.approx([1.0])


def test_bones_of_no_length_have_no_angle():
    chain = Skeleton("chain", ("a", "b", "c"), "a", (("a", "b"), ("b", "c")), (), ())
    windows = np.zeros((1, 1, 3, 3))
    windows[..., 2, 0] = 1.0  # a and b are one point
    assert (inputs.angles(windows, chain) == 0).all()


def test_long_lines_count_no_more_than_short_ones():
    found = inputs.heading(lines(*at(0, 0, length=0.1), *at(40, length=2.0)), SHOULDERS)
    assert found == pytest.approx(inputs.heading(lines(*at(0, 0, 40)), SHOULDERS))


def test_a_line_of_no_length_has_no_say():
    """Front and back once each: the first seen wins, whatever was lost before it."""
    ends = [(0.0, 0.3), (0.0, -0.3)]
    for lost in (0, 1, 3):
        found = inputs.heading(lines(*[(0.0, 0.0)] * lost, *ends), SHOULDERS)
        assert found == pytest.approx([math.pi / 2])


def test_no_line_across_the_body_is_no_turn():
    windows = np.zeros((2, 3, 20, 3))
    assert (inputs.heading(windows, KINECT_V1) == 0).all()
    assert (inputs.turn(windows, KINECT_V1) == 0).all()


@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
@pytest.mark.parametrize("name", ["bones", "distances", "angles"])
def test_measures_know_neither_place_nor_direction(skeleton, name):
    windows = walked(skeleton)
    found = inputs.INPUTS[name](windows, skeleton)
    moved = rotated(windows, 1.1) + np.array([2.0, 0.3, -1.0])
    np.testing.assert_allclose(inputs.INPUTS[name](moved, skeleton), found, atol=1e-9)


@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
def test_measures_by_hand(skeleton):
    windows = walked(skeleton, 1, 2)
    frame = windows[0, 1]

    def gap(a: str, b: str) -> float:
        return math.dist(frame[skeleton.index(a)], frame[skeleton.index(b)])

    bones = inputs.bone_lengths(windows, skeleton)[0, 1]
    assert bones == pytest.approx([gap(a, b) for a, b in skeleton.edges])
    pairs = [(a, b) for i, a in enumerate(skeleton.joints) for b in skeleton.joints[i + 1 :]]
    distances = inputs.distances(windows, skeleton)[0, 1]
    assert distances == pytest.approx([gap(a, b) for a, b in pairs])
    expected = []
    for joint in skeleton.joints:
        far = [b if a == joint else a for a, b in skeleton.edges if joint in (a, b)]
        far.sort(key=skeleton.index)
        for i, a in enumerate(far):
            for b in far[i + 1 :]:
                legs = gap(joint, a) ** 2 + gap(joint, b) ** 2 - gap(a, b) ** 2
                expected.append(legs / (2 * gap(joint, a) * gap(joint, b)))  # law of cosines
    assert inputs.angles(windows, skeleton)[0, 1] == pytest.approx(expected, abs=1e-9)


def test_motion_is_the_step_to_the_next_frame():
    windows = walked(KINECT_V1)
    turned = inputs.turn(windows, KINECT_V1)
    found = inputs.motion(windows, KINECT_V1).reshape(windows.shape)
    np.testing.assert_allclose(found[:, :-1], turned[:, 1:] - turned[:, :-1])
    np.testing.assert_array_equal(found[:, -1], found[:, -2])
    still = inputs.motion(windows[:, :1], KINECT_V1)
    assert still.shape == (5, 1, 60) and (still == 0).all()


def test_inputs_are_concatenated():
    windows = walked(KINECT_V1).astype(np.float32)
    found = inputs.frames(windows, KINECT_V1, ("turned", "distances", "bones"))
    assert found.shape == (5, 6, 60 + 190 + 19) and found.dtype == np.float32
    np.testing.assert_allclose(
        found[..., :60], inputs.turn(windows, KINECT_V1).reshape(5, 6, 60), atol=1e-6
    )
    plain = inputs.frames(windows, KINECT_V1, ("joints",))
    np.testing.assert_array_equal(plain, windows.reshape(5, 6, 60))


@pytest.mark.parametrize("names", [("joints",), ("turned", "bones"), ("distances", "motion")])
def test_width_is_that_of_the_frames(names):
    windows = walked(KINECT_V1).astype(np.float32)
    found = inputs.frames(windows, KINECT_V1, names)
    assert inputs.width(KINECT_V1, names) == found.shape[2]


def test_blocks_of_windows_do_not_matter(monkeypatch):
    windows = walked(KINECT_V1).astype(np.float32)
    whole = inputs.frames(windows, KINECT_V1, ("turned", "angles"))
    monkeypatch.setattr(inputs, "_CHUNK", 2)
    np.testing.assert_array_equal(inputs.frames(windows, KINECT_V1, ("turned", "angles")), whole)


@pytest.mark.parametrize("name", SKELETONS)
def test_every_sensor_has_every_input(name):
    skeleton = SKELETONS[name]
    windows = np.random.default_rng(0).normal(size=(3, 4, skeleton.n_joints, 3))
    for one in inputs.INPUTS:
        found = inputs.frames(windows.astype(np.float32), skeleton, (one,))
        assert found.shape[:2] == (3, 4) and np.isfinite(found).all()


def test_texts():
    assert inputs.parts_of("joints") == ("joints",)
    assert inputs.parts_of("Turned + distances") == ("turned", "distances")
    assert inputs.parts_of("+".join(inputs.INPUTS)) == tuple(inputs.INPUTS)
    for wrong in ("", "turned+", "speed", "turned+turned"):
        with pytest.raises(UserError, match="--input"):
            inputs.parts_of(wrong)


def test_skeletons_without_the_joints_or_bones():
    mine = Skeleton("mine", ("hip", "head"), "hip", (), (), ())
    windows = np.zeros((1, 2, 2, 3), np.float32)
    with pytest.raises(UserError, match="left_shoulder and right_shoulder"):
        inputs.frames(windows, mine, ("turned",))
    with pytest.raises(UserError, match="left_shoulder, right_shoulder, left_hip, right_hip"):
        inputs.frames(windows, mine, ("levelled",))
    for name in ("bones", "angles"):
        with pytest.raises(UserError, match="needs bones"):
            inputs.frames(windows, mine, (name,))
    assert inputs.frames(windows, mine, ("distances",)).shape == (1, 2, 1)


def experiment(factor: float = 1.0) -> Experiment:
    """Training windows, probes and a gallery of synthetic walkers, scaled by a factor."""
    windows = (factor * walked(KINECT_V1, 6)).astype(np.float32)
    splits = [Split(part, np.arange(2), None) for part in np.split(windows, 3)]
    return Experiment(*splits, [0, 1], [0, 1], False, KINECT_V1, [], None)


def test_joints_stay_as_they_are():
    data = experiment()
    assert inputs.described(data, ("joints",), 0.3) is data
    assert not inputs.is_measured(("joints",)) and not inputs.is_measured(["turned"])
    assert inputs.is_measured(("bones",)) and inputs.is_measured(("joints", "turned"))


@pytest.mark.parametrize("name", ["turned", "levelled"])
def test_turned_and_levelled_joints_stay_in_metres(name):
    data = experiment()
    for like in (None, experiment(3.0)):
        found = inputs.described(data, (name,), 0.3, like)
        for role in ("train", "probe", "gallery"):
            expected = windows = getattr(data, role).windows.astype(np.float64)
            if name == "levelled":
                expected = inputs.level(windows, KINECT_V1)
            expected = inputs.turn(expected, KINECT_V1).astype(np.float32)
            np.testing.assert_array_equal(getattr(found, role).windows, expected)


@pytest.mark.parametrize("like", [None, experiment(3.0)], ids=["own", "another"])
def test_measures_have_the_scale_of_the_training_frames_or_of_another_training(like):
    data = experiment()
    found = inputs.described(data, ("distances",), 0.3, like)
    frames = inputs.distances((like or data).train.windows, KINECT_V1).reshape(-1, 190)
    mean, spread = frames.mean(0), frames.std(0)
    for role in ("train", "probe", "gallery"):
        raw = inputs.distances(getattr(data, role).windows, KINECT_V1)
        expected = np.where(spread > 1e-5, (raw - mean) * 0.3 / np.maximum(spread, 1e-5), 0)
        np.testing.assert_allclose(getattr(found, role).windows, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("skeleton", SENSORS, ids=lambda s: s.name)
def test_the_automatic_input_does_not_depend_on_the_view(skeleton):
    wanted = ("turned", "bones", "distances")
    names = inputs.parts_of(inputs.without_view(skeleton, wanted))
    assert names == wanted
    windows = walked(skeleton)
    frames = [inputs.frames(w, skeleton, names) for w in (windows, rotated(windows, 1.1))]
    np.testing.assert_allclose(*frames, atol=1e-5)


def test_the_automatic_input_is_what_the_skeleton_has():
    bare = Skeleton("points", ("a", "b"), "a")
    wanted = ("turned", "bones", "distances")
    assert inputs.without_view(bare, wanted) == "distances"
    assert inputs.without_view(bare, wanted[:2]) == "joints"
