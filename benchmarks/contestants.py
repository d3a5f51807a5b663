"""The compared implementations: ours, faiss, the dense routine, and the cost of bare products."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.dense import dense_jaccard
from simmc import clustering
from simmc.clustering import ClusterSettings, gpu
from simmc.clustering.approximate import approximate_neighbors
from simmc.clustering.neighbors import SPARE, lower_bound, screen_of, settled
from simmc.runs.runtime import Clock

HOW = ClusterSettings(eps=0.6, min_samples=4, k1=20, k2=6)  # of SimMC on KGBD
BLOCK = 1024  # rows multiplied with all others at a time

# rows (N, d), and neighbour lists (N, k1) or what the step before made -> lists, labels or nothing
Step = Callable[[np.ndarray, Any], Any]


@dataclass(frozen=True)
class Contestant:
    """An implementation of some of the stages `neighbours`, `jaccard` and `dbscan`.

    Attributes:
        label: its name in tables and pictures.
        steps: what is done in each stage, in their order, on as many threads as torch uses.
        quadratic: whether its memory grows with N x N.
        exact_search: whether it compares every row with every other.
        timed: whether its time is measured. If not, its time is the sum of the times of its parts;
            memory is always measured.
    """

    label: str
    steps: Mapping[str, Step]
    quadratic: bool = False
    exact_search: bool = False
    timed: bool = True

    def run(self, rows: np.ndarray, lists: np.ndarray, clock: Clock) -> Any:
        """Its lists, distances or labels of rows (N, d) and given neighbour lists (N, k1)."""
        made: Any = lists
        for stage, step in self.steps.items():
            with clock(stage):
                made = step(rows, made)
        return made


def faiss_neighbors(rows: np.ndarray, k: int, *, on_gpu: bool = False) -> np.ndarray:
    """(N, min(k, N)) int32 neighbour lists of IndexFlatL2, made exact.

    faiss computes in float32. A few more candidates than asked for are therefore ranked again in
    float64, ties by index, and a row whose candidates cannot be proven complete is compared with
    all rows.

    Args:
        rows: (N, d) float32.
        k: neighbours a row, itself included.
        on_gpu: search on the first GPU; needs faiss-gpu.
    """
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    screen, n = screen_of(rows), len(rows)
    index: Any = faiss.IndexFlatL2(rows.shape[1])
    if on_gpu:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(screen.rows)
    distances, found = index.search(screen.rows, min(k + SPARE, n))
    # our bound holds for |y|^2 / 2 - x.y; faiss adds |x|^2 in float32: one more rounding of each
    floor = (distances[:, -1] - screen.norms) / 2 - 1e-6 * screen.norms.max(initial=0.0)
    complete = lower_bound(screen, floor, np.arange(n))
    indices, squared = np.empty((n, min(k, n)), np.int32), np.empty((n, min(k, n)))
    settled(rows, np.arange(n), found.astype(np.int32), complete, indices, squared)
    return indices


def product(rows: np.ndarray, _: Any) -> None:
    """A bare single-precision product of all rows with all rows, block by block."""
    x = torch.from_numpy(rows)
    products = torch.empty(min(BLOCK, len(x)), len(x))
    for part in x.split(BLOCK):
        torch.mm(part, x.T, out=products[: len(part)])


def product_topk(rows: np.ndarray, _: Any) -> np.ndarray:
    """The same product turned into distances, and torch.topk on each row: no ties, no proof."""
    x = torch.from_numpy(rows)
    half = (x * x).sum(1) / 2
    found = torch.empty(len(x), min(HOW.k1, len(x)), dtype=torch.int64)
    scores = torch.empty(min(BLOCK, len(x)), len(x))
    for part, out in zip(x.split(BLOCK), found.split(BLOCK), strict=True):
        here = torch.addmm(half, part, x.T, alpha=-1, out=scores[: len(part)])
        out[:] = here.topk(found.shape[1], largest=False).indices
    return found.numpy()


def scikit_learn(_: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Labels of scikit-learn's DBSCAN from (N, N) distances."""
    from sklearn.cluster import DBSCAN

    how = {"eps": HOW.eps, "min_samples": HOW.min_samples, "n_jobs": torch.get_num_threads()}
    labels: np.ndarray = DBSCAN(metric="precomputed", **how).fit_predict(distances)
    return labels


def _search(search: Callable[[np.ndarray], Any]) -> dict[str, Step]:
    return {"neighbours": lambda rows, _: search(rows)}


def _whole(how: ClusterSettings) -> dict[str, Step]:
    """Features to labels as a training calls it."""
    return {"all": lambda rows, _: clustering.pseudo_labels(rows, how).labels}


_DENSE: dict[str, Step] = {"jaccard": lambda rows, lists: dense_jaccard(rows, lists, HOW.k2)}
CONTESTANTS: dict[str, Contestant] = {
    "exact": Contestant(
        "exact k-NN",
        _search(lambda rows: clustering.k_nearest(rows, HOW.k1).indices),
        exact_search=True,
    ),
    "approximate": Contestant(
        "approximate k-NN",
        _search(lambda rows: approximate_neighbors(rows, HOW.k1).indices),
    ),
    "faiss": Contestant(
        "faiss IndexFlatL2", _search(lambda rows: faiss_neighbors(rows, HOW.k1)), exact_search=True
    ),
    "exact_gpu": Contestant(
        "exact k-NN, GPU",
        _search(
            lambda rows: (
                gpu.k_nearest(torch.from_numpy(rows).to("cuda"), HOW.k1).indices.cpu().numpy()
            )
        ),
        exact_search=True,
    ),
    "faiss_gpu": Contestant(
        "faiss IndexFlatL2, GPU",
        _search(lambda rows: faiss_neighbors(rows, HOW.k1, on_gpu=True)),
        exact_search=True,
    ),
    "product": Contestant("matrix product alone", {"neighbours": product}, exact_search=True),
    "product_topk": Contestant(
        "matrix product + topk", {"neighbours": product_topk}, exact_search=True
    ),
    "ours": Contestant(
        "ours: sparse Jaccard + DBSCAN",
        {
            "jaccard": lambda rows, lists: clustering.graph_from_neighbors(
                rows, lists, HOW.eps, k2=HOW.k2
            ),
            "dbscan": lambda _, graph: clustering.dbscan(graph, HOW.min_samples),
        },
    ),
    "dense": Contestant(
        "dense Jaccard + scikit-learn DBSCAN", _DENSE | {"dbscan": scikit_learn}, quadratic=True
    ),
    "dense_alone": Contestant("dense Jaccard", _DENSE, quadratic=True, timed=False),
    "whole": Contestant("ours with exact k-NN", _whole(HOW), exact_search=True, timed=False),
    "whole_approximate": Contestant(
        "ours with approximate k-NN", _whole(replace(HOW, neighbors="approximate")), timed=False
    ),
}


def lacking() -> dict[str, str]:
    """The contestants that cannot run on this machine, and why."""
    found: dict[str, str] = {}
    if not torch.cuda.is_available():
        found |= dict.fromkeys(("exact_gpu", "faiss_gpu"), "there is no GPU")
    try:
        import faiss
    except ImportError:
        install = "faiss is not installed: pip install faiss-cpu, or faiss-gpu"
        return dict.fromkeys(("faiss", "faiss_gpu"), install) | found
    if not getattr(faiss, "get_num_gpus", int)():
        found.setdefault("faiss_gpu", "faiss-gpu is not installed, or it finds no GPU")
    return found
