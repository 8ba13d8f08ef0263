"""A real Chromium for tests, driven over its debugging protocol: what a page shows, says on its console and asks for."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = "apt-get install -y --no-install-recommends chromium"
PHONE, DESKTOP = (360, 740), (1280, 900)
FLAGS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu", "--disable-extensions", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--no-default-browser-check", "--disable-features=Translate,OptimizationHints,MediaRouter", "--renderer-process-limit=1",
)  # fmt: skip


def executable():
    """The path of a Chromium.

    Raises:
        AssertionError: There is none; it says how to install one.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"these tests need a Chromium ({', '.join(NAMES)}), and none is on the PATH; as root: {INSTALL}"
    return found


class Browser:
    """One Chromium process; `open` shows a page in it."""

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True)
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to have one as root
        self._process = subprocess.Popen(
            [executable(), *FLAGS, *sandbox, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._loop = asyncio.new_event_loop()
        self._last = 0
        try:
            self._loop.run_until_complete(self._connect())
        except BaseException:
            self.close()
            raise

    async def _connect(self):
        port = Path(self._profile.name, "DevToolsActivePort")
        until = time.monotonic() + 60
        while not (port.exists() and len(lines := port.read_text().split()) == 2):
            assert self._process.poll() is None, f"Chromium ended at once, with {self._process.returncode}"
            assert time.monotonic() < until, "Chromium did not open its debugging port within a minute"
            await asyncio.sleep(0.05)
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_msg_size=0)

    def call(self, method, *, session=None, events=None, **params):
        """What the browser answers; what it reports meanwhile goes into *events*."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, session, events, params), 60))

    async def _call(self, method, session, events, params):
        self._last += 1
        number = self._last
        await self._socket.send_json(
            {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        )
        while True:
            message = json.loads((await self._socket.receive()).data)
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            if "method" in message and events is not None and message.get("sessionId") == session:
                events.append((message["method"], message["params"]))

    def close(self):
        """End the process and remove what it wrote."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for name in ("_socket", "_http"):
            if hasattr(self, name):
                self._loop.run_until_complete(getattr(self, name).close())
        self._loop.close()
        self._profile.cleanup()

    @contextlib.contextmanager
    def open(self, path, *, size=DESKTOP, dark=False, scripts=True, fragment=""):
        """A page of the file at *path*, loaded.

        Args:
            path: An HTML file.
            size: Width and height of the window in pixels.
            dark: Whether the reader prefers dark pages.
            scripts: Whether they run.
            fragment: Where on the page, after the ``#``.
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        try:
            for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
                page.call(f"{domain}.enable")
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=size[0],
                height=size[1],
                deviceScaleFactor=1,
                mobile=size[0] < 600,
            )
            page.prefer(dark=dark)
            if not scripts:
                page.call("Emulation.setScriptExecutionDisabled", value=True)
            page.load(Path(path).resolve().as_uri() + (f"#{fragment}" if fragment else ""))
            yield page
        finally:
            self.call("Target.closeTarget", targetId=target)


class Page:
    """A page that is open, and what it has reported so far."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session
        self.events = []

    def call(self, method, **params):
        return self._browser.call(method, session=self._session, events=self.events, **params)

    def load(self, url):
        self.call("Page.navigate", url=url)
        until = time.monotonic() + 30
        while not any(name == "Page.loadEventFired" for name, _ in self.events):
            assert time.monotonic() < until, f"{url} did not load within half a minute"
            self.call("Runtime.evaluate", expression="0")
            time.sleep(0.02)

    def prefer(self, *, dark=False, paper=False):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])

    def value(self, expression):
        """Of a JavaScript expression, as JSON knows it."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def complaints(self):
        """What the page said on its console, threw, was forbidden by its policy, or asked in a dialog."""
        names = {
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Audits.issueAdded",
            "Page.javascriptDialogOpening",
        }
        self.value("0")
        return [(name, params) for name, params in self.events if name in names]

    def requests(self):
        """The addresses that the page asked for, beyond itself."""
        asked = [params["request"]["url"] for name, params in self.events if name == "Network.requestWillBeSent"]
        return [url for url in asked[1:] if not url.startswith("data:")]

    def press(self, key, code, number):
        """A key of the keyboard, down and up."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=code,
                windowsVirtualKeyCode=number,
                text="\r" if key == "Enter" and kind == "keyDown" else "",
            )

    def screenshot(self, path, *, whole=False):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = (
            {"clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 15_000), "scale": 1}}
            if whole
            else {}
        )
        got = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **clip)
        Path(path).write_bytes(base64.b64decode(got["data"]))

    def pdf(self, path, **settings):
        got = self.call("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69, **settings)
        Path(path).write_bytes(base64.b64decode(got["data"]))
