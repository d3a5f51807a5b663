"""Messages: the one exception for what the user can fix, and counts and names in sentences."""

import re
from collections.abc import Sequence

_LONGEST = 4000  # letters of a message


class UserError(Exception):
    """What is wrong, where (file or flag) and what to do next, in one message.

    The command line prints it without a traceback and exits with 2.
    """

    def __str__(self) -> str:
        """The message, its middle left out where a quoted file would fill the screen."""
        text = super().__str__()
        return text if len(text) <= _LONGEST else f"{text[:1500]} [...] {text[-500:]}"


def numbered(text: str, count: float) -> str:
    """A sentence with its count in the place of `{}`; of every `[one|many]` the part that fits.

    `numbered("{} [file is|files are] not used", 1)` is "1 file is not used".
    """
    fitting = re.sub(r"\[([^|\]]*)\|([^\]]*)\]", r"\1" if count == 1 else r"\2", text)
    return fitting.replace("{}", f"{count:,}")


def named(names: Sequence[object], most: int) -> str:
    """Names in a sentence, at most so many: "a, b and 3 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
