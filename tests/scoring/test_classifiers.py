from collections import Counter

import numpy as np
import pytest

from simmc.cli.descriptors import DescriptorSettings
from simmc.scoring.classifiers import TITLES, class_scores
from simmc.settings import options_of


def people(n_classes=4, each=20, seed=0, noise=0.3):
    """Windows around a place of each person, in no order."""
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(9).normal(size=(n_classes, 5))
    identity = rng.permutation(np.repeat(np.arange(n_classes), each))
    features = places[identity] + noise * rng.normal(size=(len(identity), 5))
    return features.astype(np.float32), identity


def test_the_settings_know_every_classifier():
    (entry,) = (entry for entry in options_of(DescriptorSettings) if entry.name == "classifier")
    assert entry.choices == ("none", *TITLES)


@pytest.mark.parametrize("name", TITLES)
def test_each_learns_who_is_who(name):
    train, identity = people()
    test, expected = people(seed=1)
    scores = class_scores(name, train, identity, test, 4)
    assert scores.shape == (80, 4)
    assert np.mean(scores.argmax(1) == expected) > 0.9
    # and nothing but the labels it was given
    swapped = class_scores(name, train, 3 - identity, test, 4)
    assert np.mean(swapped.argmax(1) == 3 - expected) > 0.9


@pytest.mark.parametrize("name", TITLES)
def test_two_persons_and_persons_without_windows(name):
    train, identity = people(2)
    test, expected = people(2, seed=1)
    scores = class_scores(name, train, np.array([1, 3])[identity], test, 5)
    assert (scores[:, [0, 2, 4]] == -np.inf).all()
    assert np.isfinite(scores[:, [1, 3]]).all()
    assert np.mean(scores.argmax(1) == np.array([1, 3])[expected]) > 0.9


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("neighbors", [1, 5])
def test_votes_of_the_nearest(neighbors, scaled):
    units = np.array([1, 100, 0.01, 1, 10], np.float32)
    train, identity = people(noise=1)
    test, _ = people(seed=1, noise=1)
    args = (train * units, identity, test * units, 4)
    found = class_scores("knn", *args, neighbors=neighbors, scaled=scaled)
    step = train.std(0) if scaled else 1 / units
    for row, window in zip(found, test, strict=True):
        nearest = np.argsort((((train - window) / step) ** 2).sum(1))[:neighbors]
        votes = Counter(identity[nearest].tolist())
        assert row.tolist() == pytest.approx([votes[c] / neighbors for c in range(4)])


def test_more_voters_than_windows():
    train, identity = people(2, each=2)
    assert class_scores("knn", train, identity, train, 2, neighbors=50).tolist() == [[0.5, 0.5]] * 4


def test_units_do_not_matter_to_the_svm():
    train, identity = people(noise=1)
    test, _ = people(seed=1, noise=1)
    units = np.array([1, 100, 0.01, 1, 10], np.float32)
    one, other = (class_scores("svm", train * u, identity, test * u, 4) for u in (1, units))
    np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)


def test_the_seed_decides_the_trees():
    train, identity = people(noise=2)
    train = np.repeat(train, 2, axis=1)  # equal columns: which one a tree asks is a draw
    args = (train, identity, np.random.default_rng(3).normal(size=(200, 10)), 4)
    one, same, other = (
        class_scores("adaboost", *args, depth=2, seed=seed) for seed in (2**40, 2**40, 1)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_depth_is_that_of_the_trees():
    """Four corners of a square in turn: no sum of single questions tells them apart."""
    rng = np.random.default_rng(0)
    train = rng.choice([-1.0, 1.0], size=(200, 2)) + 0.1 * rng.normal(size=(200, 2))
    identity = (train[:, 0] * train[:, 1] > 0).astype(int)
    right = [
        np.mean(class_scores("adaboost", train, identity, train, 2, depth=d).argmax(1) == identity)
        for d in (1, 2)
    ]
    assert right[0] < 0.9 and right[1] == 1


def test_unknown():
    with pytest.raises(ValueError, match="no classifier 'forest'; choose one of knn"):
        class_scores("forest", *people(), people()[0], 4)
