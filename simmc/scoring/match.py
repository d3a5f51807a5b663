"""From windows to a retrieval: features of probe and gallery, matched by Euclidean distance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np
import torch

from simmc.data.experiment.experiment import Experiment, Split, labels_of
from simmc.evaluation.counting import has_match
from simmc.evaluation.ranking import Retrieval, evaluate, why_no_rates
from simmc.runs.directory import RunDirectory
from simmc.runs.records import Figures, ProbeOutcomes, ProtocolResults, Results
from simmc.runs.runtime import Runtime

RATES = ("top1", "top5", "top10", "mAP", "mINP")
CMC_RANKS = 50  # of the curve in results.json
ENCODE_BATCH = 512  # windows encoded at once; memory of larger blocks is allocated anew each time
# (B, f, K) windows and (B, q, f) frame weights to (B, q, H) features; None: the frames themselves
Encoder = Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None
# What is on a GPU stays there as long as its split is in use: every evaluation needs it again.
_moved: WeakKeyDictionary[Split, dict[torch.device, torch.Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True)
class MatchRule:
    """How features are matched.

    Attributes:
        same_condition: the rule where probe and gallery are one list (Q8).
        negative_squared: "clamp", or "nan" as the released evaluation mode (Q13).
    """

    same_condition: str = "remove_self"
    negative_squared: str = "clamp"


@dataclass(frozen=True)
class Matched(Retrieval):
    """What was retrieved, and by which features.

    Attributes:
        probe: (Np, d) features of the probe windows.
        gallery: (Ng, d) features of the gallery windows.
    """

    probe: torch.Tensor = field(kw_only=True, repr=False)
    gallery: torch.Tensor = field(kw_only=True, repr=False)

    def same_features(self, other: "Matched") -> bool:
        """Whether the same was matched."""
        pairs = ((self.probe, other.probe), (self.gallery, other.gallery))
        return all(torch.equal(one, two) for one, two in pairs)


@dataclass(frozen=True)
class Outcome:
    """The numbers of one protocol.

    Attributes:
        figures: rates, fractions of 1, and how many probes they are taken over.
        epoch: that the weights come from; None where no epoch could be chosen.
        cmc: the curve; None where there are no rates.
        more: what else results.json holds, such as the figures of each body level.
        retrieval: the result of every probe, where windows were matched.
    """

    figures: Figures
    epoch: int | None
    cmc: list[float] | None
    more: ProtocolResults = field(default_factory=ProtocolResults)
    retrieval: Retrieval | None = field(default=None, repr=False)

    def to_dict(self) -> ProtocolResults:
        """What results.json holds of a protocol."""
        return {**self.figures, "epoch": self.epoch, "cmc": self.cmc, **self.more}


def tensor_of(split: Split, device: torch.device) -> torch.Tensor:
    """(N, f, K) float32 of a split's windows, K = 3 J joint-major; on the CPU their own memory."""
    tensor = torch.from_numpy(split.windows.reshape(*split.windows.shape[:2], -1))
    if device.type == "cpu":
        return tensor
    there = _moved.setdefault(split, {})
    if device not in there:
        there[device] = tensor.to(device)
    return there[device]


@torch.no_grad()
def encode(
    network: Encoder, windows: torch.Tensor, masks: torch.Tensor | None = None
) -> torch.Tensor:
    """(N, q, H) masked features, or (N, 1, H) means over all frames where no masks are given.

    Without a network the frames themselves are averaged: the raw-coordinate baseline.
    """
    n, length, _ = windows.shape
    if masks is None:
        masks = torch.full((1, 1, length), 1.0 / length, device=windows.device).expand(n, -1, -1)
    apply = network if network is not None else lambda x, w: w @ x
    parts = zip(windows.split(ENCODE_BATCH), masks.split(ENCODE_BATCH), strict=True)
    return torch.cat([apply(x, w) for x, w in parts])


def match(network: Encoder, data: Experiment, runtime: Runtime, rule: MatchRule) -> Matched:
    """CMC and mAP of the probe windows against the gallery windows, by Euclidean distance.

    A network of None stands for raw coordinates.
    """
    return match_encoded(
        lambda split: encode(network, tensor_of(split, runtime.device))[:, 0], data, runtime, rule
    )


def match_encoded(
    encoded: Callable[[Split], torch.Tensor], data: Experiment, runtime: Runtime, rule: MatchRule
) -> Matched:
    """Probe against gallery by the (N, d) features that `encoded` gives of a split's windows."""
    return match_features(encoded(data.probe), encoded(data.gallery), data, runtime, rule)


def match_features(
    probe: torch.Tensor,
    gallery: torch.Tensor,
    data: Experiment,
    runtime: Runtime,
    rule: MatchRule,
) -> Matched:
    """Probe against gallery by features (Np, d) and (Ng, d) of their windows."""
    same = data.same_windows
    found = evaluate(
        probe,
        data.probe.identity,
        gallery,
        data.gallery.identity,
        self_index=np.arange(len(probe)) if same else None,
        same_condition=rule.same_condition if same else None,
        negative_squared=rule.negative_squared,
        threads=runtime.threads,
    )
    return Matched(**vars(found), probe=probe, gallery=gallery)


def retrieval_record(found: Retrieval) -> Figures:
    """The figures of a retrieval, fractions of 1, and how many probes they are taken over.

    Where there are no rates, they are None, and `no_rates` says why.
    """
    rates = (*(found.top(k) for k in (1, 5, 10)), found.map, found.minp)
    return _record(rates, found.probes, found.unmatched, found.averaged, found.no_rates)


def retrieval_outcome(
    found: Retrieval, epoch: int | None = None, more: ProtocolResults | None = None
) -> Outcome:
    """The numbers of a retrieval by the weights of an epoch."""
    curve = None if found.no_rates else found.cmc(CMC_RANKS).tolist()
    return Outcome(retrieval_record(found), epoch, curve, more or {}, found)


def unscored(data: Experiment) -> Outcome | None:
    """The outcome where these data give no rates, whatever the weights; else None."""
    probe, gallery = data.probe.identity, data.gallery.identity
    matched = int(has_match(probe, gallery, same=data.same_windows).sum())
    why = why_no_rates(probe, gallery, any_match=matched > 0)
    if not why:
        return None
    probes = int((probe >= 0).sum())
    figures = _record((None,) * len(RATES), probes, probes - matched, 0, why)
    return Outcome(figures, None, None)


def fill(results: Results, outcomes: Mapping[str, Outcome | None]) -> None:
    """Enter the outcome of each protocol into what results.json holds."""
    for protocol, outcome in outcomes.items():
        results["protocols"][protocol] = None if outcome is None else outcome.to_dict()


def keep_probes(
    run: RunDirectory, outcomes: Mapping[str, Outcome | None], data: Experiment
) -> None:
    """Write the result of every probe window under each protocol."""
    identity = labels_of(data.probe.identity, data.test_identities)
    for protocol, outcome in outcomes.items():
        if outcome and outcome.retrieval:
            found = ProbeOutcomes.of(outcome.retrieval, identity, data.probe.recording)
            found.write(run.probes_path(protocol))


def _record(
    rates: tuple[float | None, ...], probes: int, unmatched: int, averaged: int, no_rates: str
) -> Figures:
    shown = dict(zip(RATES, (None,) * len(RATES) if no_rates else rates, strict=True))
    figures = cast(Figures, shown)
    figures |= {"probes": probes, "unmatched": unmatched, "averaged": averaged}
    return figures | {"no_rates": no_rates} if no_rates else figures
