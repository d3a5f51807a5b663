"""What `simmc look` finds: each fault alone, and nothing on data that are as they should be."""

import json

import numpy as np
import pytest

from simmc.data import preprocess, specs, store
from simmc.data.bodies import frames_of, in_time, measure, open_set, plain_name
from simmc.data.body_lengths import nanmedian
from simmc.data.findings import Summary
from simmc.data.skeletons import KINECT_V1, Skeleton
from simmc.data.store import write_dataset
from simmc.data.synthetic import walkers
from simmc.data.windows import windows_of
from simmc.errors import UserError
from simmc.reports import look

BODY = specs.get("KGBD").skeleton
SPLITS = ("train", "gallery", "probe")


@pytest.fixture(scope="module")
def clean():
    """(person, frames (T, 20, 3)) of 30 recordings of six synthetic walkers."""
    found = walkers.generate("KGBD", 6, 0, "small")
    return [(recording.identity, recording.frames) for recording in found]


def write(root, recordings, skeleton=BODY, **options):
    """A custom set, recordings dealt to three splits in turn; its folder."""
    sets, numbers = {}, {}
    for turn, split in enumerate(SPLITS):
        own = list(enumerate(recordings))[turn::3]
        cut = [(i, person, windows_of([frames], 6)) for i, (person, frames) in own]
        persons = np.concatenate([np.full(len(w), person) for _, person, w in cut])
        sets[split] = np.concatenate([w for *_, w in cut]), persons
        numbers[split] = np.concatenate([np.full(len(w), i) for i, _, w in cut])
    return write_dataset(root, "Mine", sets, skeleton, recordings=numbers, **options)


def found(folder):
    """(kind, recordings) of every finding."""
    return [(finding.kind, finding.recordings) for finding in look.findings(folder)]


def of_all(change):
    return lambda recordings: [(person, change(frames)) for person, frames in recordings]


def of_one(place, change):
    def changed(recordings):
        person, frames = recordings[place]
        return [*recordings[:place], (person, change(frames)), *recordings[place + 1 :]]

    return changed


def swapped(frames, joints=("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot")):
    order = np.arange(20)
    for joint in joints:
        left, right = BODY.index(f"left_{joint}"), BODY.index(f"right_{joint}")
        order[[left, right]] = right, left
    return frames[:, order]


def unseen(frames):
    frames = frames.copy()
    frames[: int(0.7 * len(frames)), BODY.index("left_hand")] = np.nan
    return frames


def relative_millimetres(frames):
    return 300 * (frames - frames[:, [BODY.index("hip_center")]]) / 0.3 * 0.5


FAULTS = {
    "centimetres": (of_all(lambda f: 100 * f), "unit", ()),
    "one in centimetres": (of_one(3, lambda f: 100 * f), "unit", ("3",)),
    "z up": (of_all(lambda f: f[..., [0, 2, 1]] * [1, -1, 1]), "axes", ()),
    "upside down": (of_all(lambda f: f * [1, -1, -1]), "axes", ()),
    "one lies": (of_one(4, lambda f: f[..., [1, 0, 2]] * [1, -1, 1]), "axes", ("4",)),
    "left is right": (of_all(swapped), "mirror", ()),
    "mirrored": (of_all(lambda f: f * [-1, 1, 1]), "mirror", ()),
    "one mirrored": (of_one(6, swapped), "mirror", ("6",)),
    "arms exchanged": (of_all(lambda f: swapped(f, ("elbow", "wrist", "hand"))), "order", ()),
    "lost": (of_all(unseen), "lost", ()),
    "one lost": (of_one(4, unseen), "lost", ("4",)),
    "copied": (lambda r: [*r, (r[4][0], r[4][1][6:])], "copies", ("30", "4")),
    "copied, shifted": (lambda r: [*r, (r[4][0], r[4][1][3:])], "copies", ("30", "4")),
    "frames doubled": (of_all(lambda f: f[::2].repeat(2, axis=0)), "repeated", None),
    "another body": (of_one(7, lambda f: 0.8 * f), "body", ("7",)),
    "a body that changes": (
        of_one(7, lambda f: np.concatenate([f[:72], 0.8 * f[72:]])),
        "switch",
        ("7",),
    ),
}


def test_nothing_is_found_on_clean_walkers(tmp_path, clean):
    folder = write(tmp_path, clean)
    assert look.findings(folder) == []
    bodies = measure(open_set(folder))
    assert len(bodies.entries) == len(clean)
    assert not bodies.flat and bodies.persons_known and bodies.recordings_known


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_nothing_else(tmp_path, clean, fault):
    change, kind, recordings = FAULTS[fault]
    result = found(write(tmp_path, change(clean)))
    assert {k for k, _ in result} == {kind}
    if recordings is not None:
        assert [set(names) for _, names in result] == [set(recordings)]
    else:
        assert len(result[0][1]) == len(clean)


def test_millimetres_around_a_joint(tmp_path, clean):
    folder = write(tmp_path, of_all(relative_millimetres)(clean), zeros="position")
    (finding,) = look.findings(folder)
    assert finding.kind == "unit"
    assert "1000" in finding.step and "dataset.toml" not in finding.step


