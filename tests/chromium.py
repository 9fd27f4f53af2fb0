"""A headless Chromium, driven through its DevTools protocol over a pair of pipes: nothing to install beside it."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest

#: Names under which systems install it.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str:
    """The installed Chromium; where none is, the test is skipped, or fails if $DYNALIGN_REQUIRE_CHROMIUM is set."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        message = "no Chromium on this machine: apt-get install chromium"
        if os.environ.get("DYNALIGN_REQUIRE_CHROMIUM"):
            pytest.fail(message)
        pytest.skip(message)
    return found


class Browser:
    """One browser with one page.

    Parameters
    ----------
    folder : Path
        For its profile.

    Attributes
    ----------
    problems : list of str
        Console errors, warnings and uncaught exceptions since :meth:`open`.
    requests : list of str
        Addresses that the page asked for, the page's own among them; data and blob URIs are no requests.

    References
    ----------
    https://chromedevtools.github.io/devtools-protocol: with ``--remote-debugging-pipe``, JSON messages that end with a
    zero byte go in through descriptor 3 and come out of descriptor 4.
    """

    def __init__(self, folder: Path, timeout: float = 60):
        self.timeout = timeout
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._answers: dict[int, dict] = {}
        self._events: list[dict] = []
        self._buffer = b""
        self._count = 0
        command = [
            executable(),
            *("--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder}"),
            *("--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--mute-audio"),
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The shell hands descriptors on by their numbers, whatever they are here.
        plumbing = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", plumbing, "bash", *command],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for area in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{area}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def _receive(self, deadline: float) -> dict:
        """The next message."""
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError(f"Chromium did not answer within {self.timeout} s")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise RuntimeError(f"Chromium ended with status {self._process.wait(10)}")
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict) -> None:
        """Keep what the tests ask about."""
        method, given = event["method"], event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(part.get("value", "")) for part in given["args"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.problems.append(given["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = given["request"]["url"]
            if not url.startswith(("data:", "blob:")):
                self.requests.append(url)
        self._events.append(event)

    def call(self, method: str, **parameters) -> dict:
        """Call a method of the protocol and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.timeout
        while self._count not in self._answers:
            found = self._receive(deadline)
            if "id" in found:
                self._answers[found["id"]] = found
            else:
                self._note(found)
        answer = self._answers.pop(self._count)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def wait_for(self, method: str) -> None:
        """Wait for an event; those since the last :meth:`open` began count."""
        deadline = time.monotonic() + self.timeout
        while not any(event["method"] == method for event in self._events):
            found = self._receive(deadline)
            if "id" in found:
                self._answers[found["id"]] = found
            else:
                self._note(found)

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file and wait until it is loaded."""
        # An empty page between: otherwise another fragment of the same page would load nothing.
        for url in ("about:blank", path.resolve().as_uri() + fragment):
            self.problems.clear()
            self.requests.clear()
            self._events.clear()
            self.call("Page.navigate", url=url)
            self.wait_for("Page.loadEventFired")

    def run(self, expression: str):
        """The value of a JavaScript expression; a promise is awaited.

        Raises
        ------
        RuntimeError
            If it throws.
        """
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press one key, as a reader does."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the window and the reader's preference for dark pages."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
