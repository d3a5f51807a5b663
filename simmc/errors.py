"""The one exception for faults that the user can mend."""

_LONGEST = 4000  # letters of a message


class UserError(Exception):
    """What is wrong, where (file or flag) and what to do next, in one message.

    The command line prints it without a traceback and exits with 2.
    """

    def __str__(self) -> str:
        """The message, its middle left out where a quoted file would fill the screen."""
        text = super().__str__()
        return text if len(text) <= _LONGEST else f"{text[:1500]} [...] {text[-500:]}"
