"""Curvature: the eigenvalues of the Hessian, and the learning rates that they allow.

H = d2C/dw2 of the mean training cost with its penalties. Along an eigenvector of eigenvalue l a
step of gradient descent multiplies the distance from the minimum by 1 - eta l: it shrinks fastest
for eta = 1/l and grows for eta > 2/l. So the largest eigenvalue sets the learning rate: 1/l_max
is the best one for the steepest direction, 2/l_max the limit for all ("Efficient BackProp",
LeCun, Bottou, Orr and Müller 1998, section 5.2; equation 64 estimates l_max while training).

H is never stored for large networks: Lanczos' method asks only for products H v, each a derivative
of the gradient along v (Pearlmutter 1994).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from deltarule.data import Dataset
from deltarule.learning import penalties
from deltarule.learning.examples import example_weights, to_device
from deltarule.learning.measure import measure
from deltarule.learning.program import Examples, Program
from deltarule.learning.recipe import Recipe
from deltarule.learning.setup import check_data
from deltarule.network import kernels
from deltarule.network.kernels import Kernels
from deltarule.network.model import Model
from deltarule.network.network import Params, images_at_once
from deltarule.seeds import generator

Product = Callable[[np.ndarray], np.ndarray]  # v [parameters, ...] -> H v

SMALL = 2000  # parameters up to which all eigenvalues are found: H takes 32 MB
CHUNK = 200  # examples worked on together, fewer images: what fits the cache is fastest
TOLERANCE = 1e-6  # of Lanczos' method, relative: far finer than any use of a learning rate


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of the Hessian, in units of cost over weight squared, the largest first.

    Args:
        largest: the largest eigenvalues [k].
        all: every eigenvalue [parameters], or None where only the largest were asked for.
        parameters: of the network.
        examples: whose mean cost was differentiated.
    """

    largest: np.ndarray
    all: np.ndarray | None
    parameters: int
    examples: int

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue."""
        return float(self.largest[0])

    @property
    def best(self) -> float:
        """The learning rate 1/lambda_max; infinite where nothing curves upwards."""
        return 1 / self.lambda_max if self.lambda_max > 0 else math.inf

    @property
    def limit(self) -> float:
        """The learning rate 2/lambda_max beyond which gradient descent does not settle here."""
        return 2 * self.best


def spectrum(
    model: Model,
    data: Dataset,
    recipe: Recipe | None = None,
    *,
    most: int = 20,
    examples: int | None = None,
    whole: int = SMALL,
    tolerance: float = TOLERANCE,
) -> Spectrum:
    """Return the ``most`` largest eigenvalues of the Hessian at ``model``, of small networks all.

    Args:
        model: where to differentiate, as it predicts: without dropout, and normalised by running
            averages.
        data: the examples whose mean cost is meant.
        recipe: its cost, penalties, smoothing and class weights; by default that of the model's
            provenance, else the usual one.
        most: how many eigenvalues.
        examples: how many of ``data`` to use, drawn at random but always the same; None for all.
        whole: of networks of at most so many parameters all eigenvalues are found as well.
        tolerance: of Lanczos' method, relative to each eigenvalue.

    Works in float64. Raises ``ValueError`` if model, data and recipe do not fit together.

    >>> from deltarule.network import Activation, Dense, Network
    >>> line = Network(Dense(1), Activation("identity"))  # C = mean of (w x + b - y)^2 / 2
    >>> params, state = line.init(np.random.default_rng(0), (1,))
    >>> data = Dataset(np.array([[-2.0], [2.0]]), np.zeros((2, 1)))  # H = diag(mean of x^2, 1)
    >>> found = spectrum(Model(line, params, state, (1,)), data, Recipe(cost="quadratic"))
    >>> found.largest.tolist(), found.limit
    ([4.0, 1.0], 0.5)
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"most must be a number of eigenvalues of at least 1, got {most!r}.")
    recipe = recipe or recipe_of(model)
    data = data if examples is None else sample(data, examples)
    check_data(model.network, data, None, recipe)
    with jax.enable_x64(True):
        product, parameters = _products(model, data, recipe)
        if parameters == 0:
            raise ValueError("model must have parameters to differentiate by, got none.")
        if parameters > max(whole, 2 * most):  # Lanczos' method needs room
            largest = _lanczos(product, parameters, most, tolerance)
            return Spectrum(largest, None, parameters, len(data))
        hessian = product(np.eye(parameters))
    every = np.linalg.eigvalsh((hessian + hessian.T) / 2)[::-1]  # rounding leaves it asymmetric
    return Spectrum(every[:most].copy(), every, parameters, len(data))