def test_a_recording_under_another_name(tmp_path):
    """Of a person who is far from the other: bones of other proportions, in the same unit."""
    made = walkers.generate("KGBD", 12, 1, "small")
    recordings = [(recording.identity, recording.frames) for recording in made]
    assert look.findings(write(tmp_path / "clean", recordings)) == []
    lengths = Summary(measure(open_set(tmp_path / "clean/Mine/6"))).lengths
    names = [e.name for e in measure(open_set(tmp_path / "clean/Mine/6")).entries]
    bones = np.log(lengths[[names.index(str(i)) for i in range(len(recordings))]])
    apart = np.abs(bones[:, None] - bones[None]).mean(-1)
    one, other = np.unravel_index(apart.argmax(), apart.shape)
    recordings[one] = recordings[other][0], recordings[one][1]
    assert found(write(tmp_path / "named", recordings)) == [("body", (str(one),))]


def test_gaps_follow_from_times(tmp_path, clean):
    times = {i: (100.0 * i, 100.0 * i + len(f) / 30) for i, (_, f) in enumerate(clean)}
    assert found(write(tmp_path / "whole", clean, times=times)) == []
    times[5] = 500.0, 500.0 + len(clean[5][1]) / 15
    folder = write(tmp_path / "gap", clean, times=times)
    assert found(folder) == [("gap", ("5",))]
    assert measure(open_set(folder)).rate == pytest.approx(30, rel=0.05)


def test_names_in_the_order_of_another_sensor(tmp_path, clean):
    shuffled = [(p, f[:, BODY.indices(list(KINECT_V1.joints))]) for p, f in clean]
    assert "order" in {kind for kind, _ in found(write(tmp_path, shuffled))}


def test_sets_that_say_little(tmp_path, clean):
    """No recordings, no persons, no known joint names, 2D: fewer rules, no false finding."""
    bare = Skeleton("numbers", tuple(map(str, range(20))), "0")
    assert found(write(tmp_path / "bare", clean, bare)) == []
    nobody = write(tmp_path / "nobody", [(0, frames) for _, frames in clean])
    assert found(nobody) == []
    assert not measure(open_set(nobody)).persons_known
    flat = write(tmp_path / "flat", of_all(lambda f: f * [1, 1, 0])(clean))
    assert measure(open_set(flat)).flat
    assert not {kind for kind, _ in found(flat)} & {"unit", "mirror", "body"}
    folder = write(tmp_path / "runs", clean)
    for path in folder.rglob("recording_*.npy"):
        path.unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {k: v for k, v in manifest["files"].items() if "recording_" not in k}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    bodies = measure(open_set(folder))
    assert not bodies.recordings_known and Summary(bodies).findings == []


@pytest.mark.filterwarnings("error")
def test_the_median_of_nothing():
    assert np.isnan(nanmedian(np.empty((3, 0)))).tolist() == [True] * 3
    assert nanmedian(np.array([[np.nan, 2.0, 4.0]])).tolist() == [3.0]


def test_overlapping_windows_give_each_frame_once(tmp_path):
    """The published training windows start at every frame, most of them twice."""
    made = walkers.generate("IAS", 3, 0, "tiny")
    walkers.write("IAS", tmp_path / "IAS", walkers.walks("IAS", 3, 0, "tiny"))
    preprocess.preprocess(tmp_path, tmp_path / "out", ["IAS"], 6)
    bodies = measure(open_set(tmp_path / "out/IAS/6"))
    named = {recording.name: recording.frames for recording in made}
    training = [entry for entry in bodies.entries if entry.split == "train"]
    assert training and {entry.step for entry in training} == {3}
    for entry in training:
        frames = frames_of(bodies.stored, entry)
        assert len(frames) == entry.frames
        np.testing.assert_allclose(frames, named[entry.name][10 : 10 + len(frames)], atol=1e-9)
        assert len(named[entry.name]) - 10 - len(frames) < 3


def test_windows_in_time():
    frames = np.arange(20, dtype=np.uint64)
    starts = [0, 2, 4, 6, 1, 3, 5]
    rows, step = in_time(np.stack([frames[start : start + 4] for start in starts]))
    assert rows.tolist() == [0, 1, 2, 3] and step == 2
    rows, step = in_time(frames.reshape(5, 4))
    assert rows.tolist() == [0, 1, 2, 3, 4] and step == 4


@pytest.mark.parametrize(
    ("joint", "plain"),
    [
        ("LeftKnee", "left_knee"),
        ("l_knee", "left_knee"),
        ("knee-R", "right_knee"),
        ("mixamorig:RightFoot", "right_foot"),
        ("hip_center", "hip_center"),
        ("Head", "head"),
    ],
)
def test_joint_names_of_other_programs(joint, plain):
    assert plain_name(joint) == plain


def test_a_folder_without_windows_is_refused(tmp_path):
    with pytest.raises(UserError, match="no folder of windows"):
        open_set(tmp_path)
    (tmp_path / "KGBD" / "6").mkdir(parents=True)
    with pytest.raises(UserError):
        open_set(tmp_path / "KGBD" / "6")


@pytest.mark.realdata
def test_real_recordings_without_faults(tmp_path, kgbd_slice):
    """Twelve persons of KGBD."""
    preprocess.preprocess(kgbd_slice, tmp_path, ["KGBD"], 6)
    bodies = measure(open_set(tmp_path / "KGBD" / "6"))
    kinds = {finding.kind for finding in Summary(bodies).findings}
    # the sensor takes another body for the person in Person005/1: docs/look.md
    assert kinds <= {"switch"}
    assert store.dataset_folder(tmp_path, specs.get("KGBD"), 6) == bodies.stored.folder
