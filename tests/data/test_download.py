"""Downloads: whatever a mirror does, the cache holds the published file or none."""

import contextlib
import gzip
import io
import shutil
import socket
import ssl
import subprocess
import sys
import threading

import pytest
from mirror_server import (
    CONTENT,
    MirrorServer,
    answer,
    assert_installed,
    collection,
    cut,
    drip,
    drip_headers,
    fetch,
    remote,
    send,
    stall,
    until,
    within,
)

from deltarule.data import download
from deltarule.errors import DownloadError

pytestmark = pytest.mark.usefixtures("cache")
PATIENCE = download.PATIENCE  # before a test shortens it
PAGE = b"<!DOCTYPE html><title>This domain may be for sale</title>"


# ---- what should happen


def test_download_and_then_the_cache(server, cache, capsys):
    folder = fetch(server, good=send(CONTENT))
    assert folder == cache / "small"
    assert_installed(folder)
    lines = capsys.readouterr()
    assert lines.out == ""
    assert "small: downloading 0.1 MB to " in lines.err
    assert "licence CC0" in lines.err
    assert fetch(server, good=answer(404)) == folder
    assert len(server.asked) == 1
    assert capsys.readouterr().err == ""


def test_every_file_of_a_set(server, cache):
    contents = {name: name.encode() * 9 for name in ("one", "two", "three")}
    server.mirrors["good"] = lambda handler: send(contents[handler.path.split("/")[-1]])(handler)
    files = tuple(remote(name, content) for name, content in contents.items())
    folder = download.fetch(collection(server.base + "good/", files=files), _loopback=True)
    for name, content in contents.items():
        assert (folder / name).read_bytes() == content


def test_size_and_licence_are_said_before_anything_is_asked(server, capsys):
    said = []

    def look(handler):
        said.append(sys.stderr.getvalue())
        send(CONTENT)(handler)

    with contextlib.redirect_stderr(io.StringIO()):
        fetch(server, good=look)
    assert "0.1 MB" in said[0]
    assert "licence CC0" in said[0]


