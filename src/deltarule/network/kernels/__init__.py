"""How products, convolutions and pooling are worked out: one function each, fast on each backend.

Layers say what is computed and call ``dense``, ``convolve``, ``batch_norm``, ``max_pool`` ...
*How* is a ``Kernels`` value, read while a program is traced: whoever compiles says
``with using(kernels): ...``; where nobody does, ``usual()`` holds.

    convolution  "patches"   one matrix product of unfolded images: for CPUs, where the compiler's
                             own convolution is many times slower
                 "backend"   the backend's convolution and pooling: for GPUs
    product      "plain"     operands and sums as they come
                 "bfloat16"  operands rounded to bfloat16, sums in float32: for matrix units
    companion    True: the compiled companion does what it does faster; see ``companion/``

The figures behind each choice are in ``docs/decisions/0008-convolution-on-a-cpu.md``.
"""

from deltarule.network.kernels.activations import activate
from deltarule.network.kernels.choice import (
    Kernels,
    current,
    current_backend,
    using,
    usual,
    wide,
)
from deltarule.network.kernels.convolution import convolve
from deltarule.network.kernels.norms import batch_norm, normalize
from deltarule.network.kernels.pooling import avg_pool, max_pool
from deltarule.network.kernels.products import dense, product

__all__ = [
    "Kernels",
    "activate",
    "avg_pool",
    "batch_norm",
    "convolve",
    "current",
    "current_backend",
    "dense",
    "max_pool",
    "normalize",
    "product",
    "using",
    "usual",
    "wide",
]
