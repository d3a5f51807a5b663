"""Further ways of matching are what the functions of evaluation say, on the right features."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from simmc.errors import UserError
from simmc.evaluation.expansion import expanded, unit_length
from simmc.evaluation.ranking import evaluate
from simmc.evaluation.reranking import rerank
from simmc.scoring.match import MatchRule, match, match_features, retrieval_record
from simmc.scoring.rematch import check_matching, rematched
from simmc.settings.groups import Place, Rematch
from tests.methods import make


def experiment():
    """Windows in recordings of three, one after another."""
    data = make.experiment(test=6)

    def ordered(split):
        order = np.argsort(split.identity, kind="stable")
        return replace(
            split,
            windows=split.windows[order],
            identity=split.identity[order],
            recording=np.arange(len(split)) // 3,
        )

    return replace(data, probe=ordered(data.probe), gallery=ordered(data.gallery))


def matched(data, unit):
    found = match(None, data, make.CPU, MatchRule())
    if not unit:
        return found
    sides = (torch.nn.functional.normalize(side) for side in (found.probe, found.gallery))
    return match_features(*sides, data, make.CPU, MatchRule())


def rows_of(data, unit, rule="remove_self", **flags):
    ways = Rematch(**flags)
    check_matching(ways, rule, data, Place())
    found = matched(data, unit)
    tables = rematched(found, ways, MatchRule(rule), data, make.CPU, unit=unit)
    figures = retrieval_record(found)
    return {name: [{k: row[k] for k in figures} for row in rows] for name, rows in tables.items()}


@pytest.mark.parametrize("unit", [False, True])
def test_rows_are_what_they_say(unit):
    data = experiment()
    found = matched(data, unit)
    probe, gallery = found.probe.numpy(), found.gallery.numpy()
    who, whose = data.probe.identity, data.gallery.identity
    how = {"alpha": 2.0, "unit": unit, "threads": 1}
    moved = expanded(probe, gallery, 4, **how), expanded(gallery, gallery, 4, own=True, **how)
    flags = {"expand": 4, "expand_alpha": 2.0}
    both = flags | {"rerank": "on", "rerank_k1": 9, "rerank_k2": 3, "rerank_lambda": 0.4}
    for wanted, asked in (
        (evaluate(moved[0], who, gallery, whose), flags),
        (evaluate(moved[0], who, moved[1], whose), flags | {"expand_gallery": "on"}),
        (rerank(moved[0], who, gallery, whose, k1=9, k2=3, share=0.4), both),
    ):
        assert rows_of(data, unit, **asked) == {"windows": [retrieval_record(wanted)]}


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("walk", [3, "all"])
def test_walks_are_means(unit, walk):
    data = experiment()
    found = matched(data, unit)
    means = [
        side.numpy().reshape(-1, 3, side.shape[1]).mean(1) for side in (found.probe, found.gallery)
    ]
    if unit:
        means = [unit_length(side) for side in means]
    wanted = evaluate(means[0], data.probe.identity[::3], means[1], data.gallery.identity[::3])
    (row,) = rows_of(data, unit, walk=walk)["walks"]
    assert row == pytest.approx(retrieval_record(wanted), abs=1e-12)


def test_one_list_on_both_sides_stays_one():
    data = experiment()
    data = replace(data, gallery=data.probe, same_windows=True)
    own = {"self_index": np.arange(len(data.probe)), "same_condition": "remove_self"}
    x, who = matched(data, False).probe.numpy(), data.probe.identity
    moved = expanded(x, x, 3, own=True, unit=False, threads=1)
    flags = {"rerank": "on", "expand": 3}
    (row,) = rows_of(data, False, **flags, expand_gallery="on")["windows"]
    assert row == retrieval_record(rerank(moved, who, moved, who, **own))
    with pytest.raises(UserError, match="--expand_gallery on"):
        rows_of(data, False, **flags)
    with pytest.raises(UserError, match="--same_condition_map remove_self"):
        rows_of(data, False, "skip_first", **flags)


def test_walks_need_recordings():
    data = make.experiment()
    with pytest.raises(UserError, match=r"--walk 5: .*Preprocess.py"):
        rows_of(data, False, walk=5)
    assert rows_of(data, False) == {}


def test_what_was_matched_is_kept_with_what_was_found():
    data = experiment()
    found, other = matched(data, False), matched(data, True)
    assert found.same_features(matched(data, False))
    assert not found.same_features(other)
    assert found.probe.shape == (len(data.probe), 3 * make.JOINTS)
