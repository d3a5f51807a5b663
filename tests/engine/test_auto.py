"""Settings that set themselves: DBSCAN's radius, and the epoch by agreement with bone lengths."""

from dataclasses import replace

import numpy as np
import pytest

from simmc.clustering import dbscan, jaccard_graph
from simmc.data.experiment.inputs import body_lengths
from simmc.engine import selection
from simmc.engine.selection import SAMPLE, BodyAgreement, Selector, label_free_score
from simmc.evaluation.diagnostics import label_agreement
from tests.methods import make

PERSONS, EACH = 12, 60


def planted(spread, seed=0):
    """Two noisy views of the features of PERSONS people, and who is who."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(PERSONS), EACH)
    centres = rng.normal(size=(PERSONS, 16))
    windows = centres[truth] + spread * rng.normal(size=(len(truth), 16))
    return [windows + spread / 3 * rng.normal(size=windows.shape) for _ in range(2)], truth


def chosen(views):
    return selection.choose_radius([jaccard_graph(view, selection.EPS[-1]) for view in views])


@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_the_chosen_radius_finds_planted_people(spread):
    views, truth = planted(spread)
    labels, _ = chosen(views)
    assert min(label_agreement(y, truth) for y in labels) > 0.9
    assert (labels >= 0).mean() > 0.9


def test_people_that_the_largest_radius_merges_are_told_apart():
    views, truth = planted(0.6)
    graphs = [jaccard_graph(view, selection.EPS[-1]) for view in views]
    labels, found = selection.choose_radius(graphs)
    merged = dbscan(graphs[0], found.min_samples)
    assert found.eps < selection.EPS[-1]
    assert label_agreement(labels[0], truth) > label_agreement(merged, truth) + 0.05


def test_it_is_the_smallest_radius_with_nearly_the_highest_score():
    graphs = [jaccard_graph(view, selection.EPS[-1]) for view in planted(0.5)[0]]
    labels, found = selection.choose_radius(graphs)
    scores = {}
    for count in selection.MIN_SAMPLES:
        for eps in selection.EPS:
            tried = np.stack([dbscan(graph.within(eps), count) for graph in graphs])
            scores[eps, count] = label_free_score(tried, None)
    mine, best = scores[found.eps, found.min_samples], max(scores.values())
    assert label_free_score(labels, None) == mine >= (1 - selection.TOLERANCE) * best
    for (eps, _), score in scores.items():
        if eps < found.eps:
            assert score < (1 - selection.TOLERANCE) * best
        if eps == found.eps:
            assert score <= mine


def test_the_choice_is_the_same_every_time_and_in_any_order_of_windows():
    views, _ = planted(0.4)
    order = np.random.default_rng(1).permutation(len(views[0]))
    first, again, permuted = chosen(views), chosen(views), chosen([v[order] for v in views])
    assert first[1] == again[1] == permuted[1]
    assert (first[0] == again[0]).all()
    assert label_agreement(first[0][0][order], permuted[0][0]) == pytest.approx(1, abs=0.01)


def test_one_view_needs_no_second():
    views, truth = planted(0.2)
    labels, _ = chosen(views[:1])
    assert label_agreement(labels[0], truth) > 0.9


def test_settings_that_are_given_are_kept():
    views, _ = planted(0.3)
    graphs = [jaccard_graph(view, 0.5) for view in views]
    labels, found = selection.choose_radius(graphs, (0.5,), selection.MIN_SAMPLES)
    assert found.eps == 0.5
    assert (labels == [dbscan(graph, found.min_samples) for graph in graphs]).all()


def test_the_choice_stays_for_the_whole_training_and_when_it_is_continued(tmp_path):
    def begun():
        return make.training(with_bodies(), eps=None, min_samples=None, best_by="body")

    records = make.run_all(begun())
    assert len({(record["eps"], record["min_samples"]) for record in records}) == 1
    make.assert_continues(begun, tmp_path)


def with_bodies(seed=3):
    """The small experiment, its people of different sizes."""
    data = make.experiment()
    sizes = np.random.default_rng(seed).normal(size=(8, 3))[data.train.identity]
    return replace(data, body=sizes.astype(np.float32))


def average_precision(features, body, recording):
    """Plain loops: the mean of the average precisions of all windows."""
    body = body / body.std(0)
    n = len(body)
    pairs = [(i, j) for i in range(n) for j in range(n) if recording[i] != recording[j]]
    size = {(i, j): np.linalg.norm(body[i] - body[j]) for i, j in pairs}
    cut = np.quantile(list(size.values()), 0.05)
    precisions = []
    for i in range(n):
        others = [j for j in range(n) if (i, j) in size]
        others.sort(key=lambda j: np.linalg.norm(features[i] - features[j]))
        found, hits = [], 0
        for rank, j in enumerate(others, start=1):
            if size[i, j] <= cut:
                hits += 1
                found.append(hits / rank)
        if found:
            precisions.append(np.mean(found))
    return np.mean(precisions)


def test_agreement_is_the_mean_average_precision():
    rng = np.random.default_rng(0)
    recording = rng.permutation(np.repeat(np.arange(20), 3))
    lengths = rng.normal(size=(60, 4)) * [1, 5, 0.1, 2]
    body = np.stack([np.median(lengths[recording == r], axis=0) for r in recording])
    features = rng.normal(size=(60, 6))
    agreement = BodyAgreement(lengths, recording)
    assert (agreement.rows == np.arange(60)).all()
    expected = average_precision(features, body, recording)
    assert agreement(features) == pytest.approx(expected, abs=1e-9)


def test_agreement_knows_bodies_in_any_unit():
    body = np.random.default_rng(1).normal(size=(300, 5))
    agreement = BodyAgreement(body)
    sizes = body / body.std(0)
    assert agreement(sizes) == pytest.approx(1, abs=0.02)
    assert BodyAgreement(1000 * body)(sizes) == pytest.approx(agreement(sizes))
    chance = agreement(np.random.default_rng(2).permutation(sizes))
    assert chance < 0.12  # about the share of pairs that are right
    assert chance < agreement(sizes + 0.5 * np.random.default_rng(3).normal(size=sizes.shape)) < 1


def test_windows_of_one_recording_do_not_count():
    rng = np.random.default_rng(4)
    recording = np.repeat(np.arange(30), 5)
    body = rng.normal(size=(30, 4))[recording]
    own = 100.0 * np.eye(30)[recording]  # tells recordings apart and nothing else
    agreement = BodyAgreement(body, recording)
    assert agreement(own + 0.01 * rng.normal(size=own.shape)) < 0.3
    assert agreement(np.concatenate([own / 100, 5 * body], axis=1)) > 0.6


@pytest.mark.parametrize("body", [np.ones((50, 3)), np.zeros((50, 0))])
def test_bodies_that_are_all_equal_prefer_nothing(body):
    rng = np.random.default_rng(0)
    agreement = BodyAgreement(body)
    assert agreement(rng.normal(size=(50, 2))) == agreement(rng.normal(size=(50, 2)))


def test_one_recording_has_no_other():
    assert BodyAgreement(np.eye(6), np.zeros(6, int))(np.eye(6)) == 0


def test_large_sets_are_sampled():
    agreement = BodyAgreement(np.random.default_rng(0).normal(size=(3 * SAMPLE, 2)))
    assert len(np.unique(agreement.rows)) == SAMPLE


def test_bone_lengths_are_those_of_the_windows():
    skeleton = replace(make.SKELETON, edges=(("hip", "left_hand"), ("hip", "left_foot")))
    windows = make.split(4, 5, 0, 0.1).windows
    lengths = np.linalg.norm(windows[:, :, [1, 3]] - windows[:, :, [0, 0]], axis=3)
    np.testing.assert_allclose(
        body_lengths(windows, skeleton), np.median(lengths, axis=1), rtol=1e-5
    )
    assert body_lengths(windows, make.SKELETON) is None  # it names no bones


def test_the_untrained_epoch_can_be_the_best():
    selector = Selector(2, first=0)
    assert [selector.update(epoch, score) for epoch, score in enumerate([0.5, 0.4, 0.3])] == [
        *(True, False, False)
    ]
    assert selector.best_epoch == 0
    assert selector.done


def test_a_training_that_loses_the_bodies_keeps_the_untrained_network():
    training = make.training(with_bodies(), best_by="body", lr=1.0, epochs=4)
    untrained = make.weights_of(training)
    records, best = [], {}
    while not training.done:
        record, names = training.run_epoch()
        records.append(record["body_agreement"])
        best |= dict.fromkeys(names, training.best_weights)
    chosen = training.selectors["label_free"].best_epoch
    assert chosen == 0 and max(records) < 1.03 * records[0]
    make.assert_equal_weights(best["label_free"], untrained)


def test_without_bones_pseudo_labels_choose_the_epoch():
    training = make.training(make.experiment(), best_by="body")
    assert training.body is None
    assert training.chosen_by("label_free") == "label_free_score"
