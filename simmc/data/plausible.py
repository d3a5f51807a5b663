"""The one bound on coordinates: what no sensor that sees bodies can give is refused."""

import numpy as np

from simmc.errors import UserError

LIMIT_METRES = 1000.0  # no body sensor reaches so far; pixels of a small image stay below it


def check_coordinates(values: np.ndarray, where: str, *, unseen: bool = False) -> None:
    """UserError where a coordinate cannot be a position in metres.

    Args:
        values: floats of any shape.
        where: the file, or the dataset and split; opens the message.
        unseen: NaN is allowed, for joints that were not seen. Infinity never is.
    """
    if values.size == 0:
        return
    low, high = (np.fmin, np.fmax) if unseen else (np.minimum, np.maximum)
    # without a temporary array; NaN fails the comparison unless it is all that there is
    least, most = low.reduce(values, axis=None), high.reduce(values, axis=None)
    if (least >= -LIMIT_METRES and most <= LIMIT_METRES) or (unseen and np.isnan(least)):
        return
    wrong = ~(np.abs(values) <= LIMIT_METRES)
    if unseen:
        wrong &= ~np.isnan(values)
    place = np.unravel_index(int(wrong.argmax()), values.shape)
    value, at = values[place], ", ".join(str(int(index)) for index in place)
    if not np.isfinite(value):
        allowed = "; a joint that was not seen is NaN" if unseen else ""
        raise UserError(
            f"{where}: the coordinate at place ({at}) is {value}, which is not finite{allowed}. "
            "Correct the data, and run Preprocess.py or write_dataset again"
        )
    raise UserError(
        f"{where}: the coordinate at place ({at}) is {value:g}. Coordinates are metres, and beyond "
        f"{LIMIT_METRES:g} m nothing is measured: divide millimetres by 1000 (and large pixel "
        "numbers by a constant), and run Preprocess.py or write_dataset again"
    )
