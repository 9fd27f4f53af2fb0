"""What is said to a user about bad input."""

from __future__ import annotations


class InputError(Exception):
    """Bad input; the message names the file or key, the value, and the way out."""
