"""The network: layers of sigmoid neurons that learn by backpropagation (1986).

Every neuron of layer l takes the activations a^{l-1} of the layer before, and passes on its own:

    z^l = w^l a^{l-1} + b^l        the weighted inputs; a^0 = x is the input of the network
    a^l = σ(z^l)                   the activations;     a^L is its output

The step of the threshold unit has become a slope, the sigmoid σ: a small change of a weight now
changes the output a little, and the cost C with it. Learning goes down the slope of C. The four
equations of backpropagation give that slope for every weight, from the last layer back to the
first. δ^l = ∂C/∂z^l is the error of layer l, and ⊙ the product element by element:

    (BP1)    δ^L = ∂C/∂a^L ⊙ σ'(z^L)
    (BP2)    δ^l = (w^{l+1})^T δ^{l+1} ⊙ σ'(z^l)
    (BP3)    ∂C/∂b^l = δ^l
    (BP4)    ∂C/∂w^l = δ^l (a^{l-1})^T

An example is a column. Several stand side by side as the columns of one matrix x [n_0, B], and the
equations need no change: each column goes its own way, and (BP3) and (BP4) take the mean.

Read before: adaline.py (BP3 and BP4 are its delta rule). Read next: gradcheck.py.

Sources: D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning representations by
back-propagating errors", Nature 323 (1986), 533-536. M. A. Nielsen, "Neural Networks and Deep
Learning" (2015): ch. 1 (SGD), ch. 2 (BP1 to BP4), ch. 3 (cross-entropy, L2, scaled weights).

Leaves out: every activation but the sigmoid, momentum, dropout, and speed: those are the engine's.
Where the programs of the talk went another way, a comment that begins "The talk" says why.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def sigmoid(z: Array) -> Array:
    """Return σ(z) = 1 / (1 + e^-z), element by element.

    The talk's formula overflows for z < -709. Below 0 this one uses e^z / (1 + e^z), the same
    number, so that only exponentials of at most 1 are ever taken.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    e = np.exp(-np.abs(z))
    a: Array = np.where(z >= 0, 1.0, e) / (1.0 + e)
    return a


def slope(a: Array) -> Array:
    """Return σ'(z) = a (1 - a) for the activation a = σ(z), which is at hand already."""
    return a * (1.0 - a)


class QuadraticCost:
    """C = |a - y|² / 2, the cost of ADALINE."""

    @staticmethod
    def value(z: Array, y: Array) -> Array:
        """Return the cost of each column [B], from the weighted inputs z^L [n_L, B]."""
        C: Array = np.sum((sigmoid(z) - y) ** 2, axis=0) / 2
        return C

    @staticmethod
    def delta(z: Array, y: Array) -> Array:
        """Return the output error δ^L [n_L, B], (BP1): small near a = 0 and 1, right or wrong."""
        a = sigmoid(z)
        return (a - y) * slope(a)


class CrossEntropyCost:
    """C = -Σ_j [y_j ln a_j + (1 - y_j) ln(1 - a_j)], a sum over the output neurons."""

    @staticmethod
    def value(z: Array, y: Array) -> Array:
        """Return the cost of each column [B], from the weighted inputs z^L [n_L, B].

        -ln a = ln(1 + e^z) - z and -ln(1 - a) = ln(1 + e^z), so C = Σ_j ln(1 + e^z) - z y, where
        ln(1 + e^z) = max(z, 0) + ln(1 + e^-|z|) cannot overflow. The talk took logarithms of a:
        once a is rounded to 0 or 1, a wrong answer costs infinitely much.
        """
        C: Array = np.sum(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))), axis=0)
        return C

    @staticmethod
    def delta(z: Array, y: Array) -> Array:
        """Return the output error δ^L [n_L, B], (BP1): here σ'(z) cancels, and a - y is left."""
        return sigmoid(z) - y


