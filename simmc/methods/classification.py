"""A head names the probe's persons: which windows count, and how well it does (Rank-1, nAUC).

Shape letters: N windows, v views of a window, e features of a view, n windows that count.
"""

from typing import Any

import numpy as np
import torch

from simmc.config import RecognitionSettings
from simmc.data.loaders import Experiment, Split
from simmc.errors import UserError
from simmc.evaluation.classification import Classification, evaluate_classes
from simmc.methods.matching import tensor_of
from simmc.methods.pretext import ENCODE_BATCH
from simmc.models.recognition import RecognitionNetwork
from simmc.models.source import SourceNetwork
from simmc.runs.runtime import Runtime

SEPARATE = ("ap", "sc")  # views that learn one by one, and whose scores are averaged


@torch.no_grad()
def view(source: SourceNetwork, split: Split, how: str, runtime: Runtime) -> torch.Tensor:
    """(N, v, e) views of a split's windows."""
    source.eval()
    windows = tensor_of(split, runtime.device)
    return torch.cat([source.views(part, how) for part in windows.split(ENCODE_BATCH)])


@torch.no_grad()
def classify(
    network: RecognitionNetwork,
    settings: RecognitionSettings,
    data: Experiment,
    runtime: Runtime,
    seen: torch.Tensor | None = None,
) -> tuple[Classification, np.ndarray]:
    """Judge the probe's windows that count.

    Args:
        network: the source and the head.
        settings: of the stage.
        data: whose probe.
        runtime: device and threads.
        seen: (N, v, e) views of the probe, if they are known.

    Returns:
        The judgement, and (n, 2) int64 true and named persons.
    """
    if seen is None:
        seen = view(network.source, data.probe, network.how, runtime)
    parts = [network.judge(part) for part in seen.split(ENCODE_BATCH)]
    summed = torch.cat([p.mean(1) if network.how in SEPARATE else p.sum(1) for p in parts])
    kept = scored_windows(data.probe.identity, settings)
    if not len(kept):
        raise UserError(
            f"--probe {settings.probe}: every probe window of {settings.dataset} has a label below "
            "0, so there is nobody to name. Give the probe windows their labels."
        )
    scores, true = summed.cpu().numpy()[kept], data.probe.identity[kept]
    judged = evaluate_classes(scores, true, learned=data.train.identity)
    return judged, np.stack([true, scores.argmax(1)], 1)


def scored_windows(identity: np.ndarray, settings: RecognitionSettings) -> np.ndarray:
    """(n,) int64 windows that count (S7): those of a person's full batches; all of small ones.

    A label below 0 names nobody, so these windows never count.
    """
    known = np.flatnonzero(identity >= 0)
    if settings.test_batches == "all":
        return known
    identity = identity[known]
    order = np.argsort(identity, kind="stable")
    sizes = np.bincount(identity)
    place = np.empty(len(identity), dtype=np.int64)  # of a window among its person's
    place[order] = np.arange(len(identity)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    whole = np.where(
        sizes < settings.batch_size, sizes, sizes // settings.batch_size * settings.batch_size
    )
    return known[place < whole[identity]]


def classification_record(judged: Classification) -> dict[str, float]:
    """Rank-1, 5 and 10 and both areas, fractions of 1; windows scored, and of unlearned classes."""
    ranks = {f"top{k}": judged.top(k) for k in (1, 5, 10)}
    areas = {"nauc_roc": judged.nauc_roc, "nauc_cmc": judged.nauc_cmc}
    return ranks | areas | {"probes": judged.probes, "unmatched": judged.unmatched}


def classification_outcome(
    judged: Classification, pairs: np.ndarray, identities: list[int], epoch: int, ranks: int
) -> dict[str, Any]:
    """What results.json holds of a protocol.

    Args:
        judged: how the head did.
        pairs: (n, 2) int64 true and named persons.
        identities: the persons' numbers in the dataset.
        epoch: that the weights come from.
        ranks: of the CMC curve, at most.
    """
    cells, counts = np.unique(pairs, axis=0, return_counts=True)
    names = np.array(identities)[cells]
    return {
        **classification_record(judged),
        "epoch": epoch,
        "cmc": judged.cmc(min(ranks, judged.n_classes)).tolist(),
        "confusion": np.column_stack([names, counts]).tolist(),  # true person, named one, windows
    }
