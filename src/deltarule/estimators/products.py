"""scikit-learn's own matrix products, held to one thread where they are small."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

SMALL = 20_000_000  # multiplications and additions: about a millisecond of one core

_limiting = Lock()  # a limit puts back what it found: of two at once one would put back the other's


@contextmanager
def one_thread_if_small(operations: int) -> Iterator[None]:
    """Give the products inside one thread of BLAS if all of them together are ``SMALL`` at most.

    OpenBLAS's threads wait for more work at full speed, for some 20 ms after a product: they take
    the cores from the training that comes next, a search over small networks above all. The limit
    is the process's: another thread's products in that millisecond have it too.
    """
    if operations > SMALL:
        yield
        return
    with _limiting, _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    """Find BLAS once: looking through all loaded libraries takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")
