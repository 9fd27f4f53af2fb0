"""Downloads of the Harry Potter arrays, against a file server on this machine."""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

from dynalign import harry_potter
from dynalign.files import InputError


def npy(array, allow_pickle=False):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


RUNS = np.repeat([1, 2, 3, 4], [340, 352, 279, 380])


@pytest.fixture
def drive(monkeypatch):
    """A stand-in of the drive: answers with what the test puts into `replies`, last one for good."""
    replies, asked = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(parse_qs(urlparse(self.path).query)["id"][0])
            status, kind, body, length = replies.pop(0) if len(replies) > 1 else replies[0]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv(harry_potter.DRIVE_VARIABLE, f"http://127.0.0.1:{server.server_port}/download")
    monkeypatch.setattr(harry_potter.time, "sleep", lambda seconds: None)
    yield replies, asked
    server.shutdown()
    server.server_close()
    thread.join()


BINARY = "application/octet-stream"


def test_an_array_comes_after_failures_and_half_files(drive, tmp_path):
    replies, asked = drive
    body = npy(RUNS)
    replies += [
        (503, "text/plain", b"busy", None),
        (200, BINARY, body[:100], len(body)),
        (200, BINARY, body, None),
    ]
    harry_potter.main(["--array", "runs_fmri", "--output", f"{tmp_path}/runs_fmri.npy"])
    np.testing.assert_array_equal(np.load(tmp_path / "runs_fmri.npy"), RUNS)
    assert asked == [harry_potter.FILES["runs_fmri"]] * 3
    import hashlib

    assert (tmp_path / "runs_fmri.sha256").read_text().split()[0] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            (200, "text/html; charset=utf-8", b"<html>Quota exceeded</html>", None),
            "web page.*quota.*try again tomorrow",
        ),
        ((200, BINARY, npy(RUNS[:-1]), None), r"shape \(1350,\).*published runs_fmri has \(1351,\)"),
        ((200, BINARY, npy(np.array([{}], dtype=object), True), None), "never unpickles"),
        ((404, "text/plain", b"", None), "cannot be downloaded.*404.*browser"),
    ],
)
def test_what_is_not_the_array_is_refused_and_nothing_is_left(drive, tmp_path, reply, message):
    drive[0].append(reply)
    with pytest.raises(InputError, match=message):
        harry_potter.fetch("runs_fmri", tmp_path / "runs_fmri.npy")
    assert list(tmp_path.iterdir()) == []


def test_no_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv(harry_potter.DRIVE_VARIABLE, "http://127.0.0.1:9/download")
    monkeypatch.setattr(harry_potter.time, "sleep", lambda seconds: None)
    with pytest.raises(
        InputError, match=r"words_fmri: cannot be downloaded.*drive\.google\.com/file/d/1EBF2nF"
    ):
        harry_potter.fetch("words_fmri", tmp_path / "words_fmri.npy")


def test_every_published_array_has_its_shape():
    assert set(harry_potter.FILES) == set(harry_potter.SHAPES)
    assert len(set(harry_potter.FILES.values())) == 12
