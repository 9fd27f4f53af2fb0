"""Reading text that a user gives, as editors and spreadsheets save it."""

import codecs
import os

from dynalign.io.errors import InputError, existing

#: Marks at the beginning of a text that say how its characters are written.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_text(path: str | os.PathLike) -> str:
    r"""Read UTF-8, or UTF-16 with its byte order mark; the mark is left out and every line end is ``\n``.

    An `InputError` says that the file is missing or is no such text.
    """
    content = existing(path).read_bytes()
    coding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(coding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        wrong = f"line {line} holds {content[error.start : error.start + 1]!r}"
        raise InputError(f"{path}: not UTF-8 text ({wrong}); save it as UTF-8") from None
    if "\0" in text:
        # UTF-16 without its mark, UTF-32, or no text at all.
        raise InputError(f"{path}: not UTF-8 text, it holds NUL characters; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