def test_over_tls(tmp_path, monkeypatch):
    # The one test with the defaults of users: https, a certificate that is checked, no exception.
    context, certificate = _certificate(tmp_path)
    with MirrorServer(context) as server:
        server.mirrors["good"] = send(CONTENT)
        with pytest.raises(DownloadError, match=r"failed \(.*CERTIFICATE_VERIFY_FAILED"):
            download.fetch(collection(server.base + "good/"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert_installed(download.fetch(collection(server.base + "good/")))


def _certificate(folder):
    """Return a server's TLS context with a new certificate for 127.0.0.1, and its file."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("needs the openssl command to make a certificate")
    key, certificate, config = (folder / name for name in ("key.pem", "cert.pem", "config"))
    config.write_text(
        "[req]\ndistinguished_name=name\nx509_extensions=more\nprompt=no\n[name]\nCN=mirror\n"
        "[more]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:TRUE\n"
        "keyUsage=critical,digitalSignature,keyCertSign\n"
    )
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    files = ["-config", config, "-keyout", key, "-out", certificate]
    subprocess.run([*command, *files], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


# ---- mirrors that do not send the file: the next one is asked, and the message has each

BAD_MIRRORS = {
    "404": (answer(404), "answered 404 Not Found"),
    "403": (answer(403), "answered 403 Forbidden"),
    "503": (answer(503), "answered 503 Service Unavailable"),
    "204": (answer(204), "answered 204"),
    "unasked 206": (answer(206, Content_Range="bytes 9-99/100"), "did not go on at byte 0"),
    "HTML page": (send(PAGE), f"offered {len(PAGE)} bytes instead of 100000"),
    "HTML page, no length": (cut(PAGE, 99, announce=False), f"ended after {len(PAGE)} of 100000"),
    "same length": (send(CONTENT[:-1] + b"?"), "sent another file: its SHA-256"),
    "wrong length": (answer(200), "offered 0 bytes instead of 100000"),
    "too long": (cut(CONTENT + b"x", 10**6, announce=False), "sent more than the 100000 bytes"),
    "cut": (cut(CONTENT, 50_000), r"failed \(.*IncompleteRead|failed \(.*50000"),
    "nothing": (lambda handler: None, r"failed \(Remote end closed connection"),
    "garbage": (lambda handler: handler.wfile.write(b"\xff" * 99), "failed"),
    "to http": (answer(302, Location="http://example.invalid/file.gz"), "led to .* not https"),
    "to file": (answer(302, Location="file:///etc/passwd"), "led to .* not https"),
    "to ftp": (answer(301, Location="ftp://127.0.0.1/file.gz"), "led to .* not https"),
    "to nonsense": (answer(302, Location="https://[::1/file.gz"), "failed"),
    "loop": (answer(302, Location="file.gz"), "redirected more than 5 times"),
}


@pytest.mark.parametrize(("bad", "sentence"), BAD_MIRRORS.values(), ids=BAD_MIRRORS)
def test_bad_mirror(server, cache, bad, sentence):
    with pytest.raises(DownloadError, match=sentence) as caught:
        fetch(server, first=bad)
    assert len(str(caught.value).splitlines()) == 2
    assert not (cache / "small" / "file.gz").exists()
    part = cache / "small" / "file.gz.part"
    assert not part.exists() or CONTENT.startswith(part.read_bytes())
    assert_installed(fetch(server, first=bad, second=send(CONTENT)))


def test_the_error_lists_what_each_mirror_said_and_how_to_do_it_by_hand(server, cache):
    with pytest.raises(DownloadError) as caught:
        fetch(server, first=answer(404), second=answer(503), third=send(CONTENT[::-1]))
    said, by_hand = str(caught.value).splitlines()
    assert said.startswith("file.gz of small could not be downloaded: 127.0.0.1:")
    for reason in ("answered 404 Not Found; ", "answered 503 Service Unavailable; ", "SHA-256"):
        assert reason in said
    for mirror in ("first", "second", "third"):
        assert f"{server.base}{mirror}/" in by_hand
    assert "get file.gz from" in by_hand
    assert by_hand.endswith(f"put them into {cache / 'small'}")


def test_http_is_refused_unless_a_test_allows_it(server):
    server.mirrors["good"] = send(CONTENT)
    with pytest.raises(DownloadError, match="led to an address that is not https"):
        download.fetch(collection(server.base + "good/"))
    assert server.asked == []


def test_five_redirects_are_followed(server):
    def hop(handler):
        left = int(handler.path.rsplit("-", 1)[-1]) if "-" in handler.path else 5
        answer(302, Location=f"/hop/file-{left - 1}")(handler) if left else send(CONTENT)(handler)

    assert_installed(fetch(server, hop=hop))
    assert len(server.asked) == 6


def test_a_sixth_redirect_is_not(server):
    with pytest.raises(DownloadError, match="redirected more than 5 times"):
        fetch(server, loop=BAD_MIRRORS["loop"][0])
    assert len(server.asked) == 6


def test_a_mirror_that_packs_what_it_sends_is_asked_not_to(server):
    def pack(handler):
        if "gzip" in handler.headers["Accept-Encoding"]:
            send(gzip.compress(CONTENT))(handler)
        else:
            send(CONTENT)(handler)

    assert_installed(fetch(server, pack=pack))


def test_a_mirror_that_calls_a_gz_file_packed_is_not_believed(server):
    def mislabel(handler):
        handler.start(200, Content_Length=len(CONTENT), Content_Encoding="gzip")
        handler.wfile.write(CONTENT)

    assert_installed(fetch(server, mislabel=mislabel))


def test_not_a_tls_server(server):
    mirror = server.base.replace("http:", "https:") + "good/"
    with pytest.raises(DownloadError, match=r"failed \(.*SSL"):
        download.fetch(collection(mirror))


def test_connection_refused():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        mirror = f"https://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(DownloadError, match=r"failed \(.*Connection refused\)"):
            download.fetch(collection(mirror))


def test_no_such_name(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"failed \(.*Name or service not known\)"):
        download.fetch(collection("https://example.invalid/"))


def test_proxy_that_wants_a_password(server, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", server.base)
    with pytest.raises(DownloadError, match=r"failed \(.*407"):
        download.fetch(collection("https://example.invalid/"))


# ---- time


SLOW_MIRRORS = {
    "silent": stall(CONTENT, 0),
    "one byte, then silent": stall(CONTENT, 1),
    "half, then silent": stall(CONTENT, 50_000),
    "a byte at a time": drip(CONTENT, 1, 0.02),
    "headers a byte at a time": drip_headers,
}


@pytest.mark.parametrize("slow", SLOW_MIRRORS.values(), ids=SLOW_MIRRORS)
def test_slow_mirror_is_left(server, monkeypatch, slow):
    monkeypatch.setattr(download, "PATIENCE", 0.4)
    with (
        within(4),
        pytest.raises(DownloadError, match=r"sent \d+ bytes in 0.4 s|timed out"),
    ):
        fetch(server, first=slow)
    monkeypatch.setattr(download, "PATIENCE", 3.0)  # a busy machine may hold up the good mirror
    with within(8):
        assert_installed(fetch(server, first=slow, second=send(CONTENT)))


def test_mirrors_share_the_patience(server, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.6)
    silent = stall(CONTENT, 0)
    with within(4), pytest.raises(DownloadError, match=r"in 0\.2 s"):
        fetch(server, first=silent, second=silent, third=silent)
    assert len(server.asked) == 3


def test_name_that_is_looked_up_for_ever(monkeypatch):
    over = threading.Event()

    def hang(*_, **__):
        over.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    with within(1), pytest.raises(DownloadError, match="too slow"):
        download.fetch(collection("https://example.invalid/"))
    over.set()


def test_slow_line_that_goes_on_is_waited_for(server, monkeypatch):
    # 8 kB every 0.2 s is 41 kB/s: five times the least rate, and 2.4 s in all, twice the patience.
    monkeypatch.setattr(download, "PATIENCE", 1.2)
    monkeypatch.setattr(download, "SLOWEST", 8192)
    assert_installed(fetch(server, first=drip(CONTENT, 8192, 0.2)))


def test_line_that_becomes_too_slow_is_left(server, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.4)
    monkeypatch.setattr(download, "SLOWEST", 50_000)

    def fade(handler):
        handler.start(200, Content_Length=len(CONTENT))
        handler.wfile.write(CONTENT[:50_000])
        for place in range(50_000, 100_000, 8192):  # 27 kB/s, and never silent for 0.4 s
            handler.wfile.write(CONTENT[place : place + 8192])
            if handler.wait(0.3):
                return

    with within(2), pytest.raises(DownloadError, match="too slow"):
        fetch(server, first=fade)


@pytest.mark.parametrize("slow", [stall(CONTENT, 0), drip(CONTENT, 8192, 0.3)])
def test_nothing_goes_on_behind_a_mirror_that_was_left(server, monkeypatch, slow):
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    monkeypatch.setattr(download, "SLOWEST", 10**6)
    with pytest.raises(DownloadError, match=r"too slow|timed out"):
        fetch(server, first=slow)  # which it would go on being for 2 s or more
    with within(2):
        until(lambda: "deltarule-download" not in [each.name for each in threading.enumerate()])


def test_patience_of_users():
    # All mirrors silent: 30 s in all. 10 MB at 8 kB/s: allowed.
    assert PATIENCE <= 30
    assert download.SLOWEST <= 8000
