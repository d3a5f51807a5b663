"""Re-identification metrics: rank of the first match, CMC, average precision, mINP.

The ranking of a probe orders the whole gallery by (Euclidean distance, gallery index). See
docs/metrics.md for the formulas and the rules at the edges.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeGuard

import numpy as np
import torch

from simmc.compiled import over_rows
from simmc.distances import host_array
from simmc.errors import numbered
from simmc.evaluation.counting import (
    GivenDistances,
    ReleasedSquares,
    Screen,
    is_junk,
    match_spans,
    rank_rows,
)

_BUFFER = 32 * 2**20  # bytes of the block of screening values
Features = np.ndarray | torch.Tensor


@dataclass(frozen=True)
class Retrieval:
    """Outcome of ranking the gallery for every probe.

    Attributes:
        first_match_rank: (Np,) int64, 1-based; 0 where the gallery holds no match, -1 where the
            probe has an identity below 0 and is not scored.
        average_precision: (Np,) float64 in [0, 1]; NaN where there is no match.
        inverse_negative_penalty: (Np,) float64, matches / rank of the last match; NaN likewise.
        left_out: how many probes at the head of the list the means of average precision and
            inverse negative penalty leave out (1 under the released same-condition rule).
        no_rates: why there are no rates, a sentence; every rate is then NaN. Empty: there are.
    """

    first_match_rank: np.ndarray
    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray
    left_out: int = 0
    no_rates: str = ""

    @property
    def probes(self) -> int:
        """Probes that are scored: those with an identity of 0 or more."""
        return int((self.first_match_rank >= 0).sum())

    @property
    def unmatched(self) -> int:
        """Scored probes without a match in (their part of) the gallery."""
        return int((self.first_match_rank == 0).sum())

    @property
    def averaged(self) -> int:
        """Probes that `map` and `minp` are means over; 0 if there are no rates."""
        return (
            0 if self.no_rates else int((~np.isnan(self.average_precision[self.left_out :])).sum())
        )

    @property
    def map(self) -> float:
        """Mean average precision over the probes with a match; NaN if there are no rates."""
        return self._mean(self.average_precision)

    @property
    def minp(self) -> float:
        """Mean inverse negative penalty over the probes with a match; NaN if there are no rates."""
        return self._mean(self.inverse_negative_penalty)

    def top(self, k: int) -> float:
        """Share of all scored probes with a match among the k nearest gallery windows.

        Raises:
            TypeError: k is no integer.
            ValueError: k is below 1.
        """
        k = operator.index(k)
        if k < 1:
            raise ValueError(f"top-k needs k of at least 1, not {k}")
        if self.no_rates:
            return float("nan")
        ranks = self.first_match_rank[self.first_match_rank >= 0]
        return float(np.mean((ranks >= 1) & (ranks <= k)))

    def cmc(self, max_rank: int) -> np.ndarray:
        """Cumulative matching characteristic: top(1), ..., top(max_rank), float64."""
        max_rank = operator.index(max_rank)
        if max_rank < 1:
            raise ValueError(f"the CMC needs a largest rank of at least 1, not {max_rank}")
        if self.no_rates:
            return np.full(max_rank, np.nan)
        ranks = self.first_match_rank
        hits = np.bincount(ranks[(ranks >= 1) & (ranks <= max_rank)], minlength=max_rank + 1)
        return np.cumsum(hits[1:]) / self.probes

    def _mean(self, values: np.ndarray) -> float:
        """Mean of the numbers among (Np,) values; NaN if there are none, or no rates."""
        numbers = values[self.left_out :]
        numbers = numbers[~np.isnan(numbers)]
        return float(numbers.mean()) if len(numbers) and not self.no_rates else float("nan")


def why_no_rates(probe_ids: np.ndarray, gallery_ids: np.ndarray, *, any_match: bool) -> str:
    """Why rates would be meaningless, a sentence; empty where they are not.

    Args:
        probe_ids: (Np,) identities.
        gallery_ids: (Ng,) identities.
        any_match: whether some probe has a match.
    """
    persons = len(np.unique(gallery_ids[~is_junk(gallery_ids)]))
    if persons < 2:
        return numbered(
            "the gallery has {} [identity|identities] (labels below 0 do not count), and rates "
            "need two or more",
            persons,
        )
    if is_junk(probe_ids).all():
        return "every probe window has a label below 0, so none is scored"
    return "" if any_match else "no probe window has a match in the gallery"


def evaluate(
    probe: Features,
    probe_ids: np.ndarray,
    gallery: Features,
    gallery_ids: np.ndarray,
    *,
    self_index: np.ndarray | None = None,
    same_condition: str | None = None,
    negative_squared: str = "clamp",
    block: int | None = None,
    threads: int | None = None,
) -> Retrieval:
    """Rank the gallery for every probe, window against window.

    Features on a GPU are ranked there, and nothing but ranks and average precision leaves it;
    only negative_squared="nan" always works on the CPU.

    Args:
        probe: (Np, d) features, float32 or float64, an array or a tensor.
        probe_ids: (Np,) identities of any sortable type. Below 0: junk, a probe that is not
            scored.
        gallery: (Ng, d) features.
        gallery_ids: (Ng,) identities. Below 0: a distractor, no match of any probe.
        self_index: (Np,) int64 gallery index of the very same window as probe i, -1 where there
            is none; needed by (and only allowed with) a same-condition rule.
        same_condition: None, or for probes that are gallery windows themselves "remove_self"
            (the window is no part of its own ranking) or "skip_first" (the released rule: CMC
            scores ranks 2..k+1, average precision keeps the window itself and its mean leaves
            the first probe out; docs/fidelity.md Q8).
        negative_squared: "clamp", or "nan" for the released evaluation mode (Q13), where a
            squared distance that rounding makes negative ranks last.
        block: probes at a time; default such that the block takes 32 MB (512 MB on a GPU).
            Without influence on the result unless negative_squared is "nan".
        threads: for the counting on the CPU; default as many as torch uses.

    Raises:
        ValueError: on empty, misshapen or non-finite input, naming it.
    """
    probe, gallery = _features("probe", probe), _features("gallery", gallery)
    probe_ids, gallery_ids = np.asarray(probe_ids), np.asarray(gallery_ids)
    _check(probe, probe_ids, gallery, gallery_ids, same_condition, negative_squared, block)
    own = _own_windows(self_index, same_condition, len(probe), len(gallery))
    if _on_gpu(probe) and _on_gpu(gallery) and negative_squared == "clamp":
        from simmc.evaluation.gpu import rank_on_device

        found = rank_on_device(probe, probe_ids, gallery, gallery_ids, own=own, block=block)
        ranks, precision = (numbers.cpu().numpy() for numbers in found)
    else:
        ranks, precision = _rank_on_cpu(
            _array(probe), probe_ids, _array(gallery), gallery_ids, own,
            Screen if negative_squared == "clamp" else ReleasedSquares, block, threads,
        )  # fmt: skip
    return _retrieval(ranks, precision, probe_ids, gallery_ids, same_condition == "skip_first")


def evaluate_distances(
    distances: Callable[[int, int], np.ndarray],
    probe_ids: np.ndarray,
    gallery_ids: np.ndarray,
    *,
    self_index: np.ndarray | None = None,
    same_condition: str | None = None,
    block: int | None = None,
    threads: int | None = None,
) -> Retrieval:
    """Rank the gallery by distances of any kind; only a block of them is in memory.

    Args:
        distances: gives (b, Ng) float64 distances of the probes start .. stop - 1, infinity
            allowed.
        probe_ids: (Np,) identities of any sortable type.
        gallery_ids: (Ng,) identities.
        self_index: as for `evaluate`, like all that follows.
        same_condition: None, "remove_self" or "skip_first".
        block: probes at a time.
        threads: for the counting.

    Raises:
        ValueError: as `evaluate`; or a distance is NaN.
    """
    probe_ids, gallery_ids = np.asarray(probe_ids), np.asarray(gallery_ids)
    probe, gallery = np.empty((len(probe_ids), 0)), np.empty((len(gallery_ids), 0))
    if not len(probe_ids) or not len(gallery_ids):
        raise ValueError(f"{len(probe_ids)} probes and {len(gallery_ids)} gallery windows")
    _check(probe, probe_ids, gallery, gallery_ids, same_condition, "clamp", block)
    own = _own_windows(self_index, same_condition, len(probe_ids), len(gallery_ids))
    rows = block or _rows_of_a_block(GivenDistances.itemsize, len(gallery_ids))
    order, spans = match_spans(probe_ids, gallery_ids)
    screen = GivenDistances(distances, order)
    ranks, precision = _rank_blocks(screen, probe, gallery, order, spans, own, rows, threads)
    return _retrieval(ranks, precision, probe_ids, gallery_ids, same_condition == "skip_first")


def _rank_on_cpu(
    probe: np.ndarray,
    probe_ids: np.ndarray,
    gallery: np.ndarray,
    gallery_ids: np.ndarray,
    own: np.ndarray,
    kind: type[Screen] | type[ReleasedSquares],
    block: int | None,
    threads: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """(Np, 4) first, second, last rank and number of matches; (Np,) average precision."""
    if probe.dtype != gallery.dtype:
        probe, gallery = probe.astype(np.float64), gallery.astype(np.float64)
    order, spans = match_spans(probe_ids, gallery_ids)
    rows = block or _rows_of_a_block(kind.itemsize, len(gallery))
    screen = kind(probe, gallery, order, rows)
    return _rank_blocks(screen, probe, gallery, order, spans, own, rows, threads)


def _rows_of_a_block(itemsize: int, gallery: int) -> int:
    """Probes that are ranked at a time."""
    return max(1, min(1024, _BUFFER // (itemsize * gallery)))


def _rank_blocks(
    screen: Screen | ReleasedSquares | GivenDistances,
    probe: np.ndarray,
    gallery: np.ndarray,
    order: np.ndarray,
    spans: np.ndarray,
    own: np.ndarray,
    rows: int,
    threads: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `_rank_on_cpu`, where everything is at hand but the values of the screen."""
    column = np.empty(len(gallery), np.int64)
    column[order] = np.arange(len(gallery))
    hidden = np.where(own >= 0, column[own], -1)
    threads = threads or torch.get_num_threads()
    ranks = np.empty((len(probe), 4), np.int64)
    precision = np.empty(len(probe))
    for start in range(0, len(probe), rows):
        here = slice(start, min(start + rows, len(probe)))
        values, shift = screen.block(here.start, here.stop)
        count = partial(
            rank_rows, screen=values, shift=shift, norms=screen.norms, longest=screen.longest,
            scale=screen.scale, refine=screen.refine, probes=probe[here], gallery=gallery,
            order=order, spans=spans[here], hidden=hidden[here], ranks=ranks[here],
            precision=precision[here],
        )  # fmt: skip
        over_rows(count, here.stop - start, threads, 32)
    return ranks, precision


