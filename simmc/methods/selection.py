"""Which epoch a run is judged by, and when it has seen enough: the two protocols.

`paper`: the epoch with the best probe top-1, as in the published numbers. It has seen the test.
`label_free`: the epoch with the best score of the pseudo labels alone.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Selector:
    """The best epoch so far by one score, and how long ago it was.

    Attributes:
        patience: epochs without a better score after which the run may end.
        margin: a score counts as better only if it exceeds the best by more than this.
    """

    patience: int
    margin: float = 0.0
    best_score: float = float("-inf")
    best_epoch: int = -1
    waited: int = 0

    @property
    def done(self) -> bool:
        """Whether the patience is used up."""
        return self.waited >= self.patience

    def offer(self, epoch: int, score: float) -> bool:
        """Take an epoch's score; True where it is the best so far.

        The untrained epoch 0 never counts as best, though it does use up patience, as in the
        public program.
        """
        better = epoch >= 1 and score > self.best_score + self.margin
        if better:
            self.best_score, self.best_epoch, self.waited = score, epoch, 0
        self.waited += 1
        return better

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint (the patience stays as set now)."""
        self.best_score = float(state["best_score"])
        self.best_epoch = int(state["best_epoch"])
        self.waited = int(state["waited"])


def label_free_score(labels: Any) -> float:
    """Placeholder."""
    from sklearn.metrics import adjusted_rand_score

    kept = (labels >= 0).all(0)
    if len(labels) < 2 or not kept.any():
        return float(kept.mean())
    return float(adjusted_rand_score(labels[0][kept], labels[1][kept]))
