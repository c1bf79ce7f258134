"""Is this gradient right? Ask the cost itself, one parameter at a time.

Backpropagation with a mistake in it often learns all the same, only worse, so that seeing it learn
proves little. The definition of the derivative shares no code with it, and so none of its mistakes:
move one parameter θ_i a little to both sides and see how much the cost changes,

    ∂C/∂θ_i  ≈  (C(θ_i + ε) - C(θ_i - ε)) / 2ε

Both sides, because the error of this *central* difference goes with ε², that of one side with ε.
It needs two costs for every parameter, which is far too slow to learn with, and just right to check
with. A smaller ε is not better: the two costs agree in ever more digits, and their difference is
then made of rounding. In float64 the best ε is near 1e-5.

Read before: network.py. Read next: docs/notation.md, then the engine, from network/layers/.

Source: numerical differentiation as in W. H. Press et al., "Numerical Recipes" (3rd ed. 2007),
section 5.7. The habit of checking the checker is that of the autograd library's tests.

Leaves out: kinks. Where the slopes to the left and to the right differ (relu at 0) the check means
nothing; keep parameters a hundred ε away from such points.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Below this share of the largest slope (or of the cost), a slope is measured against the share
#: and not against itself: rounding in the cost hides its own last digits.
FLOOR = 1e-2


class GradientCheck(NamedTuple):
    """The entry with the largest relative error: ``gradients[parameter][entry]``."""

    error: float
    parameter: int
    entry: tuple[int, ...]
    gradient: float
    difference: float


def gradcheck(
    f: Callable[[list[Any]], Any],
    parameters: Sequence[ArrayLike],
    gradients: Sequence[ArrayLike],
    *,
    epsilon: float = 1e-5,
    tolerance: float | None = None,
) -> GradientCheck:
    """Compare ``gradients`` of the cost ``f`` with central differences, every entry of them.

    ``f`` takes a list of float64 arrays shaped like ``parameters`` and returns the cost, computed
    in float64; ``gradients`` has the same shapes. The relative error of an entry is

        |gradient - difference| / max(|gradient|, |difference|, floor)

    where floor = FLOOR max(|C|, largest |difference|). The largest error is returned with its
    place. A right gradient of a smooth cost stays below 1e-7; one that is 0.05 % off shows 5e-4.
    With a ``tolerance``, a larger error raises.

    Raises ``ValueError`` if the shapes differ, ``f`` is not finite or not float64, or an error is
    above ``tolerance``.

    >>> def f(parameters):
    ...     w, b = parameters
    ...     return np.sum(w**3) + 2 * b[0]
    >>> w, b = np.array([1.0, 2.0]), np.array([5.0])
    >>> gradcheck(f, [w, b], [3 * w**2, [2.0]]).error < 1e-7
    True
    >>> wrong = gradcheck(f, [w, b], [3 * w**2 * [1, 1.0005], [2.0]])
    >>> wrong.parameter, wrong.entry, round(wrong.error, 5)
    (0, (1,), 0.0005)
    """
    theta = [np.array(p, dtype=np.float64) for p in parameters]  # copies: f sees these moved
    claimed = [np.asarray(g, dtype=np.float64) for g in gradients]
    _check_shapes(theta, claimed)
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}; leave it at 1e-5.")
    differences = [_central_differences(f, theta, p, epsilon) for p in theta]
    largest = max(float(np.max(np.abs(d), initial=0)) for d in differences)
    floor = max(FLOOR * max(largest, abs(_cost(f, theta))), np.finfo(float).tiny)
    errors = [_relative_errors(g, d, floor) for g, d in zip(claimed, differences, strict=True)]
    worst = _worst(errors, claimed, differences)
    if tolerance is not None and not worst.error <= tolerance:
        raise ValueError(
            f"gradients[{worst.parameter}]{list(worst.entry)} is {worst.gradient!r}, but central "
            f"differences give {worst.difference!r}: a relative error of {worst.error:.1e} where "
            f"tolerance allows {tolerance:.1e}; look for the mistake in the gradient."
        )
    return worst


def _central_differences(
    f: Callable[[list[Any]], Any], theta: list[Array], p: Array, epsilon: float
) -> Array:
    """Return the slope of f along each entry of ``p``, one of the arrays of ``theta``."""
    slopes = np.empty_like(p)
    for index in np.ndindex(p.shape):
        middle = p[index]
        up, down = middle + epsilon, middle - epsilon
        p[index] = up
        above = _cost(f, theta)
        p[index] = down
        below = _cost(f, theta)
        p[index] = middle
        slopes[index] = (above - below) / (up - down)  # up - down is 2ε as float64 rounds it
    return slopes


def _cost(f: Callable[[list[Any]], Any], theta: list[Array]) -> float:
    """Return f(theta) as a float, or refuse a cost that central differences cannot use."""
    cost = np.asarray(f(theta))
    if cost.shape != () or cost.dtype != np.float64 or not np.isfinite(cost):
        raise ValueError(
            f"f must return one finite number computed in float64, got {cost.dtype} {cost}; "
            f"in JAX, switch 64 bits on first."
        )
    return float(cost)


def _relative_errors(gradient: Array, difference: Array, floor: float) -> Array:
    """Return the relative error of every entry; infinite where the gradient is not finite."""
    size = np.maximum(np.maximum(np.abs(gradient), np.abs(difference)), floor)
    finite = np.isfinite(gradient)
    return np.where(finite, np.abs(np.where(finite, gradient, 0) - difference) / size, np.inf)


def _worst(errors: list[Array], claimed: list[Array], differences: list[Array]) -> GradientCheck:
    """Return the entry with the largest error."""
    k = max((k for k, e in enumerate(errors) if e.size), key=lambda k: float(errors[k].max()))
    at = np.unravel_index(int(errors[k].argmax()), errors[k].shape)
    index = tuple(int(i) for i in at)
    return GradientCheck(
        float(errors[k][at]), k, index, float(claimed[k][at]), float(differences[k][at])
    )


def _check_shapes(theta: list[Array], claimed: list[Array]) -> None:
    """Refuse gradients that do not have the shapes of the parameters, or no parameters at all."""
    shapes, got = [p.shape for p in theta], [g.shape for g in claimed]
    if shapes != got or not any(p.size for p in theta):
        raise ValueError(
            f"gradients must have the shapes of parameters, {shapes}, and there must be some, "
            f"got {got}; pass both as lists of arrays in the same order."
        )
