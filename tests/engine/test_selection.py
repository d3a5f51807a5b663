import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simmc.engine.pseudo_labels import label_free_score
from simmc.engine.selection import Selector


def public_rule(scores, patience):
    """The public program's loop (simmc.md section 2, step 4): best epoch, and epochs looked at."""
    best, best_epoch, counter = -np.inf, -1, 0
    for epoch, score in enumerate(scores):
        if epoch > 0 and score > best:
            best, best_epoch, counter = score, epoch, 0
        counter += 1
        if counter == patience:
            return best_epoch, epoch + 1
    return best_epoch, len(scores)


def feed(selector, scores, first=0):
    """Feeds scores until the selector has seen enough; epochs looked at."""
    for epoch, score in enumerate(scores, start=first):
        selector.update(epoch, score)
        if selector.done:
            return epoch + 1
    return first + len(scores)


SCORES = st.lists(st.integers(0, 6).map(float), max_size=40)


@given(SCORES, st.integers(1, 8))
def test_best_epoch_and_stop_are_those_of_the_public_program(scores, patience):
    selector = Selector(patience)
    looked_at = feed(selector, scores)
    assert (selector.best_epoch, looked_at) == public_rule(scores, patience)


@given(SCORES, st.integers(1, 8), st.integers(0, 40))
def test_state_continues(scores, patience, cut):
    whole, before, after = Selector(patience), Selector(patience), Selector(patience)
    looked_at = feed(whole, scores)
    cut = min(cut, looked_at)
    feed(before, scores[:cut])
    after.restore(json.loads(json.dumps(before.state())))
    if not after.done:
        assert feed(after, scores[cut:], first=cut) == looked_at
    assert after == whole


def test_an_equal_score_is_no_better():
    selector = Selector(10)
    assert [selector.update(e, s) for e, s in enumerate([9, 5, 5, 6, 6])] == [
        *(False, True, False, True, False)
    ]
    assert selector.best_epoch == 3


def test_the_untrained_epoch_is_never_best_but_uses_patience():
    selector = Selector(1)
    assert not selector.update(0, 1.0)
    assert selector.done
    assert selector.best_epoch == -1


def test_nothing_counts_after_the_end():
    """A run that goes on for another protocol must not give this one more patience."""
    selector = Selector(2)
    for epoch, score in enumerate([0.1, 0.5, 0.4, 0.9]):
        selector.update(epoch, score)
    assert (selector.best_epoch, selector.best_score, selector.done) == (1, 0.5, True)


def test_the_patience_of_now_holds_after_a_restore():
    old, new = Selector(2), Selector(5)
    feed(old, [0.0, 0.5, 0.4])
    new.restore(old.state())
    assert old.done and not new.done
    assert new.patience == 5


def two_views(*labels):
    return np.array(labels, dtype=np.int64)


MANY = np.repeat(np.arange(40), 5)  # 200 windows in 40 clusters


def test_equal_views_of_many_clusters_score_near_one():
    assert label_free_score(two_views(MANY, MANY), None) == pytest.approx(1 - 1 / 40)


def test_one_cluster_scores_nothing():
    everything = np.zeros(200, dtype=np.int64)
    assert label_free_score(two_views(everything, everything), None) == 0


@pytest.mark.parametrize("views", [1, 2])
def test_outliers_alone_score_nothing(views):
    none = np.full((views, 200), -1)
    assert label_free_score(none, none) == 0


def test_no_window_clustered_in_both_views_scores_nothing():
    first, second = MANY.copy(), MANY.copy()
    first[:100] = -1
    second[100:] = -1
    assert label_free_score(two_views(first, second), None) == 0


def test_the_more_outliers_the_lower():
    scores = []
    for outliers in (0, 20, 80, 160):
        second = MANY.copy()
        second[:outliers] = -1
        scores.append(label_free_score(two_views(MANY, second), None))
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def test_the_less_agreement_the_lower():
    rng = np.random.default_rng(0)
    scores = []
    for moved in (0, 40, 120, 200):
        second = MANY.copy()
        second[:moved] = rng.permutation(second[:moved])
        scores.append(label_free_score(two_views(MANY, second), None))
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.1


def test_unrelated_views_never_score_below_zero():
    rng = np.random.default_rng(1)
    for _ in range(20):
        score = label_free_score(rng.integers(0, 3, (2, 30)), None)
        assert 0 <= score <= 1


def test_one_view_is_compared_with_the_epoch_before():
    assert label_free_score(MANY[None], None) is None
    same = label_free_score(MANY[None], MANY[None])
    assert same == label_free_score(two_views(MANY, MANY), None)
    other = np.random.default_rng(0).permutation(MANY)
    assert label_free_score(MANY[None], other[None]) < 0.1 < same


def test_two_views_do_not_ask_for_the_epoch_before():
    views = two_views(MANY, np.roll(MANY, 2))
    assert label_free_score(views, None) == label_free_score(views, two_views(MANY * 0, MANY * 0))


@given(
    st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1, max_size=60),
    st.permutations(range(5)),
    st.permutations(range(5)),
)
def test_the_numbers_of_clusters_mean_nothing(pairs, first, second):
    labels = np.array(pairs).T
    renamed = np.stack(
        [np.append(names, -1)[view] for names, view in zip((first, second), labels, strict=True)]
    )
    score = label_free_score(labels, None)
    assert 0 <= score <= 1
    assert label_free_score(renamed, None) == pytest.approx(score, abs=1e-9)


def test_patience_counts_epochs_that_were_not_scored():
    selector = Selector(patience=4)
    taken = [selector.update(e, s) for e, s in enumerate([None, 0.5, None, None, None, 0.9])]
    assert taken == [False, True, False, False, False, False]
    assert selector.done and selector.best_epoch == 1


def test_a_margin_is_a_share_of_the_best_score():
    selector = Selector(10, first=0, margin=0.5)
    scores = [2, 3, 3.1, 4.6, 4.7, 2, 7]
    assert [selector.update(e, s) for e, s in enumerate(scores)] == [
        *(True, False, True, False, True, False, False)
    ]
    assert (selector.best_epoch, selector.waited) == (4, 3)
