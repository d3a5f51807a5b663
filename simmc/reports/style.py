"""The style of pictures, and how they are saved; matplotlib is imported only to draw one."""

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from simmc import files as atomic
from simmc.errors import UserError
from simmc.reports.results import Run

# distinguishable in grey and for colour-blind readers
BLUE, ORANGE, GREEN, PURPLE = "#0067a5", "#d1600a", "#1b8a5a", "#8a4fa3"
INK, FAINT = "#333333", "#dddddd"
# protocol -> name, colour and line style, in every picture
PROTOCOL_LINES: dict[str, tuple[str, str, Any]] = {
    "paper": ("paper: epoch chosen by the probe", BLUE, "-"),
    "label_free": ("label_free: epoch chosen without it", ORANGE, "--"),
}
_FORMATS = (".png", ".svg")


def title_of(run: Run) -> str:
    """Method and data of a run; synthetic data are marked in every picture."""
    parts = [f"{run.method_name} on {run.text('dataset')}, {run.text('probe')}"]
    if run.generated:
        parts.append("GENERATED walkers")
    parts += [run.text("fidelity"), f"seed {run.text('seed')}"]
    return " · ".join(parts)


def wrapped(title: str, width: int) -> str:
    """A title of `title_of` in lines of up to `width` characters, broken between its parts."""
    lines: list[str] = []
    for part in title.split(" · "):
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return "\n".join(lines)


def require_drawable(out: Path) -> None:
    """UserError where a picture cannot be written: another ending, or no matplotlib."""
    if out.suffix.lower() not in _FORMATS:
        raise UserError(f"--out {out}: the name must end in .png or .svg.")
    try:
        import matplotlib  # noqa: F401 - only to say what is missing
    except ImportError as error:
        raise UserError(
            "pictures need matplotlib, which is not installed; install it with "
            "pip install -r requirements.txt."
        ) from error


def save(draw: Callable[[], Any], out: Path) -> Path:
    """Draw a matplotlib figure in our style and write it to a .png or .svg file."""
    require_drawable(out)
    form = out.suffix.lower()
    buffer = io.BytesIO()
    metadata = {"Software": None} if form == ".png" else {"Date": None}
    with _style():
        draw().savefig(buffer, format=form[1:], dpi=150, metadata=metadata)
    atomic.write_bytes(out, buffer.getvalue())
    return out


def save_with_numbers(draw: Callable[[Path], Path], numbers: str, out: Path) -> list[Path]:
    """Write a picture in both formats and its numbers as .csv, all named as `out`; the files."""
    require_drawable(out)
    files = [draw(out.with_suffix(form)) for form in _FORMATS]
    table = out.with_suffix(".csv")
    atomic.write_text(table, numbers)
    return [*files, table]


def scale_bar(figure: Any, axes: Any, values: Any, length: int, label: str) -> Any:
    """A colour scale for shares of `length` frames, drawn below some axes; the scale.

    Its mark is where all frames are alike. Values that are all alike stay light.
    """
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    most = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    heat = ScalarMappable(Normalize(0, max(most, min(1.0, 3 / length))), colormaps["Purples"])
    bar = figure.colorbar(heat, ax=axes, location="bottom", anchor=(0, 0), shrink=0.5, aspect=30)
    bar.set_label(f"{label}; mark: 1/{length}, all frames alike", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.grid(visible=False)
    bar.ax.plot([1 / length] * 2, [0, 1], color=ORANGE, linewidth=1.6)
    return heat


def _style() -> AbstractContextManager[None]:
    import matplotlib

    return matplotlib.rc_context(
        {
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "figure.titlesize": 12,
            "figure.titleweight": "bold",
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": FAINT,
            "grid.linewidth": 0.7,
            "svg.hashsalt": "simmc",  # the same run gives the same file
        }
    )
