"""Sizes of the picture of important frames, in inches: no two texts meet, whatever is drawn."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simmc.reports.body_view import shown_frames

SIDE = 0.46  # names of the levels, left of a block
MARGIN = 0.08  # around a skeleton
STRIP = 0.2  # height of a strip
UNDER = 0.16  # between a strip and the next row of skeletons
TITLE = 0.3  # of a block

_TALLEST = 1.15  # skeleton
_LOWEST = 0.9  # row of skeletons: the name of its level stands beside it
_ROOM = (0.56, 0.66)  # least and most width of a skeleton, with the space around it
_BETWEEN = 0.26  # blocks
_FRAMES, _SCALE = 0.16, 0.6  # heights: frame numbers, colour bar
_NARROWEST = 3.36  # titles and notes of a block need this much
_LEAST_WIDTH = 7.4  # the heading and the colour bar need this much
_WIDEST = 14.1  # blocks side by side
_LINE = 0.15  # of a note
_NOTE_LETTERS, _LETTERS_AN_INCH = 56, 14.5  # that fit into a block; of the heading


@dataclass(frozen=True)
class Layout:
    """Sizes in inches.

    Attributes:
        size: of the picture.
        columns: blocks side by side.
        block: width and height of a block with the space around it.
        content: width of a row of skeletons and of a strip.
        tall: height of a row of skeletons.
        scale: inches a metre, the same for all skeletons.
        notes: height of the notes of a block.
        heading: height of the heading.
    """

    size: tuple[float, float]
    columns: int
    block: tuple[float, float]
    content: float
    tall: float
    scale: float
    notes: float
    heading: float


def plan(bodies: np.ndarray, levels: int, notes: Sequence[str], text: str) -> Layout:
    """Sizes for what is to be drawn.

    Args:
        bodies: (n, f, J, 2) float, joints of n windows as `body_view.projected` gives them.
        levels: rows of a block.
        notes: what is said of each window.
        text: under the heading.
    """
    count, length = bodies.shape[:2]
    wide, tall = 2 * np.abs(bodies[..., 0]).max(), bodies[..., 1].max()
    scale = float(min(_TALLEST / max(tall, 1e-6), (_ROOM[1] - MARGIN) / max(wide, 1e-6)))
    content = len(shown_frames(length)) * max(_ROOM[0], wide * scale + MARGIN)
    row = max(_LOWEST, tall * scale + MARGIN)
    noted = _LINE * max(len(note_lines(note)) for note in notes)
    block = (
        SIDE + max(content, _NARROWEST) + _BETWEEN,
        TITLE + noted + levels * (row + STRIP + UNDER) + _FRAMES,
    )
    rows = -(-count // max(1, int(_WIDEST // block[0])))
    columns = -(-count // rows)
    width = max(columns * block[0], _LEAST_WIDTH)
    heading = 0.6 + 0.18 * len(text_lines(text, width))
    size = (width, heading + rows * block[1] + _SCALE)
    return Layout(size, columns, block, content, row, scale, noted, heading)


def note_lines(note: str) -> list[str]:
    """A note in lines that fit over a block."""
    return textwrap.wrap(note, _NOTE_LETTERS)


def text_lines(text: str, width: float) -> list[str]:
    """The text under the heading in lines that fit into a picture of that width."""
    return textwrap.wrap(text, int(width * _LETTERS_AN_INCH))
