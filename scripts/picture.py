"""Draws docs/pictures/overview.png from a trained run of SimMC and its features.

simmc generate --dataset KS20 --raw_root demo/raw
python Preprocess.py 6 --dataset KS20 --raw_root demo/raw --data_root demo/Datasets
python SimMC.py --dataset KS20 --data_root demo/Datasets --model_root demo/Runs --epochs 20
simmc embed --method simmc --dataset KS20 --data_root demo/Datasets --model_root demo/Runs \
    --out demo/features
python scripts/picture.py demo/Datasets demo/features docs/pictures/overview.png
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))
from simmc.clustering import ClusterSettings, pseudo_labels
from simmc.data.skeletons import KINECT_V2
from simmc.data.store import StoredSplit, read_split

INK, FAINT, RIGHT, WRONG = "#24424f", "#d5dde0", "#2a8a5f", "#c1503c"
SHOWN = 3  # windows in the left panels and probes in the right one
CLUSTERS = 8  # the largest ones are drawn
RANKS = 5
LINE = 2.4  # metres between two rows of skeletons
BONES = [(KINECT_V2.index(a), KINECT_V2.index(b)) for a, b in KINECT_V2.edges]


def body(ax: Axes, frame: np.ndarray, at: float, low: float, color: str) -> None:
    """Draw one frame (J, 3) in metres, its hip at `at`, its lowest joint at `low`."""
    x, y = frame[:, 0] - frame[0, 0] + at, frame[:, 1] - frame[:, 1].min() + low
    for a, b in BONES:
        ax.plot(x[[a, b]], y[[a, b]], color=color, lw=1.1, solid_capstyle="round")


def panel(ax: Axes, title: str, text: str) -> None:
    """Title and explanation above an empty panel."""
    ax.set_title(f"{title}\n", loc="left", fontsize=11, color=INK, fontweight="bold")
    ax.text(0, 1.03, text, transform=ax.transAxes, fontsize=9, color=INK, va="bottom")
    ax.axis("off")


def windows_and_masks(plain: Axes, masked: Axes, windows: np.ndarray) -> None:
    """Windows (n, f, J, 3), and two views of each with two frames dropped."""
    rng = np.random.default_rng(3)
    for row, window in enumerate(windows):
        for f, frame in enumerate(window):
            body(plain, frame, 0.8 * f, -LINE * row, INK)
        for view in range(2):
            gone = rng.choice(len(window), 2, replace=False)
            for f, frame in enumerate(window):
                color = FAINT if f in gone else INK
                body(masked, frame, 0.8 * f + 5.8 * view, -LINE * row, color)


def clusters(ax: Axes, features: np.ndarray) -> tuple[int, int]:
    """The largest clusters on two principal axes; numbers of all clusters and of outliers."""
    labels = pseudo_labels(features, ClusterSettings(eps=0.6, min_samples=2)).labels
    sizes = np.bincount(labels[labels >= 0])
    largest = np.argsort(-sizes)[:CLUSTERS]
    means = np.stack([features[labels == cluster].mean(0) for cluster in largest])
    axes = np.linalg.svd(means - means.mean(0), full_matrices=False)[2][:2]
    for color, cluster in zip(plt.get_cmap("Dark2").colors, largest, strict=False):
        x, y = ((features[labels == cluster] - means.mean(0)) @ axes.T).T
        ax.scatter(x, y, s=7, color=color, lw=0)
        ax.scatter(x.mean(), y.mean(), s=110, marker="*", color=color, ec=INK, lw=0.9, zorder=3)
    return len(sizes), int((labels < 0).sum())


def ranks(ax: Axes, probe: StoredSplit, gallery: StoredSplit, features: list[np.ndarray]) -> None:
    """Probe windows drawn at random and the nearest gallery windows, by their third frame."""
    rng = np.random.default_rng(0)
    of_probe, of_gallery = features
    for row, i in enumerate(rng.choice(len(probe), SHOWN, replace=False)):
        body(ax, probe.take(np.array([i])).windows[0, 2], 0, -LINE * row, INK)
        nearest = np.argsort(((of_gallery - of_probe[i]) ** 2).sum(1), kind="stable")[:RANKS]
        for rank, j in enumerate(nearest):
            color = RIGHT if gallery.labels[j] == probe.labels[i] else WRONG
            frame = gallery.take(np.array([j])).windows[0, 2]
            body(ax, frame, 1.7 + 0.95 * rank, -LINE * row, color)


def main(data_root: str, features: str, target: str) -> None:
    """Draw the picture."""
    train, probe, gallery = (
        read_split(Path(data_root), "KS20", 6, name) for name in ("train", "probe", "gallery")
    )
    embedded = {
        name: np.load(Path(features) / f"{name}.npy") for name in ("train", "probe", "gallery")
    }
    figure, axes = plt.subplots(
        1, 4, figsize=(13, 3.4), dpi=110, width_ratios=(1, 2.1, 1.1, 1.3), layout="constrained"
    )
    rng = np.random.default_rng(5)
    shown = train.take(np.sort(rng.choice(len(train), SHOWN, replace=False))).windows
    windows_and_masks(axes[0], axes[1], shown)
    count, outliers = clusters(axes[2], embedded["train"])
    ranks(axes[3], probe, gallery, [embedded["probe"], embedded["gallery"]])
    for ax in (axes[0], axes[1], axes[3]):
        ax.set_aspect("equal", adjustable="datalim")
    panel(axes[0], "1  Windows", "6 frames of 3D joints, no labels")
    panel(axes[1], "2  Masked views", "each window twice, with different frames dropped")
    text = f"{CLUSTERS} of {count} clusters; stars: prototypes"
    panel(axes[2], "3  Pseudo labels", text)
    panel(axes[3], "4  Matching", "a probe, its 5 nearest; green: same person")
    figure.canvas.draw()
    whole = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    whole.quantize(200, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{count} clusters, {outliers} outliers of {len(train)} windows")


if __name__ == "__main__":
    main(*sys.argv[1:])
