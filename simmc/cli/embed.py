"""`simmc embed`: the features of every stored window of a trained run, as plain arrays."""

import hashlib
from pathlib import Path
from typing import Any

from simmc.cli import console
from simmc.cli.chosen import Chosen, choose
from simmc.cli.run_folder import described_data
from simmc.config import EmbedSettings, resolve
from simmc.data import arrays
from simmc.runs import atomic

FOLDER, ABOUT = "embeddings", "embed.json"
ORDER = "rows are windows in the order of the stored files, all of them"


def main(argv: list[str]) -> int:
    """Run the command; UserError for whatever the user can mend."""
    resolved = resolve(EmbedSettings, argv)
    chosen = choose(resolved)
    chosen.tell()
    out = Path(resolved.settings.out or chosen.run.path / FOLDER)
    write(chosen, resolved.settings.protocol, out)
    return 0


def write(chosen: Chosen, protocol: str, out: Path) -> None:
    """The features of every split, then what they are: without that file they are not complete."""
    about = out / ABOUT
    remove(about)
    data, made = chosen.data, {}
    splits = {"train": data.train, "probe": data.probe, "gallery": data.gallery}
    for name, split in splits.items():
        features = chosen.features(split)
        path = out / f"{name}.npy"
        arrays.save(path, features)
        made[name] = {
            "file": path.name,
            "shape": features.shape,
            "dtype": str(features.dtype),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        console.say(f"{path}  {len(features):,} x {features.shape[1]}")
    atomic.write_json(about, described(chosen, protocol, made))
    console.say(f"{about}")


def remove(path: Path) -> None:
    """Take away what an earlier call said: its arrays are about to be replaced one by one."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise atomic.cannot_write(path, error) from error


def described(chosen: Chosen, protocol: str, splits: dict[str, Any]) -> dict[str, Any]:
    """What embed.json says of the features."""
    settings, data = chosen.settings, chosen.data
    return {
        "method": chosen.title,
        "command": settings.COMMAND,
        "run": chosen.run.path.name,
        "protocol": protocol,
        "epoch": chosen.embedder.epoch,
        "weights": str(chosen.weights.relative_to(chosen.run.path)),
        "weights_sha256": chosen.checksum,
        "dataset": settings.dataset,
        "probe": settings.probe,
        "length": settings.length,
        "data": described_data(data),
        "trained_on": {"manifest_sha256": chosen.trained_on},
        "unit_length": settings.unit_features,
        "rows": ORDER,
        "probe_is_gallery": data.same_windows,
        "splits": splits,
    }
