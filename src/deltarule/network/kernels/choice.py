"""Which kernels a program is traced with."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import jax

from deltarule.choices import choose

CONVOLUTIONS = {"patches": "one matrix product of patches", "native": "the backend's own"}
PRODUCTS = {"plain": "as the operands come", "bfloat16": "bfloat16 operands, float32 sums"}
PRECISIONS = {"float32": "plain", "float64": "plain", "bfloat16": "bfloat16"}


@dataclass(frozen=True)
class Kernels:
    """How products are worked out: a static, hashable value.

    Args:
        convolution: "patches" or "native"; pooling goes the same way.
        product: "plain" or "bfloat16"; holds for convolutions too.
    """

    convolution: str
    product: str

    def __post_init__(self) -> None:
        """Refuse names that are not in the tables."""
        choose("convolution", self.convolution, CONVOLUTIONS)
        choose("product", self.product, PRODUCTS)


def usual(precision: str = "float32", backend: str | None = None) -> Kernels:
    """Return the fastest kernels for a precision on a backend (None: the one JAX runs on).

    >>> usual("bfloat16", "gpu")
    Kernels(convolution='native', product='bfloat16')
    """
    product = choose("precision", precision, PRECISIONS)
    backend = jax.default_backend() if backend is None else backend
    return Kernels("patches" if backend == "cpu" else "native", product)


_current: ContextVar[Kernels | None] = ContextVar("kernels", default=None)


@contextmanager
def using(kernels: Kernels) -> Iterator[None]:
    """Trace with ``kernels`` inside the block, in this thread only.

    A compiled function keeps what it was traced with: jit must see ``kernels`` as a static
    argument, or the block must surround every call that may trace.

    >>> with using(Kernels("native", "plain")):
    ...     current().convolution
    'native'
    """
    token = _current.set(kernels)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Kernels:
    """Return the kernels to trace with now."""
    return _current.get() or usual()
