"""One seed feeds every random choice, by name and not by order of use.

``generator(seed, "shuffle", 3)`` is the stream that shuffles epoch 3. Adding a new use of chance
under a new name changes no stream that existed before, and a resumed run finds its streams again
without having stored them.
"""

import zlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random stream that ``seed`` holds under ``names``.

    Raises ``ValueError`` if ``seed`` is negative.

    >>> a = generator(0, "shuffle", 3).integers(1000)
    >>> b = generator(0, "shuffle", 3).integers(1000)
    >>> bool(a == b)
    True
    """
    if seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed}; pass for example 0.")
    path = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))
