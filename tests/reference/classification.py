"""Rank-n and both nAUC as definitions: loops over windows, classes and pairs."""

from __future__ import annotations


def true_rank(row, label):
    """Place of the true class by falling score, lower index first among equals."""
    order = sorted(range(len(row)), key=lambda c: (-row[c], c))
    return order.index(label) + 1


def cmc_area(scores, labels):
    """Sum of Rank-1 ... Rank-C, divided by C."""
    n_classes = len(scores[0])
    ranks = [true_rank(row, label) for row, label in zip(scores, labels, strict=True)]
    rates = [sum(r <= k for r in ranks) / len(ranks) for k in range(1, n_classes + 1)]
    return sum(rates) / n_classes


def roc_area(scores, labels):
    """Share of (true, false) pairs of scores with the true one higher; equal ones count half."""
    true, false = [], []
    for row, label in zip(scores, labels, strict=True):
        for c, score in enumerate(row):
            (true if c == label else false).append(score)
    won = sum((t > f) + (t == f) / 2 for t in true for f in false)
    return won / (len(true) * len(false))