def limit_of(lambda_max: float, recipe: Recipe) -> float | None:
    """Return the learning rate beyond which the recipe's optimizer cannot settle, or None.

    2/l_max for gradient descent; momentum allows 2 (1 + mu)/l_max (Polyak 1964), nesterov
    2 (1 + mu)/((1 + 2 mu) l_max). Optimizers that scale steps by themselves have no such limit.

    >>> limit_of(4.0, Recipe()), limit_of(4.0, Recipe(optimizer="adam"))
    (0.5, None)
    """
    mu = recipe.momentum
    factors = {"sgd": 1.0, "momentum": 1 + mu, "nesterov": (1 + mu) / (1 + 2 * mu)}
    if recipe.optimizer not in factors or lambda_max <= 0:
        return None
    return factors[recipe.optimizer] * 2 / lambda_max


def recipe_of(model: Model) -> Recipe:
    """Return the recipe that ``model`` was trained with, the usual one if it does not say."""
    described = model.provenance.get("recipe")
    return Recipe.from_description(described) if isinstance(described, dict) else Recipe()


def sample(data: Dataset, most: int) -> Dataset:
    """Return ``most`` examples at random, the same each time; all if there are no more.

    At random, for a file may be sorted by class.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"examples must be a whole number of at least 1, got {most!r}.")
    if most >= len(data):
        return data
    return data[np.sort(generator(0, "sample").permutation(len(data))[:most])]


def _products(model: Model, data: Dataset, recipe: Recipe) -> tuple[Product, int]:
    """Return the function from v, or columns of several [parameters, n], to H v; and their size."""
    program = Program(
        model.network, recipe.cost, "sgd", clip=False, batch_size=1, precision="float64",
        outputs=model.network.output_shape(data.shape)[-1],
        kernels=Kernels("backend", "plain"),  # which can be differentiated twice
        at_once=images_at_once(model.network, data.shape),
    )  # fmt: skip
    params, state = jax.tree.map(
        lambda array: jnp.asarray(array, jnp.float64), (model.params, model.state)
    )
    examples = to_device(data, example_weights(data, recipe.class_weight, None), "float64")
    flat, _ = ravel_pytree(params)

    def product(v: np.ndarray) -> np.ndarray:
        rows = jnp.asarray(v, jnp.float64).reshape(len(flat), -1).T
        found = _along(program, params, state, examples, rows, recipe.label_smoothing, recipe.l2)
        return np.asarray(found).T.reshape(v.shape)

    return product, len(flat)


@partial(jax.jit, static_argnums=0)
def _along(
    program: Program,
    params: Params,
    state: Params,
    examples: Examples,
    rows: jax.Array,
    smoothing: float,
    l2: float,
) -> jax.Array:
    """Return H v for each row v; examples are worked on in parts, so that memory stays bounded."""
    w, unravel = ravel_pytree(params)
    n = len(examples.x)
    length = min(n, program.at_once or CHUNK)
    whole, rest = divmod(n, length)

    def curve(cost: Callable[[jax.Array], jax.Array], v: jax.Array) -> jax.Array:
        bent: jax.Array = jax.jvp(jax.grad(cost), (w,), (v,))[1]
        return bent

    def part(first: jax.Array | int, length: int, v: jax.Array) -> jax.Array:
        batch = examples.take(first + jnp.arange(length))
        return curve(
            lambda flat: measure(program, unravel(flat), state, batch, smoothing)[0] / n, v
        )

    def along(v: jax.Array) -> jax.Array:
        # L1 is straight wherever it can be differentiated.
        total = curve(lambda flat: penalties.value(unravel(flat), 0.0, l2), v)
        total = jax.lax.fori_loop(
            0, whole, lambda i, total: total + part(i * length, length, v), total
        )
        return total + part(whole * length, rest, v) if rest else jnp.asarray(total)

    with kernels.using(program.kernels):
        return jnp.asarray(jax.lax.map(along, rows))


def _lanczos(product: Product, parameters: int, most: int, tolerance: float) -> np.ndarray:
    from scipy.sparse.linalg import LinearOperator, eigsh

    operator = LinearOperator((parameters, parameters), matvec=product, dtype=np.float64)
    start = generator(0, "lanczos").normal(size=parameters)
    found: np.ndarray = eigsh(
        operator, k=most, which="LA", v0=start, tol=tolerance, return_eigenvectors=False
    )
    return np.sort(found)[::-1]
