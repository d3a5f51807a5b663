"""What a fidelity switch is, and the groups of commands that have switches in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SIMMC = ("simmc", "finetune")  # SimMC on windows, and on another model's features
TRAININGS = (*SIMMC, "himpc")  # the commands that learn by clustering
GAIT = ("age", "sgela")
GRAPHS = ("mgscr", "smsge")
SOURCES = (*GAIT, *GRAPHS)  # those whose features SimMC-UF fine-tunes
OWN = ("trackmc",)  # ours: it has no published program, but reads and scores windows too
EPOCHS = (*TRAININGS, *OWN, "supervised", *SOURCES, "recognition")  # those that learn in epochs
SCORINGS = (*EPOCHS, "descriptors")  # those that score windows
# those that read joints themselves; the others take them as a source model did
SKELETAL = tuple(name for name in SCORINGS if name not in ("finetune", "recognition"))


@dataclass(frozen=True)
class Switch:
    """One deviation that the user can choose.

    Attributes:
        name: flag without dashes, and key in files.
        quirk: row in docs/fidelity.md.
        released: value that repeats the public program.
        exact: value that is right.
        help: one sentence for `--help`.
        commands: those that have the flag.
        more: further values, neither released nor exact.
        instead: command -> its own released value, where programs differ.
        exact_instead: command -> its own exact value, where papers differ.
        open: True where values outside `choices` are checked by the command itself.
    """

    name: str
    quirk: str
    released: str
    exact: str
    help: str
    commands: tuple[str, ...]
    more: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    exact_instead: Mapping[str, str] = field(default_factory=dict)
    open: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """All named values, released first, exact second."""
        return tuple(dict.fromkeys((self.released, self.exact, *self.more)))

    def released_by(self, command: str) -> str:
        """The value with which the numbers of this command's paper were made."""
        return self.instead.get(command, self.released)

    def exact_by(self, command: str) -> str:
        """The value that is right for this command."""
        return self.exact_instead.get(command, self.exact)
