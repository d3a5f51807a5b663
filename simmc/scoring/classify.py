"""Classification of the probe by a head: which windows are scored, Rank-1 and nAUC.

Shape letters: N windows, v views of a window, e features of a view, n scored windows.
"""

import numpy as np
import torch

from simmc.data.experiment.experiment import Experiment, Split
from simmc.errors import UserError
from simmc.evaluation.classification import Classification, evaluate_classes
from simmc.models.recognition import RecognitionNetwork
from simmc.models.source import SourceNetwork
from simmc.runs.records import Figures
from simmc.runs.runtime import Runtime
from simmc.scoring.match import CMC_RANKS, Outcome, tensor_of
from simmc.settings.groups import Place

ENCODE_BATCH = 1024  # windows encoded at once
SEPARATE = ("ap", "sc")  # views that are trained one by one, and whose scores are averaged


def require_known(data: Experiment, place: Place, what: str, *, named: bool) -> None:
    """UserError where no head can learn the persons or, if it is to name them, the probe's."""
    data.require_identities(what)
    if named and data.test_identities != data.identities:
        raise UserError(
            f"--probe {place.probe}: its persons are not those of the training windows of "
            f"{place.dataset}, so no head can name them. Use --score match."
        )
    if named and (data.probe.identity < 0).all():
        raise UserError(
            f"--probe {place.probe}: every probe window of {place.dataset} has a label below "
            "0, so there is nobody to name. Give the probe windows their labels."
        )


@torch.no_grad()
def view(source: SourceNetwork, split: Split, how: str, runtime: Runtime) -> torch.Tensor:
    """(N, v, e) views of a split's windows."""
    source.eval()
    windows = tensor_of(split, runtime.device)
    return torch.cat([source.views(part, how) for part in windows.split(ENCODE_BATCH)])


@torch.no_grad()
def classify(
    network: RecognitionNetwork,
    data: Experiment,
    runtime: Runtime,
    *,
    batch: int | None = None,
    seen: torch.Tensor | None = None,
) -> tuple[Classification, np.ndarray]:
    """Classify the scored windows of the probe.

    `batch` is the batch size where only full batches are scored, `seen` (N, v, e) the views of the
    probe if they are known.

    Returns:
        The classification, and (n, 2) int64 true and predicted persons.
    """
    if seen is None:
        seen = view(network.source, data.probe, network.how, runtime)
    parts = [network.judge(part) for part in seen.split(ENCODE_BATCH)]
    summed = torch.cat([p.mean(1) if network.how in SEPARATE else p.sum(1) for p in parts])
    kept = scored_windows(data.probe.identity, batch)
    scores, true = summed.cpu().numpy()[kept], data.probe.identity[kept]
    judged = evaluate_classes(scores, true, learned=data.train.identity)
    return judged, np.stack([true, scores.argmax(1)], 1)


def scored_windows(identity: np.ndarray, batch: int | None) -> np.ndarray:
    """(n,) int64 scored windows (S7) of identities (N,): those of a person's full batches.

    Persons with less than a batch are scored in full; so are all where `batch` is None. Windows
    with a label below 0 never are.
    """
    known = np.flatnonzero(identity >= 0)
    if batch is None:
        return known
    identity = identity[known]
    order = np.argsort(identity, kind="stable")
    sizes = np.bincount(identity)
    place = np.empty(len(identity), dtype=np.int64)  # of a window among its person's
    place[order] = np.arange(len(identity)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    whole = np.where(sizes < batch, sizes, sizes // batch * batch)
    return known[place < whole[identity]]


def classification_record(judged: Classification) -> Figures:
    """Rank-1, 5 and 10 and both areas, fractions of 1; windows scored, and of unlearned classes."""
    return {
        "top1": judged.top(1),
        "top5": judged.top(5),
        "top10": judged.top(10),
        "nauc_roc": judged.nauc_roc,
        "nauc_cmc": judged.nauc_cmc,
        "probes": judged.probes,
        "unmatched": judged.unmatched,
    }


def classification_outcome(
    judged: Classification, pairs: np.ndarray, identities: list[int]
) -> Outcome:
    """The numbers of some weights, from (n, 2) true and predicted persons and their numbers."""
    cells, counts = np.unique(pairs, axis=0, return_counts=True)
    names = np.array(identities)[cells]
    confusion = np.column_stack([names, counts]).tolist()  # true person, predicted one, windows
    curve = judged.cmc(min(CMC_RANKS, judged.n_classes)).tolist()
    return Outcome(classification_record(judged), None, curve, {"confusion": confusion})
