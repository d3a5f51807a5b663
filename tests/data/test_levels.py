import numpy as np
import pytest

from simmc.data.body_levels import BODY_LEVELS, body_levels
from simmc.data.skeletons import CASIA_14, KINECT_V1, KINECT_V2

# docs/data.md 3.2, as printed
TABLE = {
    20: (
        "12,13 14,15 16,17 18,19 0,1 2,3 4,5 6,7 8,9 10,11",
        "12,13,14,15 16,17,18,19 0,1,2,3 4,5,6,7 8,9,10,11",
    ),
    25: (
        "12,13 14,15 16,17 18,19 0,1 2,3,20 4,5 6,7,21,22 8,9 10,11,23,24",
        "12,13,14,15 16,17,18,19 0,1,2,3,20 4,5,6,7,21,22 8,9,10,11,23,24",
    ),
    14: ("11 12,13 8 9,10 1 0 5 6,7 2 3,4", "11,12,13 8,9,10 0,1 5,6,7 2,3,4"),
}


def generated(n_joints: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((3, 4, n_joints, 3)).astype(np.float32)


def by_hand(windows: np.ndarray, printed: str) -> np.ndarray:
    """Means over the printed joints, frame by frame, in float64."""
    parts = [[int(j) for j in part.split(",")] for part in printed.split()]
    found = np.zeros((*windows.shape[:2], len(parts), 3))
    for n, window in enumerate(windows):
        for t, frame in enumerate(window):
            for place, joints in enumerate(parts):
                found[n, t, place] = sum(frame[j].astype(np.float64) for j in joints) / len(joints)
    return found


@pytest.mark.parametrize("skeleton", [KINECT_V1, KINECT_V2, CASIA_14], ids=lambda s: s.name)
def test_parts_are_the_means_of_the_printed_joints(skeleton):
    windows = generated(skeleton.n_joints)
    found = body_levels(windows, skeleton)
    assert tuple(found) == BODY_LEVELS
    assert found["joint"] is windows
    for level, printed in zip(("component", "limb"), TABLE[skeleton.n_joints], strict=True):
        part = found[level]  # type: ignore[index]
        assert part.dtype == np.float32
        np.testing.assert_array_equal(part, by_hand(windows, printed).astype(np.float32))


def test_only_the_levels_asked_for_in_their_order():
    windows = generated(20)
    found = body_levels(windows, KINECT_V1, ("limb", "joint"))
    assert [(level, part.shape) for level, part in found.items()] == [
        ("limb", (3, 4, 5, 3)),
        ("joint", (3, 4, 20, 3)),
    ]


def test_another_sensor_than_that_of_the_windows_is_refused():
    with pytest.raises(ValueError, match=r"\(N, f, 25, 3\) for Kinect v2, not \(3, 4, 20, 3\)"):
        body_levels(generated(20), KINECT_V2)
