"""The verdicts on trainings, and the check by body measurements."""

from __future__ import annotations

import numpy as np
import pytest

from simmc.data.experiment.experiment import Split
from simmc.data.skeletons import Skeleton
from simmc.engine import health
from simmc.engine.health import PartnerRanks, Trained, health_of, partner_ranks

ABOUT = Trained(windows=1000, batch_size=100, eps=0.6)
# an epoch of a training by clusters that goes well
GOOD = {
    **{"steps": 9, "kept": 950, "outliers": 50, "clusters_1": 40, "largest": 0.05},
    **{"label_free_score": 0.7, "loss_mpc": 1.0},
}
TRACKED = {
    **{"steps": 9, "kept": 1000, "largest": 0.05, "loss_mpc": 1.0},
    **{"people": 30, "people_at_least": 28, "tracks": 100, "unsure": 5},
}


def verdict(*epochs: dict, about: Trained = ABOUT) -> str:
    records = [{"epoch": i, **record} for i, record in enumerate(epochs)]
    return health_of(records, about)["verdict"]  # type: ignore[arg-type]


@pytest.mark.parametrize("good", [GOOD, TRACKED])
def test_a_training_that_goes_well_is_healthy(good):
    assert verdict(good, good, good) == "healthy"
    assert verdict(good, good, {"top1": 0.5}) == "healthy"  # the last epoch is only scored


@pytest.mark.parametrize(
    ("good", "change", "expected"),
    [
        (GOOD, {"largest": 0.95, "clusters_1": 5}, "collapsed"),
        (TRACKED, {"largest": 0.95, "people": 4}, "collapsed"),
        (GOOD, {"outliers": 700, "kept": 300}, "over-split"),
        (GOOD, {"clusters_1": 450}, "over-split"),
        (GOOD, {"label_free_score": 0.1}, "unstable"),
        (TRACKED, {"unsure": 40, "people_at_least": 3}, "unsure"),
        (GOOD, {"steps": 0}, "nothing learned"),
    ],
)
def test_each_failure_has_its_verdict_a_reason_and_a_next_step(good, change, expected):
    bad = good | change
    records = [{"epoch": i, **bad} for i in range(5)]
    found = health_of(records, ABOUT)
    assert found["verdict"] == expected
    assert found["reason"]
    assert found["next_step"]


def test_an_unsure_auto_run_is_not_told_to_use_auto():
    bad = TRACKED | {"unsure": 40, "people": 30, "people_at_least": 30}
    found = health_of([bad], ABOUT)
    assert (
        "use --recordings auto" in found["next_step"] and "; 30 people are found" in found["reason"]
    )
    found = health_of([bad | {"reach": 1.0, "people_at_least": 28}], ABOUT)
    assert "auto" not in found["next_step"] and "; 28 to 30 people are found" in found["reason"]


def test_an_auto_run_that_ended_is_judged_by_the_clusters_by_which_it_ended():
    last = {"tracks": 100, "unsure": 80, "people": 40, "people_at_least": 9, "ended": "unsure"}
    assert verdict(TRACKED, TRACKED) == "healthy"
    assert verdict(TRACKED, TRACKED, last) == "unsure"
    assert verdict(TRACKED | {"unsure": 80}, last | {"unsure": 3}) == "healthy"
    assert verdict(TRACKED | {"unsure": 80}, {"ended": "fallen", "reach": 1.0}) == "unsure"


def test_the_last_epochs_count_and_a_single_one_does_not():
    bad = GOOD | {"label_free_score": 0.1, "largest": 0.9}
    assert verdict(bad, bad, bad, GOOD, GOOD, GOOD) == "healthy"
    assert verdict(GOOD, GOOD, GOOD, bad) == "healthy"
    assert verdict(GOOD, bad, bad, bad) == "collapsed"


