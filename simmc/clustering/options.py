"""What decides the clusters."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

Timer = Callable[[str], AbstractContextManager]  # a context manager for each stage, by its name


@dataclass(frozen=True)
class ClusterSettings:
    """What decides the clusters; defaults are those of the public programs.

    Attributes:
        eps: largest Jaccard distance of two neighbours, in (0, 1).
        min_samples: neighbours, itself included, that make a window a core point.
        k1: length of the neighbour lists.
        k2: length of the lists of the local query expansion.
        normalise: unit-length features first (quirk Q1).
        neighbors: "exact", or "approximate" for very many windows (on a GPU always exact).
        recall: of approximate neighbours, the share of true ones to be found.
        reach: Jaccard distance up to which pairs are told, in [eps, 1); None: eps. Pairs beyond
            eps have no influence on the clusters.
    """

    eps: float
    min_samples: int
    k1: int = 20
    k2: int = 6
    normalise: bool = False
    neighbors: str = "exact"
    recall: float = 0.97
    reach: float | None = None

    def __post_init__(self) -> None:
        if self.neighbors not in ("exact", "approximate"):
            raise ValueError(f"neighbors must be exact or approximate, not {self.neighbors!r}")
        for name in ("min_samples", "k1", "k2"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.reach is not None and self.reach < self.eps:
            raise ValueError(f"reach {self.reach} must not be below eps {self.eps}")

    @property
    def cut(self) -> float:
        """Largest distance of a pair in the graph."""
        return self.eps if self.reach is None else self.reach
