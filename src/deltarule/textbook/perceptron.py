"""The perceptron: Rosenblatt's neuron that learns from its mistakes (1957).

The inputs may now be any numbers, and the threshold has moved to the other side and become a
bias b = -θ. The sum with the bias is the weighted input z:

    z = w_1 x_1 + ... + w_n x_n + b          output = 1 if z > 0 else 0

What is new is that nobody chooses the weights. Show the neuron an example x with its right answer
y. If the output is right, change nothing. If it is wrong, move the weights towards x (when it
should have fired) or away from x (when it should not have):

    w <- w + (y - output) x                  b <- b + (y - output)

If any weights at all separate the two classes, this rule finds some, after no more mistakes than
`mistake_bound` allows. If none do (XOR), it goes on making mistakes for ever.

Read before: neuron.py. Read next: adaline.py.

Sources: F. Rosenblatt, "The perceptron: a perceiving and recognizing automaton", Cornell
Aeronautical Laboratory report 85-460-1 (1957); "The perceptron: a probabilistic model for
information storage and organization in the brain", Psychological Review 65 (1958), 386-408;
"Principles of Neurodynamics" (1962). The bound: A. Novikoff, "On convergence proofs on
perceptrons", Symposium on the Mathematical Theory of Automata 12 (1962), 615-622.

Leaves out: the retina and the random first layer of Rosenblatt's machine (here x is what they pass
on), and a learning rate: from weights of zero it would scale w and b, and no output would differ.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Perceptron:
    """One neuron with ``weights`` [n] and a ``bias``; it fires if its weighted input is above 0.

    The example of the talk's slides, weights (2, -1, 5) and bias 2:

    >>> neuron = Perceptron(weights=[2, -1, 5], bias=2)
    >>> neuron.weighted_input([-1, 3, 1])  # 2 * -1  +  -1 * 3  +  5 * 1  +  2
    2.0
    >>> neuron.predict([-1, 3, 1])
    1

    For their other input, (-3, 5, 2), the slides have -1 and output 0. That is the sum before the
    bias is added; with the bias it is 1, and the neuron fires:

    >>> neuron.weighted_input([-3, 5, 2])  # 2 * -3  +  -1 * 5  +  5 * 2  +  2
    1.0
    >>> Perceptron(weights=[2, -1, 5], bias=0).weighted_input([-3, 5, 2])
    -1.0
    """

    def __init__(self, weights: ArrayLike, bias: float = 0.0) -> None:
        """Start from these ``weights`` [n] and this ``bias``; zero will do for learning."""
        self.weights = np.array(weights, dtype=float)  # [n]
        self.bias = float(bias)
        if self.weights.ndim != 1:
            raise ValueError(
                f"weights must be a list of numbers, one for each input, "
                f"got shape {self.weights.shape}; pass for example [2, -1, 5]."
            )

    def weighted_input(self, x: ArrayLike) -> float:
        """Return z = w · x + b for one example ``x`` [n]; ``ValueError`` if x is not n numbers."""
        x = np.asarray(x, dtype=float)
        if x.shape != self.weights.shape:
            raise ValueError(
                f"x must hold {len(self.weights)} numbers, one for each weight, "
                f"got shape {x.shape}; pass one example at a time."
            )
        return float(self.weights @ x + self.bias)

    def predict(self, x: ArrayLike) -> int:
        """Return the output for one example ``x`` [n]: 1 if z > 0, else 0."""
        return 1 if self.weighted_input(x) > 0 else 0

    def learn(self, x: ArrayLike, y: int) -> bool:
        """Show one example ``x`` [n] and its answer ``y``, 0 or 1; return whether it was a mistake.

        >>> neuron = Perceptron(weights=[0, 0], bias=0)
        >>> neuron.learn([3, 1], 1)  # z = 0, output 0: a mistake, so w moves towards x
        True
        >>> neuron.weights, neuron.bias
        (array([3., 1.]), 1.0)
        """
        if y not in (0, 1):
            raise ValueError(f"y must be 0 or 1, got {y}; name the two classes 0 and 1.")
        error = int(y) - self.predict(x)  # -1, 0 or 1
        self.weights += error * np.asarray(x, dtype=float)
        self.bias += error
        return error != 0

    def fit(self, X: ArrayLike, y: ArrayLike, max_epochs: int = 1000) -> list[int]:
        """Learn every column of ``X`` [n, m] with its answer in ``y`` [m] until none is a mistake.

        Returns the number of mistakes in each epoch (one pass over the examples). The last is 0 if
        the neuron has learned all of them, and above 0 if ``max_epochs`` came first.

        Raises ``ValueError`` if X and y do not fit together, or y holds anything but 0 and 1.

        >>> inputs = [[0, 0, 1, 1], [0, 1, 0, 1]]  # the four examples are the columns
        >>> Perceptron([0, 0]).fit(inputs, [0, 0, 0, 1])  # AND
        [1, 3, 3, 2, 1, 0]
        >>> Perceptron([0, 0]).fit(inputs, [0, 1, 1, 0], max_epochs=6)  # XOR: never
        [2, 3, 4, 4, 4, 4]
        """
        X, y = _examples(X, y, rows=len(self.weights))
        mistakes: list[int] = []
        while len(mistakes) < max_epochs and 0 not in mistakes:
            mistakes.append(sum(self.learn(x, target) for x, target in zip(X.T, y, strict=True)))
        return mistakes


def mistake_bound(X: ArrayLike, y: ArrayLike, weights: ArrayLike, bias: float) -> float:
    """Return (R/γ)², the most mistakes a perceptron that starts from zero can make on X and y.

    ``weights`` [n] and ``bias`` are any that tell the columns of ``X`` [n, m] apart as ``y`` [m]
    does. Write x' = (x, 1) and w' = (w, b), so that z = w' · x', and s = +1 where y = 1, s = -1
    where y = 0:

        R = max |x'|              how long the examples are
        γ = min s z / |w'|        how far from the line w' the nearest one lies, on its right side

    Why: start from v = 0. A mistake adds s x' to v, so v · w'/|w'| grows by at least γ, and |v|²
    by at most R², since s v · x' <= 0 at a mistake. After k of them kγ <= |v| <= √k R.

    Raises ``ValueError`` if ``weights`` and ``bias`` do not separate the examples.

    >>> inputs = [[0, 0, 1, 1], [0, 1, 0, 1]]
    >>> bound = mistake_bound(inputs, [0, 0, 0, 1], weights=[2, 2], bias=-3)  # AND
    >>> round(bound)  # R² = 3 for (1, 1, 1), γ² = 1/17
    51
    """
    separator = Perceptron(weights, bias)
    X, y = _examples(X, y, rows=len(separator.weights))
    z = separator.weights @ X + separator.bias  # [m]
    margin = np.min(np.where(y == 1, z, -z))
    if not margin > 0:
        raise ValueError(
            f"weights and bias must separate the examples, but one lies {-margin:g} on the wrong "
            f"side (or on the line); pass weights and a bias without mistakes."
        )
    R2 = np.max(np.sum(X**2, axis=0) + 1)
    gamma2 = margin**2 / (np.sum(separator.weights**2) + separator.bias**2)
    return float(R2 / gamma2)


def _examples(
    X: ArrayLike, y: ArrayLike, rows: int
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Return X as a float array [rows, m] and y as an integer array [m], or refuse them."""
    X, y = np.asarray(X, dtype=float), np.asarray(y)
    if X.ndim != 2 or X.shape[0] != rows or X.shape[1] == 0:
        raise ValueError(
            f"X must have {rows} rows, one for each weight, and a column for each example, "
            f"got shape {X.shape}; a table with a row for each example is X.T."
        )
    if y.shape != (X.shape[1],) or not np.isin(y, (0, 1)).all():
        raise ValueError(
            f"y must hold a 0 or a 1 for each of the {X.shape[1]} columns of X, got shape "
            f"{y.shape} with values {np.unique(y)[:5].tolist()}; name the two classes 0 and 1."
        )
    return X, y.astype(int)
