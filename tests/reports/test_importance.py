"""The picture of important frames: what it draws, and that nothing covers anything."""

import xml.etree.ElementTree as Xml
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from simmc.data.body_levels import BODY_LEVELS, body_levels
from simmc.data.skeletons import CASIA_14, KGBD_FILE, KINECT_V1, KINECT_V2, Skeleton
from simmc.data.synthetic import walkers
from simmc.reports import importance as picture
from simmc.reports.body_view import level_bones, projected, shown_frames, view

SENSORS = {"KS20": KINECT_V2, "IAS": KINECT_V1, "KGBD": KGBD_FILE, "CASIA_B": CASIA_14}
HEADING = "Hi-MPC on KGBD, probe · GENERATED walkers · released · seed 0"
TEXT = "Importance of each frame at each level (mean over 8 heads), weights of epoch 12. " * 2


def walk(dataset="IAS", length=6):
    """(f, J, 3) of a generated walker, relative to the first joint."""
    frames = walkers.generate(dataset, persons=2, size="tiny")[0].frames[:length]
    return (frames - frames[:, :1]).astype(np.float32)


def window(joints, skeleton=KINECT_V1, levels=BODY_LEVELS, outlier_at=(), seed=0):
    rng = np.random.default_rng(seed)
    points = {k: v[0] for k, v in body_levels(joints[None], skeleton, levels).items()}
    importance = {k: rng.dirichlet(np.ones(len(joints))) for k in levels}
    importance |= {k: np.full(len(joints), np.nan) for k in outlier_at}
    note = f"Outlier at {' and '.join(outlier_at)}: {'not learned from ' * 5}" if outlier_at else ""
    return picture.Window(f"person {seed}, window {1000 * seed}", note, joints, points, importance)


@pytest.mark.parametrize("skeleton", SENSORS.values(), ids=SENSORS)
def test_every_level_is_one_connected_tree(skeleton):
    sizes = {"joint": skeleton.n_joints, "component": 10, "limb": 5}
    for level, size in sizes.items():
        bones = level_bones(level, skeleton).tolist()
        assert len(bones) == size - 1
        reached = {bones[0][0]}
        for _ in bones:
            reached |= {end for bone in bones if reached & set(bone) for end in bone}
        assert len(reached) == size


def test_bones_of_parts_by_name():
    names = [name for name, _ in KINECT_V1.components]
    bones = {tuple(names[i] for i in pair) for pair in level_bones("component", KINECT_V1)}
    assert ("left_upper_arm", "left_lower_arm") in bones
    assert ("torso", "right_upper_leg") in bones


def test_a_skeleton_without_bones_is_drawn_as_points():
    own = Skeleton("mine", ("head", "hand", "foot"), "head", (), (), ())
    for level in BODY_LEVELS:
        assert level_bones(level, own).shape == (0, 2)


def test_all_frames_of_short_windows_and_some_of_long_ones():
    for length in (1, 4, 6, 8, 10, 12):
        assert shown_frames(length).tolist() == list(range(length))
    assert shown_frames(40).tolist() == [2, 7, 12, 17, 22, 27, 32, 37]
    for length in (13, 50, 60, 999):
        frames = shown_frames(length)
        assert 5 <= len(frames) <= 8
        assert len(set(np.diff(frames))) == 1
        assert 0 <= frames[0] < frames[-1] < length


@pytest.mark.parametrize(("dataset", "skeleton"), SENSORS.items())
def test_the_widest_view_with_the_head_up(dataset, skeleton):
    joints = walk(dataset)
    for turned in (joints, joints * [1, -1, 1]):
        seen = turned @ view(turned, skeleton)
        head = [i for i, name in enumerate(skeleton.joints) if name in ("head", "nose")]
        feet = [i for i, name in enumerate(skeleton.joints) if name.endswith("ankle")]
        assert (seen[:, head, 1].min() > seen[:, feet, 1].max()).all()
        angles = np.linspace(0, np.pi, 60)
        sides = np.stack([np.cos(angles), 0 * angles, np.sin(angles)])
        widths = [spread(turned @ side) for side in sides.T]
        assert spread(seen[..., 0]) >= max(widths) * (1 - 1e-6)


def spread(x):
    """Variance of joints (f, J) about the middle of their frame."""
    return np.var(x - x.mean(axis=1, keepdims=True))


def test_all_levels_are_moved_alike():
    joints = walk()
    sets = projected({"body": joints, "limb": joints[:, 3:4]}, KINECT_V1)
    np.testing.assert_allclose(sets["limb"], sets["body"][:, 3:4], atol=1e-6)
    assert sets["body"][..., 1].min() == pytest.approx(0, abs=1e-6)
    assert sets["body"][..., 0].max() == pytest.approx(-sets["body"][..., 0].min(), abs=1e-6)


