"""What a training prints: one line an epoch that a person can read, and a table at the end."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from simmc.config import EpochSettings, Resolved
from simmc.data.loaders import Experiment
from simmc.errors import UserError
from simmc.runs.directory import RunDirectory

EXPLAINED = {
    "paper": "paper protocol: the epoch with the best probe top-1 (it has seen the test)",
    "label_free": "label-free protocol: the epoch chosen from pseudo labels alone",
    "fixed_epochs": "fixed-epochs protocol: the last of a number of epochs set beforehand (it has "
    "not seen the test)",
}


# of trainings whose last epoch is the one that counts
LAST_EPOCH = {
    "paper": "paper protocol: the weights of the last epoch",
    "label_free": "label-free protocol: the weights of the last epoch, no identity was used",
}
AREAS = {"mAP": "mAP", "nauc_roc": "nAUC"}
MATCHED = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP", "mINP": "mINP"}
COUNTS = ("probes", "unmatched", "averaged")  # of probe windows, beside the rates
CLASSIFIED = {
    **{"top1": "Rank-1", "top5": "Rank-5", "top10": "Rank-10"},
    **{"nauc_roc": "nAUC ROC", "nauc_cmc": "nAUC CMC"},
}


def say(text: str) -> None:
    """Print to standard output at once."""
    print(text, flush=True)


def notes(sentences: list[str]) -> None:
    """Print remarks that are no errors to standard error."""
    for sentence in sentences:
        print(f"note: {sentence}", file=sys.stderr, flush=True)


def settings(resolved: Resolved) -> None:
    """The settings that are not plain defaults, with where each came from."""
    lines = resolved.describe().splitlines()
    say("\n".join(line for line in lines if not line.endswith(" default")))
    say("everything else as in --help; config.json in the run folder has all of it")


def data_summary(data: Experiment) -> None:
    """How many windows and identities a run works on."""
    splits = {"train": data.train, "probe": data.probe, "gallery": data.gallery}
    parts = [f"{name} {len(split.windows):,}" for name, split in splits.items()]
    say(f"windows: {', '.join(parts)}")
    if any(data.copies.values()):
        found = ", ".join(f"{count:,} in {name}" for name, count in data.copies.items())
        say(f"exact copies: probe windows of which there is a copy: {found}")
    if not data.checked:
        lack = "holds no checksums of them" if data.checksum else "is missing"
        say(f"the files of the windows cannot be checked: manifest.json {lack}")
    if any(data.dropped.values()):
        parts = [f"{name} {count:,}" for name, count in data.dropped.items() if count]
        say(f"left out, as incomplete batches (--part_batches drop): {', '.join(parts)}")
    junk = {name: int((split.identity < 0).sum()) for name, split in splits.items()}
    if any(junk.values()):
        parts = [f"{name} {count:,}" for name, count in junk.items() if count]
        say(
            f"of these with a label below 0: {', '.join(parts)} (nobody's match in the gallery, "
            "not scored as probes)"
        )
    if data.generated:
        say("generated walkers: the numbers below say nothing about real people")


def supervised(labels: str) -> None:
    """That identity labels are at work, and for what."""
    say(f"SUPERVISED: {labels}\nHold these numbers against no method without labels.")


def leg_title(protocols: tuple[str, ...], explained: Mapping[str, str] = EXPLAINED) -> str:
    """What a training serves."""
    return "training for the " + " and the ".join(explained[p] for p in protocols)


def bar(items: Iterable[Any]) -> Iterable[Any]:
    """Shows the batches of an epoch while they are worked on, where a person looks on."""
    return tqdm(items, leave=False, unit="step", disable=None)


def epoch(record: dict[str, Any], training: Any, board: Any) -> None:
    """One line for one epoch, and its figures to TensorBoard where that is asked for."""
    parts = [f"epoch {record['epoch']:>4}"]
    if record.get("top1") is not None:
        top = " / ".join(f"{100 * record[k]:.1f}" for k in ("top1", "top5", "top10"))
        area = "mAP" if "mAP" in record else "nauc_roc"
        parts.append(f"top-1/5/10 {top}  {AREAS[area]} {100 * record[area]:.1f}")
        parts.append(unmatched(record))
    if "clusters_1" in record:
        parts.append(f"clusters {record['clusters_1']:>4}  outliers {record['outliers']:>5}")
    if "people" in record:
        parts.append(
            f"people {record['people_at_least']} to {record['people']}  unsure of "
            f"{record['unsure']} of {record['tracks']} recordings"
        )
    if "train_top1" in record:
        parts.append(f"training windows named {100 * record['train_top1']:.1f}")
    if record.get("steps"):
        losses = [(key, value) for key, value in record.items() if key.startswith("loss_")]
        parts.append("  ".join(f"{k.removeprefix('loss_').upper()} {v:.3f}" for k, v in losses))
    if note := remark(record):
        parts.append(note)
    waits = [
        f"{'best' if name == 'paper' else name} @{s.best_epoch}"
        for name, s in training.selectors.items()
        if s.best_epoch >= 0 and not (training.FIXED_LENGTH and s.best_epoch == record["epoch"])
    ]
    parts.append(", ".join(waits))
    parts.append(f"{sum(record['seconds'].values()):.1f} s")
    if training.FIXED_LENGTH and record.get("steps"):
        parts.append(remaining(record, training.settings))
    say(" | ".join(part for part in parts if part))
    if board is not None:
        for key, value in record.items():
            if isinstance(value, int | float) and key not in ("epoch", *COUNTS):
                board.add_scalar(key, value, record["epoch"])


def remaining(record: dict[str, Any], settings: EpochSettings) -> str:
    """How long a training of fixed length will still take, by its last epoch."""
    evaluation = record["seconds"].get("evaluation", 0.0) / settings.eval_every
    rest = sum(v for k, v in record["seconds"].items() if k != "evaluation")
    minutes = (settings.epochs - record["epoch"] - 1) * (rest + evaluation) / 60
    if minutes < 1:
        return "less than a minute left"
    hours, minutes = divmod(round(minutes), 60)
    return f"{hours} h {minutes} min left" if hours else f"{minutes} min left"


def remark(record: dict[str, Any]) -> str:
    """What is out of the ordinary in an epoch that a person should know of; mostly nothing."""
    if "clusters_1" not in record:
        return ""
    if record.get("steps") == 0 and record["kept"] == 0:
        return "no step: every window is an outlier in some view"
    if record.get("steps") == 0:
        return f"no step: {record['kept']} windows kept, fewer than a batch"
    if record["clusters_1"] == 1:
        return "one cluster: MPC has nothing to tell apart"
    return ""


@contextmanager
def board(folder: Path, wanted: bool) -> Iterator[Any]:
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


def mean_seconds(records: list[dict[str, Any]]) -> dict[str, float]:
    """Mean seconds an epoch by stage, over the epochs in which the stage ran; and their total."""
    stages: dict[str, list[float]] = {}
    for record in records:
        for stage, seconds in record.get("seconds", {}).items():
            stages.setdefault(stage, []).append(seconds)
    means = {stage: sum(values) / len(values) for stage, values in stages.items()}
    return means | {"total_run": sum(sum(r.get("seconds", {}).values()) for r in records)}


def results(
    found: dict[str, Any], run: RunDirectory, explained: Mapping[str, str] = EXPLAINED
) -> None:
    """The final table, all protocols of the method."""
    say(
        f"\n{found['method']} on {found['dataset']}, probe {found['probe']}, "
        f"f = {found['length']}, {found['fidelity']}, seed {found['seed']}"
    )
    shown = [figures for figures in found["protocols"].values() if figures]
    columns = CLASSIFIED if any("nauc_roc" in figures for figures in shown) else MATCHED
    say(f"{'protocol':<12}{''.join(f'{name:>10}' for name in columns.values())}{'epoch':>8}")
    for name, figures in found["protocols"].items():
        if figures is None:
            say(f"{name:<12}  none: no epoch was chosen under this protocol")
            continue
        if figures.get("no_rates"):
            say(f"{name:<12}  none: {figures['no_rates']}")
            continue
        beside = f"  {unmatched(figures)}".rstrip()
        say(f"{name:<12}{rates(figures, columns)}{figures['epoch']:>8}{beside}")
        for kind, other in figures.get("kinds", {}).items():
            say(f"  {kind:<10}{rates(other, columns)}")
    for sentence in dict.fromkeys(
        sentence for figures in shown for sentence in counted(figures, found["counts"]["probe"])
    ):
        say(sentence)
    for name in found["protocols"]:
        say(f"  {explained[name]}")
    if found.get("supervised"):
        supervised(found["note"])
    say(f"run folder: {run.path}")


def further_matching(tables: Mapping[str, Mapping[str, Any]], run: RunDirectory) -> None:
    """The tables of further ways of matching: of windows, and of walks."""
    for kind in ("windows", "walks"):
        rows = [(name, row) for name, table in tables.items() for row in table.get(kind, [])]
        if not rows:
            continue
        sizes = f"{rows[0][1]['probe']:,} probe, {rows[0][1]['gallery']:,} gallery"
        say(f"\nfurther ways of matching {kind} ({sizes}; docs/matching.md)")
        heads = "".join(f"{name:>10}" for name in [*MATCHED.values(), "seconds"])
        say(f"{'protocol':<12}{heads}  how")
        for name, row in rows:
            if row.get("no_rates"):
                say(f"{name:<12}  none: {row['no_rates']}  {row['title']}")
                continue
            how = "; ".join(part for part in (row["title"], unmatched(row)) if part)
            say(f"{name:<12}{rates(row, MATCHED)}{row['seconds']:10.1f}  {how}")
    say(f"none of these is a plain figure; written to {run.matching_path}")


def unmatched(figures: Mapping[str, Any]) -> str:
    """How many probes have no match, in few words; empty where all have one."""
    if not figures.get("unmatched"):
        return ""
    return f"{figures['unmatched']:,} of {figures['probes']:,} probes unmatched"


def counted(figures: Mapping[str, Any], available: int) -> list[str]:
    """What rates leave out or count as misses: sentences; none where there is no such thing.

    Args:
        figures: of a protocol.
        available: all probe windows.
    """
    found: list[str] = []
    classified = "nauc_roc" in figures
    if figures.get("no_rates") or "probes" not in figures:
        return found
    if figures["unmatched"]:
        head = f"{figures['unmatched']:,} of {figures['probes']:,} probe windows "
        found.append(
            f"{head}show a person without training windows"
            if classified
            else f"{head}have no match in the gallery: misses in top-k; mAP and mINP are means "
            f"over {figures['averaged']:,} probe windows"
        )
    if left := available - figures["probes"]:
        why = "label below 0, or --test_batches" if classified else "label below 0"
        found.append(f"{left:,} of {available:,} probe windows are not scored ({why})")
    return found


def rates(figures: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """Percentages in the columns of a table."""
    return "".join(f"{100 * figures[key]:10.2f}" for key in columns)
