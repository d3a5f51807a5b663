"""Synthetic walkers: the readers' structure, determinism, constant bodies, the command."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest

from simmc import cli
from simmc.data import specs, splits, windows
from simmc.data.raw import biwi, casia_b, ias, kgbd, ks20, write
from simmc.data.recordings import ReadOptions
from simmc.data.synthetic import gait, walkers
from simmc.errors import UserError
from tests.conftest import contents

READERS = {"IAS": ias, "BIWI": biwi, "KGBD": kgbd, "KS20": ks20, "CASIA_B": casia_b}
BONES = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
]


def same(one, other) -> bool:
    return (
        (one.name, one.identity, one.role) == (other.name, other.identity, other.role)
        and dict(one.attributes) == dict(other.attributes)
        and one.frames.tobytes() == other.frames.tobytes()
    )


@pytest.fixture(scope="module", params=READERS)
def made(request):
    """(dataset, its tiny walks)."""
    return request.param, walkers.walks(request.param, size="tiny", seed=5)


def test_what_is_written_reads_back_as_generated(made, tmp_path):
    dataset, walks = made
    walkers.write(dataset, tmp_path, walks)
    write.mark_generated(tmp_path, {})
    (tmp_path / "README.txt").write_text("generated")
    found = READERS[dataset].read(tmp_path, ReadOptions(ias_label_order="name"))
    expected = walkers.as_read(walks, dataset)
    assert [r.name for r in found] == [r.name for r in expected]
    assert all(map(same, found, expected))


def test_same_seed_same_numbers_other_seed_others(made):
    dataset, walks = made
    again = walkers.walks(dataset, size="tiny", seed=5)
    assert all(same(a.recording, b.recording) for a, b in zip(walks, again, strict=True))
    assert all((a.tracked == b.tracked).all() for a, b in zip(walks, again, strict=True))
    other = walkers.walks(dataset, size="tiny", seed=6)
    assert not any(same(a.recording, b.recording) for a, b in zip(walks, other, strict=False))


def test_more_walkers_leave_the_others_as_they_are():
    few = {r.name: r for r in walkers.generate("KS20", persons=3, size="tiny")}
    many = {r.name: r for r in walkers.generate("KS20", persons=5, size="tiny")}
    assert set(few) < set(many) and all(same(few[name], many[name]) for name in few)


def lengths(frames, skeleton):
    """Bone lengths (T, bones) in metres."""
    ends = np.array([skeleton.indices(bone) for bone in BONES])
    return np.linalg.norm(frames[:, ends[:, 0]] - frames[:, ends[:, 1]], axis=-1)


@pytest.mark.parametrize("dataset", READERS)
def test_without_noise_a_person_keeps_the_bones_and_nobody_shares_them(dataset):
    skeleton = specs.get(dataset).skeleton
    people: dict[int, list[np.ndarray]] = {}
    for recording in walkers.generate(dataset, size="tiny", noise=0):
        people.setdefault(recording.identity, []).append(lengths(recording.frames, skeleton))
    assert max(map(len, people.values())) >= 3
    bones = {}
    for identity, found in people.items():
        every = np.concatenate(found)
        np.testing.assert_allclose(every, np.broadcast_to(every[0], every.shape), atol=5e-6)
        bones[identity] = every[0]
    for a in bones:
        for b in bones:
            assert a == b or np.abs(bones[a] - bones[b]).max() > 0.003


def test_a_person_is_the_same_in_all_datasets():
    def thigh(dataset):
        recording = walkers.generate(dataset, size="tiny", noise=0)[0]
        return lengths(recording.frames, specs.get(dataset).skeleton)[0, 0]

    assert np.ptp([thigh(dataset) for dataset in ("KS20", "KGBD", "CASIA_B", "IAS")]) < 5e-6


def test_pose_is_a_standing_human():
    person = gait.draw_person(np.random.default_rng(0))
    phase = np.linspace(0, 2 * np.pi, 50)
    joints = gait.pose(person, phase)
    up = {name: place[:, 1] for name, place in joints.items()}
    chain = ("head", "shoulder_center", "spine", "hip_center", "left_knee", "left_ankle")
    for higher, lower in pairwise(chain):
        assert (up[higher] > up[lower]).all()
    assert 1.4 < up["head"].mean() < 1.9
    assert all(np.isfinite(place).all() for place in joints.values())
    ahead = joints["left_ankle"][:, 0] - joints["right_ankle"][:, 0]
    assert ahead[0] > 0.3 and ahead[25] < -0.3  # phase 0: the left foot in front
    assert (joints["left_hip"][:, 2] > joints["right_hip"][:, 2]).all()
    still = gait.pose(person, phase, stride=0.0)
    assert np.ptp(still["left_ankle"], axis=0).max() < 0.02


def test_left_stays_left_and_views_turn_the_body():
    """Camera space: x to the sensor's left, y up, z away; a frontal walker comes nearer."""
    skeleton = specs.get("KS20").skeleton
    left, right, hip = skeleton.indices(["left_shoulder", "right_shoulder", "hip_center"])
    across, gone = {}, {}
    for recording in walkers.generate("KS20", persons=2, size="tiny", noise=0):
        frames = recording.frames
        across[recording.role] = (frames[:, left] - frames[:, right]).mean(axis=0)
        gone[recording.role] = frames[-1, hip] - frames[0, hip]
    assert across["frontal"][0] < -0.2 and abs(across["frontal"][2]) < 0.1
    assert gone["frontal"][2] < -0.2
    assert across["left_lateral"][2] < -0.2 and abs(across["left_lateral"][0]) < 0.1
    assert across["right_lateral"][2] > 0.2
    assert gone["left_lateral"][0] > 0.2 and gone["right_lateral"][0] < -0.2