def _retrieval(
    ranks: np.ndarray,
    precision: np.ndarray,
    probe_ids: np.ndarray,
    gallery_ids: np.ndarray,
    skip_first: bool,
) -> Retrieval:
    """Turn (Np, 4) first, second, last rank and number of matches into the public record."""
    first, second, last, matches = ranks.T
    with np.errstate(invalid="ignore"):
        penalty = np.where(matches > 0, matches / np.maximum(last, 1), np.nan)
    if skip_first:  # ranks 2, 3, ... count as 1, 2, ...
        first = np.where(first == 1, second, first)
        first = np.where(first > 0, first - 1, 0)
    reason = why_no_rates(probe_ids, gallery_ids, any_match=bool(first.any()))
    first = np.where(is_junk(probe_ids), -1, first)
    return Retrieval(first, precision, penalty, int(skip_first), reason)


def _features(name: str, values: Features) -> Features:
    """Features as a contiguous (n, d) float array, or tensor where they lie on a GPU, checked."""
    if isinstance(values, torch.Tensor):
        array: Features = values.detach() if _on_gpu(values) else host_array(values)
    else:
        array = np.asarray(values)
    if isinstance(array, np.ndarray) and array.dtype.kind == "c":
        raise ValueError(f"{name} features must be real numbers, not complex ones")
    if array.ndim != 2:
        raise ValueError(f"{name} features must have shape (windows, d), not {tuple(array.shape)}")
    if 0 in array.shape:
        raise ValueError(f"{name} features are empty: shape {tuple(array.shape)}")
    if isinstance(array, torch.Tensor):
        array = array.contiguous() if array.dtype == torch.float32 else array.double()
        extremes = torch.stack(array.aminmax()).double().cpu().numpy()  # NaN if any is NaN
    else:
        array = np.ascontiguousarray(array, None if array.dtype == np.float32 else np.float64)
        with np.errstate(invalid="ignore"):
            extremes = np.array([array.min(), array.max()], np.float64)  # NaN if any is NaN
    if not np.isfinite(extremes).all():
        bad = int(np.argmin(np.isfinite(_array(array)).all(axis=1)))
        raise ValueError(f"{name} features hold NaN or infinity, first in window {bad}")
    if np.abs(extremes).max() > 1e100:
        raise ValueError(f"{name} features are too large to square: {extremes}")
    return array


