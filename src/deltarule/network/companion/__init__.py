"""The compiled companion, ``deltarule-native``: what it offers, as functions on JAX arrays.

It is used on CPUs where it is installed and faster; ``kernels/`` decides. Everything here gives
what the plain path gives, up to rounding, and has a gradient of its own.
"""

from deltarule.network.companion.activations import activate
from deltarule.network.companion.convolution import convolve
from deltarule.network.companion.dense import dense
from deltarule.network.companion.loading import (
    call,
    describe,
    has_bfloat16,
    is_there,
)
from deltarule.network.companion.norms import batch_norm, normalize
from deltarule.network.companion.pooling import MOST_PLACES, avg_pool, max_pool

# The activations that go along with a product: their slope follows from their output.
WITH_PRODUCTS = ("identity", "relu", "sigmoid", "tanh", "lecun_tanh", "leaky_relu", "elu")
WITH_NORMS = ("identity", "relu")  # the sign of z says all
ALONE = ("elu", "gelu", "softplus")  # a pass of their own; the compiler does the others as fast

__all__ = [
    "ALONE",
    "MOST_PLACES",
    "WITH_NORMS",
    "WITH_PRODUCTS",
    "activate",
    "avg_pool",
    "batch_norm",
    "call",
    "convolve",
    "dense",
    "describe",
    "has_bfloat16",
    "is_there",
    "max_pool",
    "normalize",
    "split",
]


def split(activation: str, can: tuple[str, ...]) -> tuple[str, str]:
    """Return what of an activation goes along with an operation, and what is left to do after it.

    >>> split("relu", WITH_NORMS), split("gelu", WITH_NORMS)
    (('relu', 'identity'), ('identity', 'gelu'))
    """
    return (activation, "identity") if activation in can else ("identity", activation)
