"""Settings of what is done with a trained run and data of one's own: embed and identify."""

from dataclasses import dataclass
from typing import ClassVar

from simmc.settings.common import COUNT, MACHINE, MAIN, PlaceSettings
from simmc.settings.options import option

# command of a method -> the files that name its newest run: of several kinds, the first there is
POINTERS = {
    "trackmc": tuple(f"latest_trackmc_{tier}" for tier in ("merge", "positives", "off")),
    "simmc": ("latest",),
    "himpc": ("latest_himpc",),
}


@dataclass(frozen=True)
class TrainedSettings(PlaceSettings):
    """Which run, which of its weights, and where the files go."""

    GROUPS: ClassVar[tuple[str, ...]] = (MAIN, MACHINE)

    method: str = option(
        "trackmc",
        "Method of the run: trackmc, simmc or himpc.",
        choices=tuple(POINTERS),
        group=MAIN,
    )
    run: str = option("", "Name of the run; default: the method's newest.", group=MAIN)
    protocol: str = option(
        "label_free",
        "Weights that were chosen without looking at identities or tests, or by the probe's top-1.",
        choices=("label_free", "paper"),
        group=MAIN,
    )
    model_root: str = option("ReID_Models", "Folder of the runs.", group=MACHINE)


@dataclass(frozen=True)
class EmbedSettings(TrainedSettings):
    """Settings of `simmc embed`."""

    COMMAND: ClassVar[str] = "embed"
    SUMMARY: ClassVar[str] = (
        "Write the features that a trained run gives every stored window, as .npy files."
    )

    out: str = option(
        "", "Folder of the files; default: 'embeddings' in the run folder.", group=MACHINE
    )


@dataclass(frozen=True)
class IdentifySettings(TrainedSettings):
    """Settings of `simmc identify`."""

    COMMAND: ClassVar[str] = "identify"
    SUMMARY: ClassVar[str] = (
        "Write who is who by a trained run, recording by recording: people among the training "
        "recordings (TrackMC), and the gallery recordings nearest to every probe recording."
    )

    top: int = option(
        5, "Gallery recordings that are named for a probe recording.", limits=COUNT, group=MAIN
    )
    out: str = option("", "Folder of the files; default: the run folder.", group=MACHINE)
