"""The one exception for mistakes that the user can mend."""


class UserError(ValueError):
    """Bad input: the message names the flag or file and the fix.

    The command line prints the message alone and exits with code 2; any other exception is a defect
    and keeps its traceback.
    """