def test_the_numbers_as_csv():
    importance = {"joint": np.array([[0.25, 0.75]]), "limb": np.array([[np.nan, np.nan]])}
    clusters = {"joint": np.array([7]), "limb": np.array([-1])}
    text = picture.as_csv(np.array([12]), np.array([140]), clusters, importance)
    assert text.splitlines() == [
        "window,person,level,cluster,frame,importance",
        "12,140,joint,7,1,0.25",
        "12,140,joint,7,2,0.75",
        "12,140,limb,-1,1,",
        "12,140,limb,-1,2,",
    ]


@pytest.fixture
def plotting():
    return pytest.importorskip("matplotlib")


def texts(figure):
    """Every text that is seen, with its box in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    FigureCanvasAgg(figure).draw()
    found = [(one.get_text(), one.get_window_extent()) for one in figure.findobj(Text)]
    # what is not drawn, such as ticks of an axis that is off, has a box of one pixel or none
    return [(text, box) for text, box in found if text.strip() and box.width > 1]


def default():
    return [window(walk(), seed=i) for i in range(3)], KINECT_V1


def outliers():
    return [window(walk(), outlier_at=BODY_LEVELS[:i], seed=i) for i in range(4)], KINECT_V1


def long():
    return [window(walk("CASIA_B", 40), CASIA_14, seed=i) for i in range(3)], CASIA_14


def alone():
    return [window(walk(length=1), levels=("limb",))], KINECT_V1


def no_importance():
    return [window(walk(length=4), levels=("joint",), outlier_at=("joint",))], KINECT_V1


def twelve():
    return [window(walk(length=12), seed=i) for i in range(2)], KINECT_V1


def lost_hand():
    joints = walk()
    joints[2, KINECT_V1.index("left_hand")] += 3
    return [window(joints), window(walk(), seed=1)], KINECT_V1


@pytest.mark.parametrize("case", [default, outliers, long, alone, no_importance, twelve, lost_hand])
def test_texts_lie_inside_and_on_no_other_text(case, plotting):
    windows, skeleton = case()
    figure = picture._figure(windows, skeleton, HEADING, TEXT)
    boxes = texts(figure)
    assert {HEADING, "frame", windows[0].title, *windows[0].points} <= {name for name, _ in boxes}
    for name, box in boxes:
        assert min(box.x0, box.y0) >= 0, name
        assert box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, name
    for (a, one), (b, other) in combinations(boxes, 2):
        assert not one.overlaps(other), (a, b)
    for axes in figure.axes[: len(windows) * len(windows[0].points)]:
        for line in axes.lines:
            for x, y in axes.transData.transform(line.get_xydata()):
                assert not any(box.contains(x, y) for _, box in boxes)


def test_skeletons_stay_in_their_place_and_keep_their_shape(plotting):
    from matplotlib.collections import LineCollection

    windows, skeleton = lost_hand()
    figure = picture._figure(windows, skeleton, HEADING, TEXT)
    for axes in figure.axes[:-1]:
        assert axes.get_aspect() == 1
        for lines in axes.findobj(LineCollection):
            points = np.array(lines.get_segments())
            assert points.min() >= -1e-6
            assert (points.max(axis=(0, 1)) <= (axes.get_xlim()[1], axes.get_ylim()[1])).all()


def test_the_darkest_cell_is_the_most_important_frame(plotting):
    from matplotlib.collections import QuadMesh

    importance = {"joint": np.array([0.1, 0.1, 0.6, 0.1, 0.05, 0.05])}
    one = replace(window(walk(), levels=("joint",)), importance=importance)
    figure = picture._figure([one], KINECT_V1, HEADING, TEXT)
    (cells, *_) = figure.axes[0].findobj(QuadMesh)
    np.testing.assert_array_equal(cells.get_array().ravel(), importance["joint"])
    light = cells.cmap(cells.norm(cells.get_array().ravel()))[:, :3].sum(1)
    assert light.argmin() == 2
    assert "0.60" in [name for name, _ in texts(figure)]


def test_files_are_named_drawn_and_the_same_again(tmp_path, plotting):
    windows, skeleton = outliers()
    for ending in ("png", "svg"):
        files = [tmp_path / f"{name}.{ending}" for name in ("one", "two")]
        for file in files:
            assert picture.draw(windows, skeleton, HEADING, TEXT, file) == file
        assert files[0].read_bytes() == files[1].read_bytes()
    Xml.parse(tmp_path / "one.svg")
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    for words in ("GENERATED", "outlier: no importance", "component", "person 3, window 3000"):
        assert words in text
