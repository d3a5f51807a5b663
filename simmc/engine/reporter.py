"""Messages of a training. The commands print them; from Python nothing is printed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmc.data.experiment.experiment import Experiment
from simmc.runs.records import Health
from simmc.settings.layers import Resolved

if TYPE_CHECKING:
    from simmc.engine.training import Training


class Reporter:
    """Receives messages and ignores them; `simmc.cli.console.Console` prints them."""

    def say(self, text: str) -> None:
        """A line of the normal output."""

    def notes(self, sentences: Sequence[str]) -> None:
        """Remarks that are no errors."""

    def settings(self, resolved: Resolved[Any]) -> None:
        """The settings of a training that begins."""

    def data(self, data: Experiment) -> None:
        """The data of a training or an evaluation."""

    def bar(self, items: Iterable[Any]) -> Iterable[Any]:
        """The batches of an epoch, one by one."""
        return items

    def supervised(self, labels: str) -> None:
        """That identity labels are used, and for what."""

    def stage(self, protocols: Sequence[str], explained: Mapping[str, str]) -> None:
        """A training that begins, and the protocols that it serves."""

    @contextmanager
    def board(self, folder: Path, wanted: bool) -> Iterator[Any]:
        """Where `epoch` also writes its figures; None: nowhere."""
        yield None

    def epoch(self, record: Mapping[str, Any], training: "Training[Any]", board: Any) -> None:
        """An epoch that has ended."""

    def health(self, found: Health) -> None:
        """The verdict on a training that has ended."""

    def results(self, found: Mapping[str, Any], explained: Mapping[str, str], path: Path) -> None:
        """The final numbers of a run (results.json), and protocol -> what it is, in words."""

    def further_matching(self, tables: Mapping[str, Mapping[str, Any]], path: Path) -> None:
        """The figures of further ways of matching, and the file that holds them."""
