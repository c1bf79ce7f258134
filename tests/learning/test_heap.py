"""Freed memory is kept while calls go on that need much, and given back afterwards."""

import ctypes
import os
import resource
import threading
from pathlib import Path

import pytest

from deltarule import Dataset, Network, Recipe, fit
from deltarule.learning import heap
from deltarule.learning.plan import make_plan

LARGE = 64 << 20
HAS_GLIBC = heap._glibc() is not None
on_glibc = pytest.mark.skipif(not HAS_GLIBC, reason="the C library of this system is not glibc")


class Library:
    """Notes what is asked of the C library."""

    def __init__(self):
        self.asked = []

    def mallopt(self, number, value):
        self.asked.append((number, value))

    def malloc_trim(self, pad):
        self.asked.append("trim")


KEEP = [(-3, 2**31 - 1), (-1, 2**31 - 1)]
END = [(-3, 1 << 25), (-1, 1 << 26), "trim"]


@pytest.fixture
def library(monkeypatch):
    found = Library()
    monkeypatch.setattr(heap, "_glibc", lambda: found)
    return found


def test_what_is_asked_of_the_library(library):
    with heap.kept(LARGE):
        assert library.asked == KEEP
    assert library.asked == KEEP + END


def test_little_room_changes_nothing(library):
    with heap.kept((1 << 25) - 1):
        assert library.asked == []
    assert library.asked == []


def test_only_the_first_and_the_last_of_several_runs_count(library):
    begun, over = threading.Barrier(2), threading.Event()

    def other():
        with heap.kept(LARGE):
            begun.wait(10)
            over.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    begun.wait(10)
    with heap.kept(LARGE), heap.kept(LARGE):
        assert library.asked == KEEP
    assert library.asked == KEEP
    over.set()
    thread.join()
    assert library.asked == KEEP + END


def test_an_error_ends_it_too(library):
    with pytest.raises(RuntimeError), heap.kept(LARGE):
        raise RuntimeError("broken")
    assert library.asked == KEEP + END


def test_another_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(heap, "_glibc", lambda: None)
    with heap.kept(LARGE):
        pass


def touch(size):
    """Ask for memory, write to every page, give it back; return how many pages were new."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    at = library.malloc(size)
    ctypes.memset(at, 1, size)
    library.free(at)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@on_glibc
def test_memory_comes_back_with_its_pages_and_goes_at_the_end():
    pages = LARGE // os.sysconf("SC_PAGE_SIZE")
    with heap.kept(LARGE):
        touch(LARGE)
        held = resident()
        assert touch(LARGE) < pages / 10
        assert resident() > held - LARGE / 10
    assert resident() < held - LARGE / 2
    assert touch(LARGE) > pages / 2


def test_a_run_says_how_much_room_it_needs(library):
    wide = Network([784, 2500, 2000, 10])
    room = make_plan(wide, (784,), 1000, 100, backend="cpu").room
    assert room == 4 * (wide.count() + 100 * (2500 + 2500 + 2000 + 2000 + 10 + 10))
    assert make_plan(wide, (784,), 1000, 100, precision="float64", backend="cpu").room == 2 * room
    assert make_plan(wide, (784,), 1000, 100, backend="gpu").room == 0
    small = Network([784, 30, 10])
    assert make_plan(small, (784,), 1000, 10, backend="cpu").room < heap.MAPPED_FROM


@pytest.mark.parametrize(("units", "asked"), [(8, []), (4_500, KEEP + END)])
def test_runs_of_large_networks_keep_it(library, units, asked):
    data = Dataset([[0.0] * 2000, [1.0] * 2000], [0, 1])
    fit(Network([2000, units, 2]), data, recipe=Recipe(epochs=1))
    assert library.asked == asked
