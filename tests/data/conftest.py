"""What the tests of downloads start from."""

import tempfile

import pytest
from mirror_server import MirrorServer

from deltarule import cache as cache_module
from deltarule.data import download


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, no proxy, and little patience."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("DELTARULE_OFFLINE", raising=False)
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PATIENCE", 10.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache_module._temporary_cache.cache_clear()
    yield tmp_path / "cache"
    cache_module._temporary_cache.cache_clear()


@pytest.fixture
def server():
    with MirrorServer() as server:
        yield server