def test_without_clusters_the_loss_has_to_fall():
    plain = Trained(windows=1000, batch_size=100)
    assert verdict({"steps": 9, "loss_locality": 2.0}, {"steps": 9, "loss_locality": 1.0},
                   about=plain) == "healthy"  # fmt: skip
    assert verdict({"steps": 9, "loss_locality": 2.0}, {"steps": 9, "loss_locality": 2.5},
                   about=plain) == "nothing learned"  # fmt: skip
    assert verdict(GOOD, GOOD | {"loss_mpc": 3.0}) == "healthy"  # more clusters, a higher loss


def test_nothing_was_trained():
    assert verdict({"top1": 0.3}) == "nothing learned"


@pytest.mark.parametrize(
    ("pairs", "trained", "raw", "expected"),
    [
        (50, 1.5, 3.0, "healthy"),
        (50, 3.5, 3.0, "nothing learned"),
        (50, 2.7, 3.0, "nothing learned"),
        (3, 3.5, 3.0, "healthy"),  # too few
    ],
)
def test_features_have_to_bring_recordings_of_one_build_nearer(pairs, trained, raw, expected):
    about = Trained(1000, 100, 0.6, PartnerRanks(pairs, trained, raw))
    assert verdict(GOOD, GOOD, about=about) == expected


@pytest.mark.parametrize("number", ["body_agreement", "reach_score"])
def test_a_run_that_keeps_the_untrained_network_says_so(number):
    about = Trained(1000, 100, 0.6, PartnerRanks(50, 1.5, 3.0), untrained_by=number)
    found = health_of([GOOD], about)
    assert found["verdict"] == "nothing learned"
    assert number in found["reason"] and "untrained network" in found["reason"]


# The check by body measurements

BODY = Skeleton("arm", ("a", "b", "c"), "a", (("a", "b"), ("b", "c")))


def people(persons: int = 30, seed: int = 0) -> tuple[Split, np.ndarray]:
    """Two recordings of every person with the person's bone lengths, in random directions."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), 2)
    lengths = rng.uniform(0.3, 0.6, (persons, 2))
    recording = np.repeat(np.arange(2 * persons), 4)
    direction = rng.normal(size=(len(recording), 6, 2, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    steps = direction * lengths[person[recording]][:, None, :, None]
    windows = np.concatenate([np.zeros((len(recording), 6, 1, 3)), steps.cumsum(2)], axis=2)
    order = rng.permutation(len(recording))
    split = Split(windows[order].astype(np.float32), person[recording][order], recording[order])
    return split, lengths


def test_partners_are_first_by_features_of_the_person_and_not_by_noise():
    split, lengths = people()
    noise = np.random.default_rng(1).normal(size=(len(split), 8))
    known = partner_ranks(split, lengths[split.identity], BODY)
    unknown = partner_ranks(split, noise, BODY)
    assert known is not None
    assert unknown is not None
    assert known.pairs == unknown.pairs == 30
    assert known.trained == pytest.approx(1, abs=0.1)
    assert unknown.trained > 5
    assert known.raw == unknown.raw > 2


def test_the_order_of_windows_does_not_matter():
    split, lengths = people()
    order = np.random.default_rng(2).permutation(len(split))
    moved = Split(split.windows[order], split.identity[order], split.recording[order])
    one, other = (partner_ranks(s, lengths[s.identity], BODY) for s in (split, moved))
    assert one == other


def test_recordings_that_are_not_compared_are_counted_and_named(monkeypatch):
    split, lengths = people()
    monkeypatch.setattr(health, "MOST", 40)
    found = partner_ranks(split, lengths[split.identity], BODY)
    assert (found.pairs, found.left_out) == (20, 20)
    judged = health_of([GOOD], Trained(1000, 100, 0.6, PartnerRanks(50, 3.5, 3.0, 20)))
    assert "20 recordings" in judged["reason"]


def test_no_check_without_recordings_or_bones():
    split, lengths = people()
    features = lengths[split.identity]
    assert partner_ranks(Split(split.windows, split.identity, None), features, BODY) is None
    assert partner_ranks(split, features, Skeleton("arm", BODY.joints, "a")) is None
