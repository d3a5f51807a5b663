"""The papers' printed rows, in percent, from the files of `configs/tables`.

SimMC's Tables 1 and 2 also stand in the public README, with the same numbers. Its own rows are
averages of an unstated number of runs; most comparison rows fit single runs (the shares are
multiples of one over the number of probes). Every epoch was chosen by the probe's own top-1, so
compare a published row with our `paper` protocol. The descriptors of SGELA's Table 2 were
classified, not matched: Rank-1 and nAUC of the `supervised` protocol.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from simmc.reports import cells

SOURCE = "SimMC, IJCAI 2022"
SGELA = "SGELA, TPAMI 2021"
REPOSITORIES = "public repositories of AGE, MG-SCR and SM-SGE"
CLASSIFYING = (SGELA, REPOSITORIES)  # those that print Rank-1 and nAUC
# our methods -> the published row that they correspond to
_READINGS = {"raw_flat": "Baseline", "raw_mean": "Baseline"}


@dataclass(frozen=True)
class PublishedRow:
    """One method on one probe setting; rates in percent, None where the paper prints none."""

    table: int | None
    method: str
    dataset: str
    probe: str
    top1: float
    top5: float | None = None
    top10: float | None = None
    mAP: float | None = None  # as results.json spells it
    nauc_roc: float | None = None  # of a classification
    paper: str = SOURCE

    @property
    def source(self) -> str:
        """Paper and table."""
        return self.paper if self.table is None else f"{self.paper}, Table {self.table}"

    @property
    def protocol(self) -> str:
        """The protocol of ours to compare it with."""
        return "supervised" if self.paper in CLASSIFYING else "paper"


@cache
def rows() -> tuple[PublishedRow, ...]:
    """Every printed row of the papers' tables, in their order."""
    found = []
    for table in (table for table in cells.tables().values() if table.paper):
        for row in table.rows:
            for column, rates in row.printed.items():
                dataset, _, probe = column.partition("/")
                if "top1" in rates:
                    kept: dict[str, Any] = {
                        name: rates[name] for name in cells.RATES if name in rates
                    }
                    where = (table.number, row.name, dataset, probe)
                    found.append(PublishedRow(*where, **kept, paper=table.paper))
    return tuple(found)


def find(method: str, dataset: str, probe: str) -> PublishedRow | None:
    """The first published row of this method, whatever its case, or None."""
    wanted = _READINGS.get(method, method).casefold()
    for row in rows():
        if (row.method.casefold(), row.dataset, row.probe) == (wanted, dataset, probe):
            return row
    return None
