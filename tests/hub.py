"""A stand-in for the Hugging Face hub, served from this machine."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from tests.server import running

#: The model that it has.
SOURCE = "EleutherAI/pythia-tiny"


class Hub:
    """What the stand-in serves, and what was asked of it.

    `models` maps a hub id to its revisions, each a commit and its files; `failures` maps a path's end to the
    answers (status, error code) that it gives before it works; `cuts` maps it to the bytes of a body after which
    the connection breaks, one entry per request.
    """

    def __init__(self):
        self.models: dict[str, dict[str, tuple[str, dict[str, bytes]]]] = {SOURCE: {}}
        self.failures: dict[str, list[tuple[int, str]]] = {}
        self.cuts: dict[str, list[int]] = {}
        self.stated: dict[bytes, str] = {}
        self.requests: list[tuple[str, str]] = []

    def add(self, revision: str, files: dict[str, bytes]) -> str:
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.models[SOURCE][revision] = self.models[SOURCE][commit] = (commit, files)
        return commit

    def sha256(self, content: bytes) -> str:
        return self.stated.get(content, hashlib.sha256(content).hexdigest())

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a GET."""
        for end, answers in self.failures.items():
            if path.endswith(end) and answers:
                status, code = answers.pop(0)
                return status, {"X-Error-Code": code} if code else {}, b""
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        if api:
            parts = parts[2:]
        if len(parts) < 4:
            return 404, {}, b""
        source, kind, revision = "/".join(parts[:2]), parts[2], parts[3]
        if source not in self.models:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if revision not in self.models[source]:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        commit, files = self.models[source][revision]
        if api and kind == "tree":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            return 200, {}, json.dumps(tree).encode()
        if api:
            assert kind == "revision"
            siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
            for entry in siblings:
                content = files[entry["rfilename"]]
                if entry["rfilename"].endswith(("safetensors", "bin")):
                    entry["lfs"] = {"sha256": self.sha256(content), "size": len(content), "pointerSize": 100}
            return 200, {}, json.dumps({"id": source, "sha": commit, "siblings": siblings}).encode()
        assert kind == "resolve"
        name = "/".join(parts[4:])
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        headers = {"X-Repo-Commit": commit, "ETag": f'"{self.sha256(files[name])}"'}
        return 200, headers, files[name]


@contextmanager
def serve() -> Iterator[Hub]:
    """A running stand-in; its `url` is its address."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            state.requests.append((self.command, path))
            status, headers, body = state.answer(path)
            if (wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))) and status == 200:
                status, body = 206, body[int(wanted[1]) :]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                cuts = next((cuts for end, cuts in state.cuts.items() if path.endswith(end) and cuts), None)
                self.wfile.write(body if cuts is None else body[: cuts.pop(0)])
                self.close_connection = cuts is not None

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    with running(Handler) as address:
        state.url = address
        yield state