def one_nearest(recordings, probe, gallery):
    """Top-1 of windows of six frames by Euclidean distance, rooted coordinates."""

    def cut(places):
        parts = [windows.windows_of([recordings[p].frames], 6) for p in places]
        labels = [
            np.full(len(x), recordings[p].identity) for p, x in zip(places, parts, strict=True)
        ]
        rooted = np.concatenate(parts)
        rooted = rooted - rooted[:, :, :1]
        return rooted.reshape(len(rooted), -1), np.concatenate(labels)

    (x, who), (y, whose) = cut(probe), cut(gallery)
    squared = (x**2).sum(1)[:, None] - 2 * x @ y.T + (y**2).sum(1)
    return float((whose[squared.argmin(1)] == who).mean())


def test_twenty_walkers_are_neither_trivial_nor_hopeless():
    made = walkers.generate("KS20")
    split = splits.assign("KS20", made, np.random.default_rng(0), ReadOptions())
    assert 0.40 < one_nearest(made, split["probe"], split["gallery"]) < 0.80
    frontal = [p for p in split["probe"] if made[p].role == "frontal"]
    others = [p for p in split["gallery"] if made[p].role == "left_lateral"]
    same_view = [p for p in split["gallery"] if made[p].role == "frontal"]
    assert one_nearest(made, frontal, others) < one_nearest(made, frontal, same_view) - 0.1


