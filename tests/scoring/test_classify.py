"""Which windows a head is judged by, and what is told of it."""

import numpy as np

from simmc.evaluation.classification import evaluate_classes
from simmc.methods.recognition import RecognitionSettings, whole_batches
from simmc.scoring.classify import classification_outcome, scored_windows

BATCH = 16


def batch(test_batches: str) -> int | None:
    settings = RecognitionSettings.of(dataset="KGBD", batch_size=BATCH, test_batches=test_batches)
    return whole_batches(settings)


def test_windows_beyond_a_persons_full_batches_are_not_scored():
    identity = np.repeat([0, 1, 2], [10, 16, 35])
    rng = np.random.default_rng(0)
    identity = identity[rng.permutation(len(identity))]
    kept = scored_windows(identity, batch("whole"))
    assert np.bincount(identity[kept]).tolist() == [10, 16, 32]
    left_out = np.setdiff1d(np.arange(len(identity)), kept)
    assert (left_out == np.flatnonzero(identity == 2)[32:]).all()  # the last ones
    assert len(scored_windows(identity, batch("all"))) == len(identity)


def test_the_confusion_names_persons_as_the_dataset_does():
    scores = np.eye(3)[[0, 0, 1, 2, 0]]
    true = np.array([0, 0, 1, 2, 2])
    pairs = np.stack([true, scores.argmax(1)], 1)
    found = classification_outcome(evaluate_classes(scores, true), pairs, [7, 3, 12]).to_dict()
    assert found["confusion"] == [[7, 7, 2], [3, 3, 1], [12, 7, 1], [12, 12, 1]]
    assert found["top1"] == 0.8
    assert len(found["cmc"]) == 3 and found["cmc"][-1] == 1
