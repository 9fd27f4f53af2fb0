"""A stand-in for Google Drive, served from this machine."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np

from tests.server import running

BINARY = "application/octet-stream"


def npy(array, allow_pickle=False) -> bytes:
    """The bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


class Drive:
    """What the stand-in serves (`files`: id → bytes) and what was asked of it (`asked`: query and Range).

    `faults` (`faults_of` an id) are answered first, one per request: a function of the handler and of the
    file's bytes. With `scanned` false a file is sent only to those who send the confirmation page's own fields back.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.faults: list = []
        self.faults_of: dict[str, list] = {}
        self.asked: list[tuple[dict[str, str], str | None]] = []
        self.ranges = True
        self.scanned = True


def page(title: str, body: str = "", status: int = 200):
    """A fault: a web page in place of the file."""

    def answer(handler, content):
        text = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{body}</body></html>".encode()
        handler.reply(status, text, {"Content-Type": "text/html; charset=utf-8"})

    return answer


def status(code: int):
    """A fault: a status without content."""
    return lambda handler, content: handler.reply(code, b"", {"Content-Type": "text/plain"})


def cut(after: int, stated: bool = True, reset: bool = False):
    """A fault: the connection ends after some bytes of the file, which is `stated` to be longer."""

    def answer(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Type", BINARY)
        if stated:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:after])
        handler.wfile.flush()
        if reset:
            import socket
            import struct

            # Closing without lingering resets the connection.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.rfile.close()
            handler.connection.close()

    return answer


CONFIRM = (
    '<form id="download-form" action="http://elsewhere.invalid/download" method="get">'
    '<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="another"/>'
    '<input type="hidden" name="confirm" value="t"/><input type="hidden" name="uuid" value="7&amp;8"/></form>'
)


@contextmanager
def serve() -> Iterator[Drive]:
    """A running stand-in; its `url` is what stands in for the drive's address."""
    state = Drive()

    class Handler(BaseHTTPRequestHandler):
        def reply(self, code, body, headers):
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            wanted = self.headers.get("Range")
            state.asked.append((query, wanted))
            content = state.files.get(query["id"])
            faults = state.faults or state.faults_of.get(query["id"])
            if faults:
                faults.pop(0)(self, content)
            elif content is None:
                status(404)(self, content)
            elif not state.scanned and query.get("uuid") != "7&8":
                page("Virus scan warning", CONFIRM)(self, content)
            elif wanted and state.ranges:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.reply(206, content[start:], {"Content-Type": BINARY, "Content-Range": span})
            else:
                self.reply(200, content, {"Content-Type": BINARY})

        def log_message(self, *args):
            pass

        def handle(self):
            # A fault may have closed the connection.
            with suppress(ValueError, OSError):
                super().handle()

    class Server(ThreadingHTTPServer):
        def shutdown_request(self, request):
            with suppress(OSError):
                super().shutdown_request(request)

    with running(Handler, Server) as address:
        state.url = f"{address}/download"
        yield state
