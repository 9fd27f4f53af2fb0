"""What is said to a user about bad input."""


class InputError(Exception):
    """Bad input; the message names the file or key, the value, and the way out."""
