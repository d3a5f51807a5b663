"""Messages of a training: one line an epoch, and a table at the end."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from simmc import compiled
from simmc.data.experiment.experiment import Experiment
from simmc.engine.health import in_words
from simmc.engine.reporter import Reporter
from simmc.engine.training import Training
from simmc.errors import UserError, numbered
from simmc.runs.records import Health
from simmc.settings.groups import Training as TrainingGroup
from simmc.settings.layers import Resolved

AREAS = {"mAP": "mAP", "nauc_roc": "nAUC"}
MATCHED = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP", "mINP": "mINP"}
COUNTS = ("probes", "unmatched", "averaged")  # of probe windows, beside the rates
CLASSIFIED = {
    **{"top1": "Rank-1", "top5": "Rank-5", "top10": "Rank-10"},
    **{"nauc_roc": "nAUC ROC", "nauc_cmc": "nAUC CMC"},
}


def remaining(record: Mapping[str, Any], settings: TrainingGroup) -> str:
    """Remaining time of a training of fixed length, from its last epoch."""
    evaluation = record["seconds"].get("evaluation", 0.0) / settings.eval_every
    rest = sum(v for k, v in record["seconds"].items() if k != "evaluation")
    minutes = (settings.epochs - record["epoch"] - 1) * (rest + evaluation) / 60
    if minutes < 1:
        return "less than a minute left"
    hours, minutes = divmod(round(minutes), 60)
    return f"{hours} h {minutes} min left" if hours else f"{minutes} min left"


def remark(record: Mapping[str, Any]) -> str:
    """A warning about an epoch; mostly empty."""
    if "ended" in record:
        return f"training ends: {record['ended']}"
    if "clusters_1" not in record:
        return ""
    if record.get("steps") == 0 and record["kept"] == 0:
        return "no step: every window is an outlier in some view"
    if record.get("steps") == 0:
        return numbered("no step: {} [window|windows] kept, fewer than a batch", record["kept"])
    if record["clusters_1"] == 1:
        return "one cluster: MPC has no negatives"
    return ""


def unmatched(figures: Mapping[str, Any]) -> str:
    """How many probes have no match, in few words; empty where all have one."""
    if not figures.get("unmatched"):
        return ""
    return f"{figures['unmatched']:,} of {figures['probes']:,} probes unmatched"


def counted(figures: Mapping[str, Any], available: int) -> list[str]:
    """Sentences on probe windows (`available` of them) that rates leave out or count as misses."""
    found: list[str] = []
    classified = "nauc_roc" in figures
    if figures.get("no_rates") or "probes" not in figures:
        return found
    if figures["unmatched"]:
        head = f"{{}} of {figures['probes']:,} probe windows "
        averaged = numbered("{} probe [window|windows]", figures["averaged"])
        text = (
            f"{head}[shows|show] a person without training windows"
            if classified
            else f"{head}[has|have] no match in the gallery: misses in top-k; mAP and mINP are "
            f"means over {averaged}"
        )
        found.append(numbered(text, figures["unmatched"]))
    if left := available - figures["probes"]:
        why = "label below 0, or --test_batches" if classified else "label below 0"
        text = f"{{}} of {available:,} probe windows [is|are] not scored ({why})"
        found.append(numbered(text, left))
    return found


def rates(figures: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """Percentages in the columns of a table."""
    return "".join(f"{100 * figures[key]:10.2f}" for key in columns)


class Console(Reporter):
    """Prints what a training reports."""

    def say(self, text: str) -> None:
        """Print to standard output at once."""
        print(text, flush=True)

    def notes(self, sentences: Sequence[str]) -> None:
        """Print remarks that are no errors to standard error."""
        for sentence in sentences:
            print(f"note: {sentence}", file=sys.stderr, flush=True)

    def note(self, sentence: str) -> None:
        """Print one remark that is no error to standard error."""
        self.notes([sentence])

    def settings(self, resolved: Resolved[Any]) -> None:
        """The settings that are not plain defaults, with where each came from."""
        lines = resolved.describe().splitlines()
        self.say("\n".join(line for line in lines if not line.endswith(" default")))
        self.say("other settings have their defaults; config.json in the run folder lists all")

    def data(self, data: Experiment) -> None:
        """How many windows and identities a run works on."""
        splits = {"train": data.train, "probe": data.probe, "gallery": data.gallery}
        parts = [f"{name} {len(split.windows):,}" for name, split in splits.items()]
        self.say(f"windows: {', '.join(parts)}")
        if any(data.copies.values()):
            found = ", ".join(f"{count:,} in {name}" for name, count in data.copies.items())
            self.say(f"exact copies of probe windows: {found}")
        if not data.checked:
            lack = "has no checksums of them" if data.checksum else "is missing"
            self.say(f"the files of the windows cannot be checked: manifest.json {lack}")
        if any(data.dropped.values()):
            parts = [f"{name} {count:,}" for name, count in data.dropped.items() if count]
            self.say(f"left out, as incomplete batches (--part_batches drop): {', '.join(parts)}")
        junk = {name: int((split.identity < 0).sum()) for name, split in splits.items()}
        if any(junk.values()):
            parts = [f"{name} {count:,}" for name, count in junk.items() if count]
            self.say(
                f"of these with a label below 0: {', '.join(parts)} (no match in the gallery, "
                "not scored as probes)"
            )
        if data.generated:
            self.say("synthetic walkers: the numbers below say nothing about real people")

    def supervised(self, labels: str) -> None:
        """That identity labels are used, and for what."""
        self.say(f"SUPERVISED: {labels}\nDo not compare these numbers with methods without labels.")

    def stage(self, protocols: Sequence[str], explained: Mapping[str, str]) -> None:
        """A training that begins, and the protocols that it serves."""
        self.say("\n".join(["training for", *(f"  {explained[p]}" for p in protocols)]))
        if compiled.is_first_use():
            self.say("the first use compiles loops of the clustering: the first epoch takes longer")

    def bar(self, items: Iterable[Any]) -> Iterable[Any]:
        """Show the batches of an epoch as a progress bar, on a terminal."""
        return tqdm(items, leave=False, unit="step", disable=None)

    def epoch(self, record: Mapping[str, Any], training: Training[Any], board: Any) -> None:
        """One line for one epoch, and its figures to TensorBoard where that is asked for."""
        parts = [f"epoch {record['epoch']:>4}"]
        if record.get("top1") is not None:
            top = " / ".join(f"{100 * record[k]:.1f}" for k in ("top1", "top5", "top10"))
            area = "mAP" if "mAP" in record else "nauc_roc"
            parts.append(f"top-1/5/10 {top}  {AREAS[area]} {100 * record[area]:.1f}")
            parts.append(unmatched(record))
        if "clusters_1" in record:
            parts.append(f"clusters {record['clusters_1']:>4}  outliers {record['outliers']:>5}")
        if "eps" in record:
            parts.append(f"eps {record['eps']:g}, {record['min_samples']}")
        if "body_agreement" in record:
            parts.append(f"bones {record['body_agreement']:.3f}")
        if "reach" in record:
            parts.append(f"reach {record['reach']:.2f}")
        if "people" in record:
            parts.append(
                f"people {record['people_at_least']} to {record['people']}  unsure of "
                f"{record['unsure']} of {record['tracks']} recordings"
            )
        if "train_top1" in record:
            parts.append(f"train top-1 {100 * record['train_top1']:.1f} %")
        if record.get("steps"):
            losses = [(key, value) for key, value in record.items() if key.startswith("loss_")]
            parts.append("  ".join(f"{k.removeprefix('loss_').upper()} {v:.3f}" for k, v in losses))
        if note := remark(record):
            parts.append(note)
        fixed = training.stopping is None
        best = [
            f"{s.best_epoch} ({name})"
            for name, s in training.selectors.items()
            if s.best_epoch >= 0 and not (fixed and s.best_epoch == record["epoch"])
        ]
        if best:
            parts.append(f"best epoch {', '.join(best)}")
        parts.append(f"{sum(record['seconds'].values()):.1f} s")
        if fixed and record.get("steps"):
            parts.append(remaining(record, training.settings.training))
        self.say(" | ".join(part for part in parts if part))
        if board is not None:
            for key, value in record.items():
                if isinstance(value, int | float) and key not in ("epoch", *COUNTS):
                    board.add_scalar(key, value, record["epoch"])

    @contextmanager
    def board(self, folder: Path, wanted: bool) -> Iterator[Any]:
        """A TensorBoard writer, or None."""
        if not wanted:
            yield None
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "--tensorboard: the package tensorboard is not installed. Install it (pip install "
                "tensorboard), or leave the flag out; metrics.jsonl holds the same numbers."
            ) from error
        writer = SummaryWriter(str(folder / "tensorboard"))
        try:
            yield writer
        finally:
            writer.close()

    def health(self, found: Health) -> None:
        """The verdict on a training, with its reason and the next step where there is one."""
        self.say(f"health: {in_words(found)}")

    def results(self, found: Mapping[str, Any], explained: Mapping[str, str], path: Path) -> None:
        """The final table, all protocols of the method."""
        self.say(
            f"\n{found['method']} on {found['dataset']}, probe {found['probe']}, "
            f"f = {found['length']}, {found['fidelity']}, seed {found['seed']}"
        )
        shown = [figures for figures in found["protocols"].values() if figures]
        columns = CLASSIFIED if any("nauc_roc" in figures for figures in shown) else MATCHED
        self.say(
            f"{'protocol':<12}{''.join(f'{name:>10}' for name in columns.values())}{'epoch':>8}"
        )
        for name, figures in found["protocols"].items():
            if figures is None:
                self.say(f"{name:<12}  none: no epoch was chosen under this protocol")
                continue
            if figures.get("no_rates"):
                self.say(f"{name:<12}  none: {figures['no_rates']}")
                continue
            beside = f"  {unmatched(figures)}".rstrip()
            self.say(f"{name:<12}{rates(figures, columns)}{figures['epoch']:>8}{beside}")
            for kind, other in figures.get("kinds", {}).items():
                self.say(f"  {kind:<10}{rates(other, columns)}")
        for sentence in dict.fromkeys(
            sentence for figures in shown for sentence in counted(figures, found["counts"]["probe"])
        ):
            self.say(sentence)
        for name in found["protocols"]:
            self.say(f"  {explained[name]}")
        if found.get("supervised"):
            self.supervised(found["note"])
        self.say(f"run folder: {path}")
        if "people" in found["counts"] and not found["settings"]["stress"]:
            words = ["identify", "--dataset", found["dataset"], "--probe", found["probe"]]
            words += ["--model_root", str(path.parents[2]), "--run", path.name]
            self.say(f"next, to list who is who: python -m simmc {shlex.join(words)}")

    def further_matching(self, tables: Mapping[str, Mapping[str, Any]], path: Path) -> None:
        """The tables of further ways of matching: of windows, and of walks."""
        for kind in ("windows", "walks"):
            rows = [(name, row) for name, table in tables.items() for row in table.get(kind, [])]
            if not rows:
                continue
            sizes = f"{rows[0][1]['probe']:,} probe, {rows[0][1]['gallery']:,} gallery"
            self.say(f"\nfurther ways of matching {kind} ({sizes}; docs/matching.md)")
            heads = "".join(f"{name:>10}" for name in [*MATCHED.values(), "seconds"])
            self.say(f"{'protocol':<12}{heads}  how")
            for name, row in rows:
                if row.get("no_rates"):
                    self.say(f"{name:<12}  none: {row['no_rates']}  {row['title']}")
                    continue
                how = "; ".join(part for part in (row["title"], unmatched(row)) if part)
                self.say(f"{name:<12}{rates(row, MATCHED)}{row['seconds']:10.1f}  {how}")
        self.say(f"these figures do not replace the plain ones; written to {path}")


CONSOLE = Console()
