"""Ranks and average precision by tensor operations, so that features need not leave a GPU.

The outcome is that of `simmc.evaluation.counting`, by the same idea in other operations. For a
block of probes:

1. The squared distances of the matches are computed exactly (double precision, differences, the
   order of summation of `simmc.distances.squared_distance`) and sorted: the thresholds.
2. A matrix product in double precision gives every other window a value, and a binary search the
   thresholds it comes between.
3. Where rounding of the value leaves that open, which is rare except at equal windows, the distance
   is computed exactly, too.

The gallery is never sorted, and nothing depends on the order in which a device adds up. Letters:
B probes of a block, n gallery, d features, P most matches of a probe of the block, m pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import pad

from simmc.distances import LANES, halved, sum_of_squares
from simmc.evaluation.counting import match_spans

_BLOCK = 512 * 2**20  # bytes for a block of probes
_EACH = 48  # of them for a probe and a gallery window, at most
_PAIRS = 128 * 2**20  # bytes for pairs whose distances are computed at a time


@dataclass(frozen=True)
class _Matches:
    """The matches of a block of probes, nearest first; rows are filled up at the end.

    Attributes:
        squared: (B, P) float64 ascending squared distances, infinite where filled up.
        index: (B, P) int64 gallery index; equal distances are in its order.
        count: (B,) int64 matches.
    """

    squared: torch.Tensor
    index: torch.Tensor
    count: torch.Tensor


@torch.no_grad()
def rank_on_device(
    probe: torch.Tensor,
    probe_ids: np.ndarray,
    gallery: torch.Tensor,
    gallery_ids: np.ndarray,
    *,
    own: np.ndarray | None = None,
    block: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ranks of every probe's matches among all gallery windows.

    Args:
        probe: (Np, d) finite features, float32 or float64, on any device.
        probe_ids: (Np,) identities of any sortable type.
        gallery: (Ng, d) features of the same type, on the same device.
        gallery_ids: (Ng,) identities.
        own: (Np,) int64 gallery index of a window that is no part of the ranking of probe i, -1
            for none.
        block: probes at a time; default such that the block takes 512 MB. Without influence on
            the result.

    Returns:
        (Np, 4) int64, first, second and last rank and number of the matches (0 where there is no
        such match), and (Np,) float64 average precision (NaN: no match), both on the device.
    """
    device = probe.device
    order, spans = (torch.from_numpy(a).to(device) for a in match_spans(probe_ids, gallery_ids))
    own = np.full(len(probe), -1, np.int64) if own is None else own
    hidden = torch.from_numpy(own).to(device)
    mean = gallery.double().mean(dim=0)  # to be subtracted: |p|^2 + |g|^2 - 2pg then cancels less
    centred = gallery.double() - mean
    norms = centred.square().sum(dim=1)
    rows = block or max(1, _BLOCK // (_EACH * len(gallery)))
    ranks, precision = [], []
    for start in range(0, len(probe), rows):
        here = slice(start, start + rows)
        matches = _matches(probe[here], gallery, order, spans[here], hidden[here])
        left = probe[here].double() - mean
        values = torch.addmm(norms[None], left, centred.T, alpha=-2)
        aside = torch.where(hidden[here] < 0, matches.index[:, 0], hidden[here])
        values.scatter_(1, torch.cat([matches.index, aside[:, None]], dim=1), torch.inf)
        shift = left.square().sum(dim=1)
        slack = _slack(matches, shift, norms.max(), probe.shape[1])
        ahead, no_later = _between(probe[here], gallery, matches, values, shift, slack)
        block_ranks, block_precision = _summary(matches, ahead, no_later)
        ranks.append(block_ranks)
        precision.append(block_precision)
    return torch.cat(ranks), torch.cat(precision)


def _matches(
    probe: torch.Tensor,
    gallery: torch.Tensor,
    order: torch.Tensor,
    spans: torch.Tensor,
    hidden: torch.Tensor,
) -> _Matches:
    """Sort the matches of a block of probes.

    A row with fewer than P matches is filled up with its last one, a row without any with
    whatever comes first; their distance is then infinite, as is that of the hidden window.
    """
    start, length = spans[:, :1], (spans[:, 1] - spans[:, 0])[:, None]
    place = torch.arange(max(1, int(length.max())), device=probe.device)
    at = start + torch.minimum(place, length - 1).clamp(min=0)
    index = order[at.clamp(max=len(order) - 1)]
    rows = torch.arange(len(probe), device=probe.device)[:, None].expand_as(index)
    squared = squared_distances(probe, gallery, rows.reshape(-1), index.reshape(-1))
    missing = (place >= length) | (index == hidden[:, None])
    squared = squared.view_as(index).masked_fill_(missing, torch.inf)
    squared, ascending = torch.sort(squared, dim=1, stable=True)  # ties stay in order of index
    return _Matches(squared, index.gather(1, ascending), (~missing).sum(dim=1))


def squared_distances(
    a: torch.Tensor, b: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """(m,) float64 squared distances of a[rows] and b[columns].

    To the last bit those of `simmc.distances.squared_distance`, and the same on every device: no
    operation leaves an order of summation open.
    """
    parts = []
    most = max(1, _PAIRS // (8 * (2 * a.shape[1] + 3 * LANES)))
    for i, j in zip(rows.split(most), columns.split(most), strict=True):
        parts.append(sum_of_squares(a[i].double() - b[j].double()))
    return torch.cat(parts)


def _slack(matches: _Matches, shift: torch.Tensor, largest: torch.Tensor, d: int) -> torch.Tensor:
    """(B,) how far a value may lie from what the exact distance gives, whatever was rounded.

    With u = 2^-53 and lengths a, b of the centred windows, to first order and in units of
    u (a + b)^2: the product and both norms, summed in any order, d; the exact distance as
    computed d / 32 + 9; centring 2; adding up three terms and taking a^2 and the slack itself
    from a threshold, 5. 4 (d + 16) also covers higher orders and the computing of this bound.
    The last term is for underflow.

    Of b only the reach matters: a window longer than 1.1 (a + distance of the last match) is
    farther than that match by more than rounding can hide.
    """
    last = torch.where(matches.squared.isfinite(), matches.squared, 0.0).amax(dim=1).sqrt()
    length = shift.sqrt()
    both = length + torch.minimum(largest.sqrt(), 1.1 * (length + last))
    return 2.0**-51 * (d + 16) * both.square() + 1e-290


def _between(
    probe: torch.Tensor,
    gallery: torch.Tensor,
    matches: _Matches,
    values: torch.Tensor,
    shift: torch.Tensor,
    slack: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """How many windows come between match k - 1 and match k.

    Args:
        probe: (B, d) features.
        gallery: (n, d) features.
        matches: of these probes.
        values: (B, n) float64, squared distances less `shift`, up to `slack`; infinite for
            matches and for what is no part of the ranking.
        shift: (B,) float64 squared lengths of the centred probes.
        slack: (B,) float64.

    Returns:
        (B, P) int64 by (distance, index), and (B, P) by distance alone, those at match k's own
        included.
    """
    thresholds = matches.squared - shift[:, None]
    n_bins = thresholds.shape[1] + 1  # the last one, for what lies beyond all, is never read
    bins = torch.searchsorted(thresholds + slack[:, None], values)
    # NaN compares false: beyond the last match nothing is in doubt
    floor = torch.where(thresholds.isfinite(), thresholds - slack[:, None], torch.nan)
    doubt = pad(floor, (0, 1), value=torch.nan).gather(1, bins) <= values
    bins.masked_fill_(doubt, n_bins - 1)
    bins += n_bins * torch.arange(len(bins), device=bins.device)[:, None]
    sure = torch.bincount(bins.view(-1), minlength=n_bins * len(bins))
    ahead, no_later = sure, sure.clone()
    rows, columns = torch.nonzero(doubt, as_tuple=True)
    most = max(1, _PAIRS // (8 * n_bins))
    for i, j in zip(rows.split(most), columns.split(most), strict=True):
        exact = squared_distances(probe, gallery, i, j)[:, None]
        nearer = (matches.squared[i] < exact).sum(dim=1)
        equal = (matches.squared[i] == exact) & (matches.index[i] < j[:, None])
        no_later += torch.bincount(i * n_bins + nearer, minlength=len(sure))
        ahead = ahead + torch.bincount(i * n_bins + nearer + equal.sum(dim=1), minlength=len(sure))
    shape = len(bins), n_bins
    return ahead.view(shape)[:, :-1], no_later.view(shape)[:, :-1]


def _summary(
    matches: _Matches, ahead: torch.Tensor, no_later: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 4) first, second, last rank and number of the matches; (B,) average precision."""
    squared, count = matches.squared, matches.count
    place = torch.arange(1, squared.shape[1] + 1, device=squared.device)
    ranks = ahead.cumsum(dim=1) + place
    last = ranks.gather(1, (count - 1).clamp(min=0)[:, None])
    ranks = torch.cat([pad(ranks[:, :2], (0, 2 - min(2, len(place)))), last], dim=1)
    ranks *= count[:, None] >= torch.tensor([1, 2, 1], device=squared.device)
    # equal distances share one precision: hits and windows up to the end of the group
    hits = torch.searchsorted(squared, squared, right=True)
    windows = hits + no_later.cumsum(dim=1).gather(1, hits - 1)
    terms = (hits.double() / windows.double()) * (place <= count[:, None])
    terms = pad(terms, (0, (1 << (len(place) - 1).bit_length()) - len(place)))
    return torch.cat([ranks, count[:, None]], dim=1), halved(terms) / count