def _on_gpu(features: Features) -> TypeGuard[torch.Tensor]:
    """Whether features lie outside the CPU's memory."""
    return isinstance(features, torch.Tensor) and features.device.type != "cpu"


def _array(features: Features) -> np.ndarray:
    """Features in the CPU's memory."""
    return features.cpu().numpy() if isinstance(features, torch.Tensor) else features


def _check(
    probe: Features,
    probe_ids: np.ndarray,
    gallery: Features,
    gallery_ids: np.ndarray,
    same_condition: str | None,
    negative_squared: str,
    block: int | None,
) -> None:
    """Refuse shapes that do not belong together and unknown rules."""
    if probe.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"probe features have {probe.shape[1]} columns, gallery features {gallery.shape[1]}"
        )
    for name, ids, rows in (("probe", probe_ids, probe), ("gallery", gallery_ids, gallery)):
        if ids.shape != (len(rows),):
            raise ValueError(f"{name}: {len(rows)} windows, but identities of shape {ids.shape}")
    if same_condition not in (None, "remove_self", "skip_first"):
        raise ValueError(f"same_condition must be remove_self or skip_first: {same_condition!r}")
    if negative_squared not in ("clamp", "nan"):
        raise ValueError(f"negative_squared must be clamp or nan: {negative_squared!r}")
    if block is not None and block < 1:
        raise ValueError(f"block must be at least 1, not {block}")


def _own_windows(
    self_index: np.ndarray | None, same_condition: str | None, probes: int, gallery: int
) -> np.ndarray:
    """(Np,) int64 gallery index of the window to remove for each probe, -1 for none."""
    if same_condition == "remove_self" and self_index is None:
        raise ValueError('same_condition="remove_self" needs self_index')
    if same_condition is None and self_index is not None:
        raise ValueError('self_index needs same_condition="remove_self" or "skip_first"')
    if same_condition != "remove_self" or self_index is None:
        return np.full(probes, -1, np.int64)
    own = np.asarray(self_index)
    if own.shape != (probes,) or own.dtype.kind not in "iu":
        raise ValueError(f"self_index must hold {probes} integers, not {own.dtype} {own.shape}")
    if own.min() < -1 or own.max() >= gallery:
        raise ValueError(f"self_index outside -1..{gallery - 1}")
    return own.astype(np.int64)
