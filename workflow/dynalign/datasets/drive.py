"""Files from Google Drive, with the standard library.

gdown knows more of Drive (cookies, folders, documents). It does not do what a job without a person needs: it gives up
at a 503 or 429, keeps a file that was cut short where no length was stated, and follows a confirmation page to
whatever host and file that names. It reads Drive's pages on Drive's own host names only, so that no test against
another server would show anything about it.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path

from dynalign.cli import note
from dynalign.io.arrays import array_file_size
from dynalign.io.errors import InputError

#: Google Drive ids of the arrays.
FILES = {
    "data_subject_F": "1olS7TuykmJOlnIvCvn4PxXUm-k9KGCYi",
    "data_subject_H": "12cjnpyyEVUIZX4y_LZL5Hanwfzy3ppzB",
    "data_subject_I": "1QNQQ0xnbYEMTqnMf3_-wF0dbbfuuhNu1",
    "data_subject_J": "1GQmzSuaBCseWI3m-tb1CRaiU63jD3Bx-",
    "data_subject_K": "1o54oxuTM-p9Nmcw2UQ5IPtnKENNROp8s",
    "data_subject_L": "1C6UEa3hlm-3U82zJ8jZnGmDm1_tgp28o",
    "data_subject_M": "1xeB42pbVGO9X8kSBVuVrJYpGIoSuNe8v",
    "data_subject_N": "1TuJLRXPMLhN4am9dleU1x8xYzkOOSTpi",
    "runs_fmri": "1lMGJ6V2oy60axMW7wmh_a77EQOxX28YC",
    "time_fmri": "1BHaMgbs78EQJ4MFWEelQAbwaXcDXLSGd",
    "time_words_fmri": "1cGjm4vVuMF5BduJitvY05KGfueYYo4Fu",
    "words_fmri": "1EBF2nFcQiSLt6Vk_Yg8qrXQSOmcHogRa",
}

#: Where downloads start; the environment variable points tests at a stand-in.
DRIVE = "https://drive.usercontent.google.com/download"
DRIVE_VARIABLE = "DYNALIGN_DRIVE"

#: Attempts at a download, and the wait before the second, in s, which doubles after each.
TRIES, WAIT_S = 6, 2.0

#: Answers of a server that may be better the next time.
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class Page(HTMLParser):
    """What a web page that came in place of a file says: its title, and the hidden fields of its forms."""

    def __init__(self, html: str):
        super().__init__()
        self.title, self._in_title = "", False
        self.fields: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self._in_title = tag == "title"
        if tag == "input" and values.get("type") == "hidden" and values.get("name"):
            self.fields[values["name"]] = values.get("value") or ""

    def handle_endtag(self, tag):
        self._in_title = False

    def handle_data(self, data):
        if self._in_title:
            self.title = " ".join((self.title + data).split())


def by_hand(array: str, output: str | Path) -> str:
    """How to bring an array without this program."""
    link = f"https://drive.google.com/file/d/{FILES[array]}/view"
    return f"download it in a browser from {link}, save it as {output} and run again, which checks it"


def transfer(fields: dict[str, str], target: Path) -> dict[str, str]:
    """Make one request, whose query is `fields`; write what comes to `target`, after what an earlier one left there.

    Gives the fields of the form in which Drive asks whether a file that it cannot scan for viruses is wanted, none when
    `target` is whole. InputError if a web page came that is no such form; OSError or HTTPException if the request
    failed, or the connection ended before the file did.
    """
    import urllib.parse
    import urllib.request

    url = f"{os.environ.get(DRIVE_VARIABLE, DRIVE)}?{urllib.parse.urlencode(fields)}"
    have = target.stat().st_size if target.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        if response.headers.get("Content-Type", "").startswith("text/html"):
            page = Page(response.read(1 << 20).decode("utf-8", "replace"))
            if page.fields:
                return page.fields
            raise InputError(f"Google Drive sent a web page ({page.title or 'no title'}), not the file")
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        length = response.headers.get("Content-Length")
        with open(target, "ab" if resumed else "wb") as stream:
            shutil.copyfileobj(response, stream, 1 << 20)
    arrived = target.stat().st_size
    # Without Content-Length the array's own header tells how long the file must be.
    expected = array_file_size(target) if length is None else int(length) + (have if resumed else 0)
    if expected is not None and arrived < expected:
        raise ConnectionError(f"the connection ended after {arrived} of {expected} bytes")
    return {}


def download(array: str, target: Path) -> None:
    """Download one array (a key of :data:`FILES`); a transfer that breaks off goes on where it stopped.

    InputError if a web page came in place of the file, the server refuses or cannot be reached, or the disk is full.
    """
    import http.client
    import urllib.error

    fields = {"id": FILES[array], "export": "download", "confirm": "t"}
    for attempt in range(1, TRIES + 1):
        try:
            asked = transfer(fields, target)
            # What is asked for stays our file, whatever the form says.
            if asked and transfer(asked | {"id": FILES[array]}, target):
                raise InputError("Google Drive asks for a confirmation again and again")
            return
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InputError(f"the disk is full after {target.stat().st_size} bytes; make room") from None
            reason = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                if error.code not in TRY_AGAIN:
                    raise InputError(f"cannot be downloaded ({reason})") from None
            note(f"{array}: attempt {attempt} of {TRIES}: {reason}")
            if attempt == TRIES:
                raise InputError(f"cannot be downloaded ({reason}); check the network") from None
            time.sleep(WAIT_S * 2 ** (attempt - 1))
