"""Importance of frames at trained weights against loops over Eq. 6-8."""

import numpy as np
import pytest
import torch

from simmc.cli.importance import Clustered, cluster_trained, one_of_each, window_importance
from simmc.engine.training import train, weights_path
from simmc.methods import himpc as method
from simmc.runs.directory import RunDirectory
from tests.methods.make import CPU
from tests.methods.test_himpc import some_labels, training
from tests.reference import hierarchical as literal

CHOSEN = np.array([3, 120, 7, 3, 199])


def clustered(made, labels):
    return Clustered(
        made.network, made.train_windows, dict(zip(made.network.levels, labels, strict=True)), 1
    )


def literal_importance(made, level, labels, window, **arguments):
    """(f,) mean over heads of delta of one window; NaN where it is an outlier."""
    net, windows = made.network[level], made.train_windows[level]
    frames = literal.encode(net, windows[window])
    if labels[window] < 0:
        return np.full(len(frames), np.nan)
    instances = [sum(literal.encode(net, w)) / len(w) for w in windows]
    prototypes = []
    for cluster in range(int(labels.max()) + 1):
        members = [v for v, y in zip(instances, labels, strict=True) if y == cluster]
        prototypes.append(sum(members) / len(members))
    tau = made.settings.temperature
    heads = net.heads if len(net.heads) else [torch.eye(frames[0].numel())]
    deltas = [
        literal.importance(frames, labels[window], prototypes, head, tau, **arguments)
        for head in heads
    ]
    return np.mean([[d.item() for d in delta] for delta in deltas], axis=0)


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({}, {}),
        ({"mining": "easy"}, {"focus": -1}),
        ({"mining_scale": "none"}, {"weights_over_temperature": False}),
        ({"M": 0, "levels": "limb"}, {}),
        ({"t": 2.0, "levels": "joint"}, {}),
    ],
    ids=str,
)
def test_equal_to_the_loops(changes, arguments):
    made = training(**changes)
    labels = some_labels(levels=len(made.network.levels))
    labels[:, 3], labels[0, 120] = 2, -1
    found = window_importance(clustered(made, labels), made.settings, CHOSEN)
    assert list(found) == list(made.network.levels)
    with torch.no_grad():
        for level, y in zip(found, labels, strict=True):
            wanted = [literal_importance(made, level, y, w, **arguments) for w in CHOSEN]
            np.testing.assert_allclose(found[level], wanted, atol=2e-5)
            assert found[level].dtype == np.float32
            assert np.ptp(found[level][0]) > 0.01  # not all alike
    first = next(iter(found))
    assert np.isnan(found[first][1]).all()


def test_a_level_without_clusters_has_no_importance():
    made, labels = training(), some_labels()
    labels[1] = -1
    found = window_importance(clustered(made, labels), made.settings, CHOSEN)
    assert np.isnan(found["component"]).all()
    assert not np.isnan(found["joint"][0]).any()


def test_without_mining_there_is_none():
    made = training(mining="none")
    with pytest.raises(ValueError, match="without mining"):
        window_importance(clustered(made, some_labels()), made.settings, CHOSEN)


def test_the_clusters_are_those_of_the_epoch_of_the_weights(tmp_path):
    made, run = training(), RunDirectory(tmp_path)
    train(made, run, lambda record: None)
    found = cluster_trained(weights_path(run, "paper"), made.settings, made.data, CPU)
    (record,) = [r for r in run.read_metrics() if r["epoch"] == found.epoch]
    for i, y in enumerate(found.labels.values(), start=1):
        assert int(y.max()) + 1 == record[f"clusters_{i}"]
        assert int((y < 0).sum()) == record[f"outliers_{i}"]
    assert list(found.labels) == list(method.encode(found.network, found.windows))
    everywhere = torch.stack(list(found.labels.values())).min(0).values >= 0
    assert found.everywhere.tolist() == everywhere.tolist()
    assert int(found.everywhere.sum()) == record["kept"]


def test_windows_of_different_persons():
    identity = np.repeat(np.arange(6), 10)
    allowed = identity != 4
    drawn = [
        one_of_each(identity, allowed, 4, np.random.default_rng(seed)).tolist() for seed in range(9)
    ]
    for windows in drawn:
        persons = identity[windows]
        assert len(set(persons)) == 4
        assert persons.tolist() == sorted(persons)
        assert 4 not in persons
    assert len({tuple(windows) for windows in drawn}) > 1
    again = one_of_each(identity, allowed, 4, np.random.default_rng(0)).tolist()
    assert again == drawn[0]


def test_more_windows_than_persons_or_than_there_are():
    identity = np.array([0, 0, 1, 1, 1])
    allowed = np.array([True, True, True, True, False])
    rng = np.random.default_rng(0)
    three = one_of_each(identity, allowed, 3, rng)
    assert len(set(three)) == 3
    assert set(identity[three]) == {0, 1}
    assert one_of_each(identity, allowed, 9, rng).tolist() == [0, 1, 2, 3]
    assert one_of_each(identity, ~allowed & (identity == 0), 2, rng).tolist() == []