@pytest.mark.parametrize(
    "dataset, persons, recordings",
    [("IAS", 11, 33), ("BIWI", 20, 42), ("KGBD", 20, 100), ("KS20", 20, 300)],
)
def test_structure_of_the_small_size(dataset, persons, recordings):
    made = walkers.generate(dataset)
    assert len({r.identity for r in made}) == persons and len(made) == recordings
    spec = specs.get(dataset)
    assert all(r.frames.shape[1:] == (spec.n_joints, 3) for r in made)
    assert all(np.isfinite(r.frames).all() for r in made)
    assigned = splits.assign(dataset, made, np.random.default_rng(0), ReadOptions())
    for split, places in assigned.items():
        length = [len(windows.cut(made[p].frames, *spec.cut(split == "train"))) for p in places]
        assert sum(n // 6 for n in length) >= 256  # a batch


def test_structure_of_casia_b():
    made = walkers.generate("CASIA_B", persons=2)
    keys = {tuple(r.attributes[k] for k in ("condition", "take")) for r in made}
    assert len(made) == 2 * 110 and len(keys) == 10
    assert {int(r.attributes["view"]) for r in made} == set(range(0, 181, 18))


def test_biwi_tests_some_of_the_trained():
    made = walkers.generate("BIWI", persons=50, size="tiny")
    who = {role: {r.identity for r in made if r.role == role} for role in biwi.SETS}
    assert len(who["Training"]) == 50 and len(who["Still"]) == 28
    assert who["Walking"] == who["Still"] < who["Training"]


def test_lost_joints_are_dropped_where_the_files_tell_of_them():
    walks = walkers.walks("IAS", size="tiny", persons=20)
    kept = walkers.as_read(walks, "IAS")
    lost = [not walk.tracked.all() for walk in walks]
    assert 3 < sum(lost) < 40
    for walk, recording, some in zip(walks, kept, lost, strict=True):
        assert (len(recording.frames) < len(walk.recording.frames)) == some


@pytest.mark.parametrize("persons", [0, 1, 21, 5000])
def test_too_many_or_too_few_persons(persons):
    with pytest.raises(UserError, match=f"--persons {persons}.*from 2 to 20"):
        walkers.generate("KS20", persons=persons)


def test_unknown_size_and_dataset():
    with pytest.raises(UserError, match="--size huge: choose one of tiny, small, full"):
        walkers.generate("KS20", size="huge")
    with pytest.raises(UserError, match="no such dataset"):
        walkers.generate("KS21")


@pytest.mark.parametrize("dataset", READERS)
def test_command_writes_the_layout_and_says_what_it_is(tmp_path, capsys, dataset):
    words = ["--dataset", dataset, "--size", "tiny", "--seed", "1", "--out"]
    assert cli.run("generate", [*words, str(tmp_path / "a")]) == 0
    assert "not real people" in capsys.readouterr().out
    folder = tmp_path / "a" / dataset
    readme = (folder / "README.txt").read_text()
    assert readme.startswith("GENERATED WALKERS, NOT REAL PEOPLE")
    assert f"--dataset {dataset}" in readme and "--seed 1" in readme
    assert json.loads((folder / "generated.json").read_text())["generated"] is True
    found = READERS[dataset].read(folder, ReadOptions(ias_label_order="name"))
    assert len(found) == len(walkers.generate(dataset, size="tiny", seed=1))
    assert cli.run("generate", [*words, str(tmp_path / "b")]) == 0
    assert contents(folder) == contents(tmp_path / "b" / dataset)


def test_command_replaces_generated_walkers_and_nothing_else(tmp_path, capsys):
    words = ["--dataset", "KS20", "--size", "tiny", "--raw_root", str(tmp_path)]
    (tmp_path / "KS20").mkdir()  # empty: nothing to lose
    assert cli.run("generate", [*words, "--persons", "3"]) == 0
    assert cli.run("generate", [*words, "--persons", "2"]) == 0
    assert len({r.identity for r in ks20.read(tmp_path / "KS20")}) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["KS20"]
    windows, marker = tmp_path / "KS20" / "6", tmp_path / "KS20" / write.MARKER
    for spoil in (lambda: (windows.mkdir(), (windows / "manifest.json").touch()), marker.unlink):
        spoil()
        before = contents(tmp_path)
        assert cli.run("generate", words) == 2
        assert str(tmp_path / "KS20") in capsys.readouterr().err
        assert contents(tmp_path) == before
        shutil.rmtree(windows, ignore_errors=True)


def test_command_that_fails_leaves_nothing(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(walkers, "write", full)
    assert cli.run("generate", ["--size", "tiny", "--raw_root", str(tmp_path)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
