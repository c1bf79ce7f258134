"""In which order an epoch shows its examples: ``Recipe.order``.

    shuffle     every example once, at random
    alternate   every example once, at random, successive ones of different classes
    emphasize   as many in all, those with a large cost more often

"Efficient BackProp" (LeCun, Bottou, Orr and Müller 1998, section 4.2) asks for the last two: a
network learns most from the example it expects least. Every order is drawn anew for each epoch.
"""

import numpy as np

ORDERS = ("shuffle", "alternate", "emphasize")

EMPHASIS = 0.5  # the share of an epoch that goes to examples by their cost; the rest goes to all


def alternating(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
    """Return an order [n] of examples of the classes ``y`` [n], successive ones of another class.

    Each class is spread evenly over the epoch, so that any stretch of it holds the classes in
    about the proportions of the whole. Where one class has more examples than all others together
    and one, its examples have to follow each other, but never more of them than need be.

    >>> y = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2])
    >>> y[alternating(np.random.default_rng(0), y)].tolist()
    [0, 1, 0, 2, 0, 2, 0, 1, 0]
    """
    counts = np.bincount(y)
    order = _spread(rng, y, counts)
    many = int(counts.argmax())
    first, others = order[y[order] == many], order[y[order] != many]
    if len(first) <= len(others) + 1:
        return _parted(rng, order, y)
    # Cut into as many pieces as there are places around the others, of about one length.
    cuts = np.arange(1, len(others) + 1) * len(first) // (len(others) + 1)
    return np.insert(first, cuts, others)


def _spread(rng: np.random.Generator, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return a random order in which the i-th of the m examples of a class is due near i/m."""
    shuffled = rng.permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    start = np.cumsum(counts) - counts
    i = np.arange(len(y)) - start[y[by_class]]
    due = (i + rng.random(len(y))) / counts[y[by_class]]
    order: np.ndarray = by_class[np.argsort(due, kind="stable")]
    return order


def _parted(rng: np.random.Generator, order: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return ``order`` with examples that follow one of their class moved, most by few places.

    No class may have more examples than all others together and one.
    """
    placed: list[int] = []
    waiting: list[int] = []  # all of one class, that of the last one placed
    last = -1
    for example, kind in zip(order.tolist(), y[order].tolist(), strict=True):
        if kind == last:
            waiting.append(example)
            continue
        placed.append(example)
        last = kind
        if waiting:
            placed.append(waiting.pop(0))
            last = int(y[placed[-1]])
    result = np.array(placed)
    if waiting:  # at the end of the epoch: there is room for them earlier
        fits = np.ones(len(placed) + 1, bool)  # before each, and behind the last
        same = y[result] == last
        fits[:-1] &= ~same
        fits[1:] &= ~same
        places = rng.choice(np.flatnonzero(fits), size=len(waiting), replace=False)
        result = np.insert(result, places, waiting)
    return result


def emphasized(rng: np.random.Generator, costs: np.ndarray) -> np.ndarray:
    """Return an order [n] in which example i comes about n p_i times, by its cost c_i.

    p_i = (1 - s) / n + s c_i / sum_j c_j with s = 1/2: half of the epoch shows all examples alike,
    half shows them in proportion to their costs [n]. How often one comes differs from n p_i by
    less than 1. Costs that are all 0, or not finite, count as equal.

    An example with a wrong label keeps a large cost, and so is shown most of all: with outliers
    among the data this order does harm (LeCun et al. 1998, section 4.2).

    >>> np.bincount(emphasized(np.random.default_rng(0), np.array([0.0, 0, 0, 8])), minlength=4)
    array([0, 1, 0, 3])
    """
    n, costs = len(costs), costs.astype(np.float64)
    if not np.isfinite(costs).all() or not costs.any():
        return rng.permutation(n)
    # Each example has a stretch of length n p_i on a line of length n; every unit of the line
    # chooses the example that it finds at one place.
    ends = np.cumsum((1 - EMPHASIS) + EMPHASIS * n * costs / costs.sum())
    chosen = np.searchsorted(ends, rng.random() + np.arange(n), side="right")
    return rng.permutation(np.minimum(chosen, n - 1))  # the last end may be rounded below n
