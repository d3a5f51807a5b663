import json
from collections import Counter

import numpy as np
import pytest

from simmc.data import specs, splits
from simmc.data.recordings import ReadOptions, Recording
from simmc.errors import UserError
from tests.data import make

EMPTY = np.zeros((0, 20, 3))
OWN = ReadOptions(ks20_roles="own")


def _kgbd(walks: dict[int, int]) -> list[Recording]:
    return [Recording(f"{p}/{w}", p, EMPTY) for p, n in walks.items() for w in range(n)]


def _all(found: splits.Assignment) -> list[int]:
    return sorted(place for places in found.values() for place in places)


def _roles(recordings: list[Recording], found: splits.Assignment) -> dict[str, Counter[int]]:
    return {s: Counter(recordings[i].identity for i in places) for s, places in found.items()}


def test_kgbd_draws_two_gallery_and_one_probe_walk():
    recordings = _kgbd({1: 5, 2: 4, 7: 6, 15: 3})
    found = splits.assign("KGBD", recordings, np.random.default_rng(0))
    roles = _roles(recordings, found)
    assert roles["gallery"] == {1: 2, 2: 2, 7: 2, 15: 1}
    assert roles["probe"] == {1: 1, 2: 1, 7: 1, 15: 1}
    assert roles["train"] == {1: 2, 2: 1, 7: 3, 15: 1}
    assert _all(found) == list(range(len(recordings)))


def test_kgbd_draw_depends_on_the_seed_alone():
    recordings = _kgbd(dict.fromkeys(range(1, 30), 5))

    def draw(seed: int) -> splits.Assignment:
        return splits.assign("KGBD", recordings, np.random.default_rng(seed))

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_kgbd_every_walk_may_become_probe():
    recordings = _kgbd(dict.fromkeys(range(400), 5))
    found = splits.assign("KGBD", recordings, np.random.default_rng(0))
    which = Counter(int(recordings[i].name.partition("/")[2]) for i in found["probe"])
    assert set(which) == set(range(5))
    assert min(which.values()) > 50  # 80 expected


def test_kgbd_person_with_two_walks_is_named():
    with pytest.raises(UserError, match="person 3 has 2 walks"):
        splits.assign("KGBD", _kgbd({1: 5, 3: 2}), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("dataset", "roles"),
    [("IAS", ["Training", "TestingA", "TestingB"]), ("BIWI", ["Training", "Walking", "Still"])],
)
def test_sets_that_are_given(dataset, roles):
    recordings = [Recording(f"{r}/{i}", i, EMPTY, r) for r in roles for i in range(2)]
    found = splits.assign(dataset, recordings, np.random.default_rng(0))
    train, first, second = (found[s] for s in (specs.TRAIN, *specs.get(dataset).test_splits))
    assert (train, first, second) == ([0, 1], [2, 3], [4, 5])


def test_ks20_exact_roles_are_one_repetition_in_all_views():
    recordings = make.ks20()
    found = splits.assign("KS20", recordings, np.random.default_rng(0), OWN)
    assert _all(found) == list(range(60))
    for identity in range(4):
        for places in found.values():
            mine = [recordings[i] for i in places if recordings[i].identity == identity]
            assert len(mine) == 5
            assert len({r.attributes["setting"] for r in mine}) == 1
            assert {r.role for r in mine} == set(specs.KS20_VIEWS)


def _released_reader(recordings: list[Recording], own: splits.Assignment) -> dict[str, list[str]]:
    """The released loop, file by file: a recording is filed when the NEXT body begins."""
    role_of = {
        (recordings[i].identity, recordings[i].attributes["setting"]): split
        for split, places in own.items()
        for i in places
    }
    filed: dict[str, list[str]] = {split: [] for split in own}
    for view in specs.KS20_VIEWS:
        last = None
        for now in (r for r in recordings if r.role == view):
            if last is not None and last.identity != now.identity:
                setting = now.attributes["setting"]
                filed[role_of[last.identity, setting]].append(last.name)
            last = now
    return filed


