"""The one table of places where the public programs and their papers, or plain sense, disagree.

Every switch has a released value (what the published numbers were made with) and an exact value
(what the paper says or what is correct). docs/fidelity.md explains each row and numbers the quirks.
"""

from collections.abc import Mapping
from itertools import chain

from simmc.settings.switches.methods import HIMPC_SWITCHES, SIMMC_SWITCHES
from simmc.settings.switches.preprocess import PREPROCESS_SWITCHES
from simmc.settings.switches.sources import GAIT_SWITCHES, GRAPHS_SWITCHES, RECOGNITION_SWITCHES
from simmc.settings.switches.switch import EPOCHS, Switch

__all__ = ["EPOCHS", "EXACT", "RELEASED", "SWITCHES", "Switch", "values"]

RELEASED, EXACT = "released", "exact"
_TABLES = (
    *(SIMMC_SWITCHES, HIMPC_SWITCHES, GAIT_SWITCHES, GRAPHS_SWITCHES),
    *(RECOGNITION_SWITCHES, PREPROCESS_SWITCHES),
)
SWITCHES: Mapping[str, Switch] = {row.name: row for row in chain.from_iterable(_TABLES)}


def values(command: str, level: str) -> dict[str, str]:
    """The value of every switch of a command at one level, RELEASED or EXACT."""
    if level not in (RELEASED, EXACT):
        raise ValueError(f"fidelity must be {RELEASED} or {EXACT}, not {level!r}")
    return {
        row.name: row.released_by(command) if level == RELEASED else row.exact_by(command)
        for row in SWITCHES.values()
        if command in row.commands
    }
