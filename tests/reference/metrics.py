"""Metrics written out with plain loops, from their definitions."""

from itertools import groupby

import numpy as np


def squared_distances(probe, gallery):
    """(Np, Ng) float64 squared distances by differences."""
    out = np.empty((len(probe), len(gallery)))
    for i, a in enumerate(np.asarray(probe, np.float64)):
        for j, b in enumerate(np.asarray(gallery, np.float64)):
            out[i, j] = sum((a - b) ** 2)
    return out


def average_precision(values, match):
    """Sum over thresholds of (recall gained) x (precision), equal values together."""
    total, found, seen, result = sum(match), 0, 0, 0.0
    pairs = sorted(zip(values, match, strict=True))
    for _, equal in groupby(pairs, key=lambda pair: pair[0]):
        here = [m for _, m in equal]
        found, seen = found + sum(here), seen + len(here)
        result += sum(here) / total * (found / seen)
    return result


def rank_one(squares, match, left_out=None):
    """Ranks of the matches (1-based, by distance and index) and average precision of a probe.

    Args:
        squares: (Ng,) squared distances.
        match: (Ng,) bool.
        left_out: gallery index that is no part of the ranking.
    """
    entries = [j for j in range(len(squares)) if j != left_out]
    ranking = sorted(entries, key=lambda j: (squares[j], j))
    ranks = [r for r, j in enumerate(ranking, start=1) if match[j]]
    if not ranks:
        return [], float("nan")
    return ranks, average_precision([squares[j] for j in entries], [match[j] for j in entries])


def evaluate(squares, probe_ids, gallery_ids, self_index=None, rule=None):
    """Per probe: first rank (0: none, -1: junk), average precision, matches / last rank."""
    first, precision, penalty = [], [], []
    for i, identity in enumerate(probe_ids):
        if is_junk(identity):
            first.append(-1)
            precision.append(float("nan"))
            penalty.append(float("nan"))
            continue
        match = [g == identity for g in gallery_ids]
        hidden = self_index[i] if rule == "remove_self" else None
        ranks, value = rank_one(squares[i], match, hidden)
        counted = [r - 1 for r in ranks if r > 1] if rule == "skip_first" else ranks
        first.append(counted[0] if counted else 0)
        precision.append(value)
        penalty.append(len(ranks) / ranks[-1] if ranks else float("nan"))
    return np.array(first), np.array(precision), np.array(penalty)


def is_junk(identity):
    """Whether a label is no person's: a number below 0."""
    return not isinstance(identity, str) and identity < 0


def rates(first, precision, penalty, gallery_ids, ks=(1, 5, 10), left_out=0):
    """The rates of `evaluate`'s outcome as results.json holds them; None where there are none."""
    scored = [rank for rank in first if rank >= 0]
    found = {"probes": len(scored), "unmatched": len([rank for rank in scored if rank == 0])}
    persons = {g for g in gallery_ids if not is_junk(g)}
    names = [*(f"top{k}" for k in ks), "mAP", "mINP"]
    if len(persons) < 2 or not any(rank > 0 for rank in scored):
        return found | dict.fromkeys(names) | {"averaged": 0}
    values = [len([rank for rank in scored if 1 <= rank <= k]) / len(scored) for k in ks]
    for numbers in (precision, penalty):
        counted = [value for value in numbers[left_out:] if value == value]
        values.append(sum(counted) / len(counted) if counted else None)
    return found | dict(zip(names, values, strict=True)) | {"averaged": len(counted)}


def cosine_distance(a, b):
    return 1 - sum(a * b) / (sum(a * a) ** 0.5 * sum(b * b) ** 0.5)


def tightness_looseness(features, truth):
    """mACT and mRCL with a loop over classes and members."""
    features = np.asarray(features, np.float64)
    classes = sorted(set(truth))
    members = {c: [x for x, y in zip(features, truth, strict=True) if y == c] for c in classes}
    centre = {c: sum(members[c]) / len(members[c]) for c in classes}
    spread = {
        (a, b): sum(cosine_distance(x, centre[b]) for x in members[a]) / len(members[a])
        for a in classes
        for b in classes
    }
    within = sum(spread[c, c] for c in classes) / len(classes)
    overall = sum(spread.values()) / len(spread)
    between = [
        0 if a == b else cosine_distance(centre[a], centre[b]) for a in classes for b in classes
    ]
    return overall / within, sum(between) / len(between) / overall