def test_ks20_slip_uses_the_next_setting_and_loses_one_recording_of_each_view():
    recordings = make.ks20()
    own = splits.assign("KS20", recordings, np.random.default_rng(3), OWN)
    slip = splits.assign("KS20", recordings, np.random.default_rng(3))
    names = {split: [recordings[i].name for i in places] for split, places in slip.items()}
    assert names == _released_reader(recordings, own)
    assert sum(map(len, slip.values())) == 60 - 5
    moved = {
        recordings[i].identity
        for split in own
        for i in set(own[split]).symmetric_difference(slip[split])
    }
    assert moved == {3}  # the last body of the text order only


def test_ks20_needs_all_repetitions():
    recordings = [r for r in make.ks20() if (r.identity, r.attributes["setting"]) != (2, "gc3")]
    with pytest.raises(UserError, match=r"label 2 .* gc1, gc2"):
        splits.assign("KS20", recordings, np.random.default_rng(0))


def test_ks20_views_are_named_by_degrees():
    recordings = make.ks20()
    found = splits.views(specs.KS20_CVE, recordings)
    assert list(found) == ["0", "30", "90", "130", "180"]
    assert {recordings[i].role for i in found["30"]} == {"left_diagonal"}
    assert all(len(places) == 12 for places in found.values())


def test_casia_halves_share_no_subject_and_tests_go_by_condition():
    recordings = make.casia()
    found = splits.assign("CASIA_B", recordings, np.random.default_rng(0))
    subjects = {split: {recordings[i].identity for i in p} for split, p in found.items()}
    assert len(subjects["train"]) == 4
    for condition in specs.CASIA_CONDITIONS:
        assert subjects[condition] == set(range(1, 9)) - subjects["train"]
        assert {recordings[i].role for i in found[condition]} == {condition}
    assert _all(found) == list(range(len(recordings)))


def test_casia_of_124_subjects_splits_62_to_62():
    recordings = [Recording(f"{p}", p, EMPTY, "nm") for p in range(1, 125)]
    found = splits.assign("CASIA_B", recordings, np.random.default_rng(0))
    assert (len(found["train"]), len(found["nm"])) == (62, 62)


class TestGivenSplits:
    def recordings(self):
        names = ["a/P1/1.txt", "a/P1/2.txt", "a/P1/3.txt", "a/P2/1.txt", "a/P2/2.txt", "a/P2/3.txt"]
        frames = np.zeros((1, 20, 3))
        return [Recording(n, int(n[3]), frames) for n in names]

    def test_a_written_split_is_read_again(self, tmp_path):
        found = {"train": [0, 3], "gallery": [1, 5], "probe": [4]}
        content = splits.given_form(self.recordings(), found)
        assert content["P1"] == {"1.txt": "train", "2.txt": "gallery", "3.txt": None}
        path = tmp_path / "split.json"
        path.write_text(json.dumps(content))
        assert splits.read_given(path, self.recordings(), list(found)) == found

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c["P1"].pop("1.txt"), "every recording.*P1/1.txt"),
            (lambda c: c["P1"].update({"9.txt": "train"}), "not in the raw data: P1/9.txt"),
            (
                lambda c: c["P1"].update({"1.txt": "best"}),
                "other splits than train, gallery, probe: P1/1.txt",
            ),
            (lambda c: c["P2"].update({"2.txt": None}), "no recording is in probe"),
        ],
    )
    def test_a_split_that_does_not_fit_is_refused(self, tmp_path, change, message):
        found = {"train": [0, 3], "gallery": [1, 5], "probe": [4]}
        content = splits.given_form(self.recordings(), found)
        change(content)
        path = tmp_path / "split.json"
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=message):
            splits.read_given(path, self.recordings(), list(found))
