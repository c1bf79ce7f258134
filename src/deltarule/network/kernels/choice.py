"""Which kernels a program is traced with."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from deltarule.choices import choose
from deltarule.network import companion

CONVOLUTIONS = {"patches": "one matrix product of patches", "backend": "the backend's own"}
PRODUCTS = {"plain": "as the operands come", "bfloat16": "bfloat16 operands, float32 sums"}
PRECISIONS = {"float32": "plain", "float64": "plain", "bfloat16": "bfloat16"}

# From how many multiplications (dense, convolution) or numbers (the others) on the companion is
# faster than what the compiler makes, by product; measured, see docs/native.md.
NEVER = 1 << 62
PAYS_FROM = {
    "convolution": {"plain": 0, "bfloat16": 0},
    "dense": {"plain": NEVER, "bfloat16": 1 << 20},
    "batch_norm": {"plain": 0, "bfloat16": 0},
    "pooling": {"plain": 0, "bfloat16": 0},
    "activation": {"plain": 1 << 14, "bfloat16": 1 << 14},  # those of companion.ALONE
}


@dataclass(frozen=True)
class Kernels:
    """How products are worked out: a static, hashable value.

    Args:
        convolution: "patches" or "backend"; pooling goes the same way.
        product: "plain" or "bfloat16"; holds for convolutions too.
        companion: whether ``deltarule-native`` does what it does faster (``pays``).
    """

    convolution: str
    product: str
    companion: bool = False

    def __post_init__(self) -> None:
        """Refuse names that are not in the tables."""
        choose("convolution", self.convolution, CONVOLUTIONS)
        choose("product", self.product, PRODUCTS)

    def pays(self, operation: str, size: int) -> bool:
        """Whether the companion is to do ``operation``: of ``size`` multiplications or numbers.

        >>> Kernels("patches", "bfloat16", companion=True).pays("dense", 10 * 784 * 30)
        False
        """
        least = PAYS_FROM[operation][self.product]
        return self.companion and size >= least


def usual(precision: str = "float32", backend: str | None = None) -> Kernels:
    """Return the fastest kernels for a precision on a backend (None: the one JAX runs on).

    >>> usual("bfloat16", "gpu")
    Kernels(convolution='backend', product='bfloat16', companion=False)
    """
    product = choose("precision", precision, PRECISIONS)
    backend = backend or current_backend()
    if backend != "cpu":
        return Kernels("backend", product)
    there = {
        "float32": companion.is_there,
        "float64": lambda: False,
        "bfloat16": companion.has_bfloat16,
    }
    return Kernels("patches", product, there[precision]())


def current_backend() -> str:
    """Return where JAX computes: on ``jax.default_device`` where that is set, else its usual."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    return jax.default_backend() if device is None else str(getattr(device, "platform", device))


_current: ContextVar[Kernels | None] = ContextVar("kernels", default=None)


@contextmanager
def using(kernels: Kernels) -> Iterator[None]:
    """Trace with ``kernels`` inside the block, in this thread only.

    A compiled function keeps what it was traced with: jit must see ``kernels`` as a static
    argument, or the block must surround every call that may trace.

    >>> with using(Kernels("backend", "plain")):
    ...     current().convolution
    'backend'
    """
    token = _current.set(kernels)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Kernels:
    """Return the kernels to trace with now."""
    return _current.get() or usual()


def by_companion(operation: str, x: jax.Array, size: int) -> bool:
    """Whether the companion is to do ``operation`` on ``x``, which has no float64 kernels."""
    return x.dtype in (jnp.float32, jnp.bfloat16) and current().pays(operation, size)


def working(x: jax.Array) -> jax.Array:
    """Return ``x`` in the precision in which the companion keeps what layers hand on."""
    return x.astype(jnp.bfloat16) if current().product == "bfloat16" else x


def wide(x: jax.Array) -> jax.Array:
    """Return ``x`` in float32 at least: for sums, and at the end of a network."""
    return x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x
