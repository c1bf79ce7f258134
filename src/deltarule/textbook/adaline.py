"""ADALINE: Widrow and Hoff's adaptive linear neuron, and the delta rule (1960).

The picture is the perceptron's: weights, a bias, a weighted input z. What it learns from is not.
The perceptron asks only whether its answer was right; ADALINE asks *how far* z is from the
wanted y, for every example, right or wrong. Half the mean square of that error is its cost,

    C = 1/(2m) Σ_x (z - y)²              z = w_1 x_1 + ... + w_n x_n + b

a smooth bowl over the weights, and the delta rule is one step straight down its side:

    δ = z - y  =  ∂C_x/∂z                the error of one example
    w <- w - η δ x                       for ∂C_x/∂w_i = δ x_i
    b <- b - η δ                         for ∂C_x/∂b   = δ

The learning rate η is the length of the step. This is gradient descent, and it is the seed of all
that follows: backpropagation is the same rule with a δ for every neuron of every layer.

Read before: perceptron.py. Read next: network.py.

Source: B. Widrow and M. E. Hoff, "Adaptive switching circuits", IRE WESCON Convention Record,
part 4 (1960), 96-104. The limit on η: B. Widrow and S. D. Stearns, "Adaptive Signal Processing"
(1985), ch. 6.

Leaves out: MADALINE, their network of several such neurons, and the minimum itself, which for a
linear neuron needs no steps at all (least squares; the tests check that the steps lead there).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Adaline:
    """One linear neuron with ``weights`` [n] and a ``bias``, taught by the delta rule.

    Examples are the columns of ``X`` [n, m]; ``y`` [m] holds a wanted z for each, any number, and
    +1 or -1 where the two classes are to be told apart.

    >>> inputs = [[0, 0, 1, 1], [0, 1, 0, 1]]
    >>> neuron = Adaline(weights=[0, 0])
    >>> costs = neuron.fit(inputs, [-1, -1, -1, 1], eta=0.5, epochs=100)  # AND
    >>> neuron.weights.round(3), round(neuron.bias, 3)
    (array([1., 1.]), -1.5)
    >>> neuron.predict(inputs)
    array([-1, -1, -1,  1])
    """

    def __init__(self, weights: ArrayLike, bias: float = 0.0) -> None:
        """Start from these ``weights`` [n] and this ``bias``; zero will do."""
        self.weights = np.array(weights, dtype=float)  # [n]
        self.bias = float(bias)
        if self.weights.ndim != 1:
            raise ValueError(
                f"weights must be a list of numbers, one for each input, "
                f"got shape {self.weights.shape}; pass for example [0, 0]."
            )

    def output(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return z = w · x + b for every column x of ``X`` [n, m], or for one example [n]."""
        X = np.asarray(X, dtype=float)
        if X.ndim not in (1, 2) or X.shape[0] != len(self.weights):
            raise ValueError(
                f"X must have {len(self.weights)} rows, one for each weight, and a column for each "
                f"example, got shape {X.shape}; a table with a row for each example is X.T."
            )
        return np.asarray(self.weights @ X + self.bias)  # [m]

    def predict(self, X: ArrayLike) -> NDArray[np.int_]:
        """Return the class of every column of ``X``: +1 if z > 0, else -1."""
        return np.where(self.output(X) > 0, 1, -1)

    def cost(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return C = 1/(2m) Σ (z - y)², half the mean squared error over the examples."""
        return float(np.mean(self._delta(X, y) ** 2) / 2)

    def learn(self, x: ArrayLike, y: float, eta: float) -> None:
        """Take one step of the delta rule for one example ``x`` [n], with learning rate ``eta``.

        >>> neuron = Adaline(weights=[1, 1])
        >>> neuron.learn([2, 1], y=4, eta=0.1)  # z = 3, δ = -1: w += 0.1 x, b += 0.1
        >>> neuron.weights, neuron.bias
        (array([1.2, 1.1]), 0.1)
        """
        delta = float(self._delta(x, y))
        self.weights -= eta * delta * np.asarray(x, dtype=float)
        self.bias -= eta * delta

    def fit(self, X: ArrayLike, y: ArrayLike, eta: float, epochs: int) -> list[float]:
        """Go down the slope of the whole cost, one step an epoch; return the cost after each.

        The step is the mean of the steps that `learn` would take for each example. With ``eta``
        below `largest_learning_rate` the weights tend to those of least squares. (Steps for one
        example at a time, with a constant η, end up wandering around them instead.)
        """
        costs = []
        for _ in range(epochs):
            delta = self._delta(X, y)  # [m]
            self.weights -= eta * np.asarray(X, dtype=float) @ delta / delta.size  # [n]
            self.bias -= eta * float(delta.mean())
            costs.append(self.cost(X, y))
        return costs

    def _delta(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return δ = z - y for every example; ``ValueError`` if X and y do not fit together."""
        z, y = self.output(X), np.asarray(y, dtype=float)
        if y.shape != z.shape or z.size == 0:  # else [m] - [m, 1] would become [m, m] unseen
            raise ValueError(
                f"y must hold one number for each example of X, so have shape {z.shape}, "
                f"got shape {y.shape}; pass at least one example, with its answer."
            )
        return np.asarray(z - y)


def largest_learning_rate(X: ArrayLike) -> float:
    """Return 2/λ, the η at which `Adaline.fit` turns from converging to diverging on ``X`` [n, m].

    λ is the largest eigenvalue of the mean of x' x'^T over the examples, where x' = (x, 1): the
    curvature of the bowl where it is steepest. A longer step than 2/λ lands higher up on the other
    side than where it left.

    >>> round(largest_learning_rate([[1, -1]]), 6)  # curvature 1 in both w and b
    2.0
    """
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X must have a column for each example, got shape {X.shape}; see fit.")
    X1 = np.vstack([X, np.ones(X.shape[1])])  # [n + 1, m]
    return float(2 / np.linalg.eigvalsh(X1 @ X1.T / X.shape[1])[-1])