class Network:
    """A network with ``sizes[0]`` inputs and then, for every further size, a layer of neurons.

    ``weights[l]`` has a row for each neuron of its layer and a column for each neuron of the layer
    before; ``biases[l]`` is a column. ``init="normal"`` draws every weight from N(0, 1);
    ``init="scaled"`` from N(0, 1/n_in), so that z does not grow with the number of inputs. Biases
    are always drawn from N(0, 1). All chance comes from ``rng``, a generator with seed 0 if none
    is given.

    Data are pairs (X, Y) of matrices, an example a column: X [sizes[0], n], Y [sizes[-1], n] with
    entries between 0 and 1. Other shapes, and sizes that make no network, raise ``ValueError``.

    >>> network = Network([3, 4, 4, 1])
    >>> [w.shape for w in network.weights], [b.shape for b in network.biases]
    ([(4, 3), (4, 4), (1, 4)], [(4, 1), (4, 1), (1, 1)])

    XOR, which one neuron cannot learn:

    >>> xor = np.array([[0, 0, 1, 1], [0, 1, 0, 1]]), np.array([[0, 1, 1, 0]])
    >>> network = Network([2, 4, 1], cost=CrossEntropyCost)
    >>> network.SGD(xor, epochs=1000, mini_batch_size=4, eta=2.0)
    >>> network.feedforward(xor[0]).round()
    array([[0., 1., 1., 0.]])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        cost: type[QuadraticCost] | type[CrossEntropyCost] = QuadraticCost,
        rng: np.random.Generator | None = None,
        init: str = "normal",
    ) -> None:
        """Draw the first biases and weights."""
        _check_sizes(sizes)
        if init not in ("normal", "scaled"):
            raise ValueError(
                f'init must be "normal" or "scaled", got {init!r}; choose one of them.'
            )
        self.sizes = list(sizes)
        self.cost = cost
        self.rng = np.random.default_rng(0) if rng is None else rng
        normal = self.rng.standard_normal
        self.biases = [normal((n, 1)) for n in sizes[1:]]  # [n_l, 1]
        self.weights = [normal((n, m)) for m, n in pairwise(sizes)]  # [n_l, n_l-1]
        if init == "scaled":
            self.weights = [w / np.sqrt(w.shape[1]) for w in self.weights]

    def feedforward(self, x: ArrayLike) -> Array:
        """Return the output a^L [n_L, B] of the network for the columns of ``x`` [n_0, B]."""
        return self._forward(x)[1][-1]

    def _forward(self, x: ArrayLike) -> tuple[list[Array], list[Array]]:
        """Return the weighted inputs z^1 ... z^L and the activations a^0 ... a^L."""
        zs, activations = [], [_columns("x", x, rows=self.sizes[0])]
        for w, b in zip(self.weights, self.biases, strict=True):
            zs.append(w @ activations[-1] + b)  # [n_l, B]
            activations.append(sigmoid(zs[-1]))  # [n_l, B]
        return zs, activations

    def backprop(self, x: ArrayLike, y: ArrayLike) -> tuple[list[Array], list[Array]]:
        """Return (nabla_b, nabla_w), the slopes of the mean cost over the columns of x and y.

        They are lists with the shapes of ``biases`` and ``weights``.
        """
        x, y = _pair((x, y), self.sizes)
        B = x.shape[1]
        zs, activations = self._forward(x)
        deltas = [self.cost.delta(zs[-1], y)]  # (BP1)  [n_L, B]
        # Backwards: w^L with the a^{L-1} it reads, and so on down to w^2 with a^1.
        for w, a in zip(self.weights[:0:-1], activations[-2:0:-1], strict=True):
            deltas.insert(0, w.T @ deltas[0] * slope(a))  # (BP2)  [n_l, B]
        nabla_b = [delta.sum(axis=1, keepdims=True) / B for delta in deltas]  # (BP3)  [n_l, 1]
        reads = zip(deltas, activations[:-1], strict=True)  # δ^l with the a^{l-1} its layer reads
        nabla_w = [delta @ a.T / B for delta, a in reads]  # (BP4)  [n_l, n_l-1]
        return nabla_b, nabla_w

    def update_mini_batch(
        self, x: ArrayLike, y: ArrayLike, eta: float, lmbda: float, n: int
    ) -> None:
        """Take one step down the slope of the mini-batch x, y, out of ``n`` training examples.

            w <- (1 - ηλ/n) w - (η/B) Σ ∂C_x/∂w          b <- b - (η/B) Σ ∂C_x/∂b

        The talk steps by the sum, without 1/B, and still decays once: with B = 10, its η = 0.05 and
        λ = 5 are η = 0.5 and λ = 0.5 here. Its third program sums in a zip that misspells a name,
        and stops with a NameError; as columns of one matrix the examples need no such loop.
        """
        nabla_b, nabla_w = self.backprop(x, y)
        decay = 1 - eta * lmbda / n
        self.weights = [decay * w - eta * nw for w, nw in zip(self.weights, nabla_w, strict=True)]
        self.biases = [b - eta * nb for b, nb in zip(self.biases, nabla_b, strict=True)]

    def SGD(  # noqa: N802 - the book's name
        self,
        training_data: tuple[ArrayLike, ArrayLike],
        epochs: int,
        mini_batch_size: int,
        eta: float,
        lmbda: float = 0.0,
        *,
        order: Sequence[ArrayLike] | None = None,
    ) -> None:
        """Learn by stochastic gradient descent: ``epochs`` times through the data in mini-batches.

        ``eta`` is the learning rate and ``lmbda`` the L2 penalty, in the book's units. The examples
        come in a new random order every epoch, or in ``order``: one permutation of 0 ... n-1 an
        epoch. If ``mini_batch_size`` does not divide n, the last mini-batch is the smaller rest.

        To watch it learn, ask for one epoch at a time: thirty calls for one epoch do the same as
        one call for thirty.
        """
        X, Y = _pair(training_data, self.sizes)
        n = X.shape[1]
        _check_plan(n, epochs, mini_batch_size, order)
        for epoch in range(epochs):
            # The talk keeps one order for all epochs, or else shuffles the caller's own list.
            p = self.rng.permutation(n) if order is None else np.asarray(order[epoch])
            for k in range(0, n, mini_batch_size):
                batch = p[k : k + mini_batch_size]
                self.update_mini_batch(X[:, batch], Y[:, batch], eta, lmbda, n)

    def total_cost(self, data: tuple[ArrayLike, ArrayLike], lmbda: float = 0.0) -> float:
        """Return the mean cost over ``data``, plus λ/(2n) times the sum of the squared weights.

        However wrong the network is, its cost is a finite number.
        """
        X, Y = _pair(data, self.sizes)
        zs, _ = self._forward(X)
        mean = np.mean(self.cost.value(zs[-1], Y))
        squares = sum(np.sum(w**2) for w in self.weights)
        return float(mean + lmbda / (2 * X.shape[1]) * squares)

    def accuracy(self, data: tuple[ArrayLike, ArrayLike]) -> float:
        """Return the share of ``data``, 0 to 1, for which output and target name the same class.

        A column names the class of its largest entry; a single number, class 1 above 1/2, else 0.
        """
        X, Y = _pair(data, self.sizes)
        return float(np.mean(_classes(self.feedforward(X)) == _classes(Y)))


def _classes(a: Array) -> NDArray[np.int_]:
    """Return the class that each column of ``a`` [k, n] names, as integers [n]."""
    return np.asarray(a[0] > 0.5 if len(a) == 1 else a.argmax(axis=0), dtype=int)


# The story ends here. What follows refuses wrong arguments, before NumPy broadcasts them into
# nonsense.


def _check_sizes(sizes: Sequence[int]) -> None:
    whole = [isinstance(n, int | np.integer) and n is not True and n > 0 for n in sizes]
    if len(sizes) < 2 or not all(whole):
        raise ValueError(
            f"sizes must be at least two positive whole numbers, got {list(sizes)}; "
            f"pass the inputs and then the neurons of each layer, for example [784, 30, 10]."
        )


def _columns(name: str, x: ArrayLike, rows: int) -> Array:
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or x.shape[0] != rows or x.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape [{rows}, B], a column for each of B examples, got {x.shape}; "
            f"one example v is the column v[:, None], a table with an example a row is table.T."
        )
    return x


def _pair(data: tuple[ArrayLike, ArrayLike], sizes: Sequence[int]) -> tuple[Array, Array]:
    if len(data) != 2:
        raise ValueError(
            f"data must be a pair (X, Y), got {len(data)} things; "
            f"stack the examples as columns, X = np.hstack([x for x, y in examples])."
        )
    X, Y = _columns("X", data[0], rows=sizes[0]), _columns("Y", data[1], rows=sizes[-1])
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X and Y must have a column for each example, got {X.shape[1]} and {Y.shape[1]}; "
            f"check that both come from the same examples."
        )
    return X, Y


def _check_plan(
    n: int, epochs: int, mini_batch_size: int, order: Sequence[ArrayLike] | None
) -> None:
    if mini_batch_size < 1:
        raise ValueError(f"mini_batch_size must be at least 1, got {mini_batch_size}; try 10.")
    if epochs < 0:
        raise ValueError(f"epochs must be at least 0, got {epochs}; try 30.")
    every = np.arange(n)
    if order is not None and (
        len(order) != epochs or not all(np.array_equal(np.sort(p), every) for p in order)
    ):
        raise ValueError(
            f"order must hold one permutation of 0 ... {n - 1} for each of the {epochs} epochs, "
            f"got something else; draw each with rng.permutation({n})."
        )
