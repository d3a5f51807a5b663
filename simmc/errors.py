"""The one exception for faults that the user can mend."""


class UserError(Exception):
    """What is wrong, where (file or flag) and what to do next, in one message.

    The command line prints it without a traceback and exits with 2.
    """
