"""A web server on this machine whose mirrors send well, badly, or not at all.

``server.mirrors[name] = behaviour`` makes ``server.base + name + "/"`` a mirror. A behaviour is a
function of the request handler; every wait in one ends when the server closes.
"""

import contextlib
import hashlib
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deltarule.data import download
from deltarule.data.download import Collection, RemoteFile

CONTENT = random.Random(0).randbytes(100_000)


class MirrorServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mirrors = {}
        self.asked = []  # (mirror, file, Range header or None) of each request
        self.closing = threading.Event()
        scheme = "http"
        if context is not None:
            scheme = "https"
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.base = f"{scheme}://127.0.0.1:{self.server_address[1]}/"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that left or does not trust us is what some tests want."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        mirror, _, file = self.path.lstrip("/").partition("/")
        self.server.asked.append((mirror, file, self.headers.get("Range")))
        with contextlib.suppress(ConnectionError):
            self.server.mirrors[mirror](self)
        self.close_connection = True

    def do_CONNECT(self):
        self.send_error(407)

    def log_message(self, *_):
        pass

    def start(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def wait(self, seconds):
        """Return whether the server is closing."""
        return self.server.closing.wait(seconds)


def send(content, *, ranges=True):
    """Send the file; go on where the client asks, if ``ranges``."""

    def behave(handler):
        asked = handler.headers.get("Range")
        if asked and ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.start(206, Content_Length=len(content) - start, Content_Range=span)
            handler.wfile.write(content[start:])
        else:
            handler.start(200, Content_Length=len(content))
            handler.wfile.write(content)

    return behave


def answer(status, **headers):
    return lambda handler: handler.start(status, Content_Length=0, **headers)


def cut(content, after, *, announce=True):
    """Send ``after`` bytes and close the connection."""

    def behave(handler):
        handler.start(200, **({"Content_Length": len(content)} if announce else {}))
        handler.wfile.write(content[:after])

    return behave


def stall(content, after):
    """Send ``after`` bytes and then nothing, for as long as the client waits."""

    def behave(handler):
        handler.start(200, Content_Length=len(content))
        handler.wfile.write(content[:after])
        handler.wait(5)

    return behave


def drip(content, piece, pause):
    """Send ``piece`` bytes every ``pause`` seconds."""

    def behave(handler):
        handler.start(200, Content_Length=len(content))
        for start in range(0, len(content), piece):
            handler.wfile.write(content[start : start + piece])
            if handler.wait(pause):
                return

    return behave


def drip_headers(handler):
    """Send a header that does not end, a byte at a time: no socket ever waits long."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(100):
        handler.wfile.write(b"x")
        if handler.wait(0.05):
            return


# ---- what the tests of downloads share


def remote(name="file.gz", content=CONTENT):
    return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest())


def collection(*mirrors, files=None):
    return Collection("small", "CC0", mirrors, files or (remote(),))


def fetch(server, **behaviours):
    """Fetch a file from mirrors called and behaving as given, in this order."""
    server.mirrors.update(behaviours)
    mirrors = [f"{server.base}{name}/" for name in behaviours]
    return download.fetch(collection(*mirrors), _loopback=True)


def assert_installed(folder, content=CONTENT):
    assert (folder / "file.gz").read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == [".file.gz.lock", "file.gz"]


@contextlib.contextmanager
def within(seconds):
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited 30 s in vain")
