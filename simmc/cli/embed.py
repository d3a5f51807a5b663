"""`simmc embed`: the features of every stored window of a trained run, as plain arrays."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from simmc import files as atomic
from simmc.cli.console import CONSOLE
from simmc.cli.trained import Asked, Chosen, choose
from simmc.data import arrays
from simmc.errors import UserError
from simmc.runs.records import described_data
from simmc.settings import groups, resolve
from simmc.settings.options import MACHINE, Settings, option

FOLDER, ABOUT = "embeddings", "embed.json"
SPLITS = ("train", "probe", "gallery")
ORDER = "rows are windows in the order of the stored files, all of them"


@dataclass(frozen=True, kw_only=True)
class EmbedSettings(Settings):
    """Settings of `simmc embed`."""

    COMMAND: ClassVar[str] = "embed"
    SUMMARY: ClassVar[str] = (
        "Write the features that a trained run gives every stored window, as .npy files."
    )

    place: groups.Place
    machine: groups.Machine
    asked: Asked
    out: str = option(
        "", "Folder of the files; default: 'embeddings' in the run folder.", group=MACHINE
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    resolved = resolve(EmbedSettings, argv)
    chosen = choose(resolved)
    chosen.report()
    out = Path(resolved.settings.out or chosen.run.path / FOLDER)
    write(chosen, resolved.settings.asked.protocol, out)
    return 0


def write(chosen: Chosen, protocol: str, out: Path) -> None:
    """Write the features of every split, then embed.json: without it they are not complete."""
    about = out / ABOUT
    refuse_others(out, chosen.run.path / FOLDER)
    remove(about)
    data, made = chosen.data, {}
    for name in SPLITS:
        split = getattr(data, name)
        features = chosen.features(split)
        path = out / f"{name}.npy"
        arrays.save(path, features)
        made[name] = {
            "file": path.name,
            "shape": features.shape,
            "dtype": str(features.dtype),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        CONSOLE.say(f"{path}  {len(features):,} x {features.shape[1]}")
    atomic.write_json(about, described(chosen, protocol, made))
    CONSOLE.say(f"{about}")


def refuse_others(out: Path, usual: Path) -> None:
    """UserError where --out has such files that simmc embed did not write."""
    if out == usual or (out / ABOUT).is_file():
        return
    for name in SPLITS:
        if (path := out / f"{name}.npy").exists():
            raise UserError(
                f"{path}: exists without an {ABOUT} of simmc embed beside it, so it is "
                "not overwritten; choose another folder with --out, or move the file away"
            )


def remove(path: Path) -> None:
    """Remove the description of an earlier call, whose arrays are replaced one by one."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise atomic.cannot_write(path, error) from error


def described(chosen: Chosen, protocol: str, splits: dict[str, Any]) -> dict[str, Any]:
    """The content of embed.json."""
    settings, data = chosen.settings, chosen.data
    place = settings.place
    return {
        "method": chosen.title,
        "command": settings.COMMAND,
        "run": chosen.run.path.name,
        "protocol": protocol,
        "epoch": chosen.embedder.epoch,
        "weights": str(chosen.weights.relative_to(chosen.run.path)),
        "weights_sha256": chosen.checksum,
        "dataset": place.dataset,
        "probe": place.probe,
        "length": place.length,
        "data": described_data(data),
        "trained_on": {"manifest_sha256": chosen.trained_on},
        "unit_length": chosen.method.unit(settings),
        "rows": ORDER,
        "probe_is_gallery": data.same_windows,
        "splits": splits,
    }
