"""A network: a sequence of layers, and the numbers that say how large it is.

``Network([784, 30, 10])`` is the network of the book: layers of sigmoid neurons.
``Network(Flatten(), Dense(100), Activation("relu"), Dense(10), Activation("softmax"))`` says every
layer. Both make the same class: a value that holds no weights. Read ``layers/`` first.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from deltarule.choices import choose
from deltarule.network import kernels
from deltarule.network.layers.blocks import checked_layers, every, walk
from deltarule.network.layers.chain import steps
from deltarule.network.layers.contract import (
    Arrays,
    HostArrays,
    Layer,
    Rng,
    Shape,
    is_weight,
    positive,
)
from deltarule.network.layers.convolution import Conv
from deltarule.network.layers.dense import Activation, Dense, Dropout
from deltarule.network.layers.description import describe, layer_from
from deltarule.network.layers.inputs import INPUTS, front, is_input_layer
from deltarule.network.layers.norms import BatchNorm
from deltarule.network.layers.pooling import AvgPool, MaxPool

Params = tuple[Arrays, ...]
HostParams = tuple[HostArrays, ...]

MOST_AT_ONCE, BYTES_AT_ONCE = 64, 1 << 24  # images, bytes of patches; see docs/decisions/

_EITHER_OR = " Give either layers, or one list of sizes such as [784, 30, 10]."
_RELU_LIKE = ("relu", "leaky_relu", "elu", "gelu", "softplus")
_SIZES_ONLY = ("sigmoid", "sigmoid", None, None, 0.0, None)  # the defaults of ``Network``, in order


@dataclass(frozen=True, init=False)
class Network:
    """Layers one after another, and the shape of one input if it is known.

    Args:
        layers: the layers in order; or one list of sizes ``[inputs, hidden, ..., outputs]``.
        shape: the shape of one input, without the batch axis. The sizes give it; with layers it
            may be left out and is then taken from the data.
        activation: (sizes only) of the hidden layers; an entry of ``activations.py``.
        output: (sizes only) of the last layer: "sigmoid" as in the book, "softmax", "identity".
        weight_init, bias_init: (sizes only) entries of ``initializers.py``. By default weights
            are of variance 1/n (2/n for relu and its kin), and biases standard normal for sigmoid
            networks, as in the book's third chapter, else zeros.
        dropout: (sizes only) the share of each hidden layer's outputs to drop while training.
        inputs: (sizes only) how to prepare the inputs: "standardize" or "decorrelate", for a first
            layer of that name (``layers/inputs.py``); None takes them as they come.

    Raises ``ValueError`` for sizes or layers that make no network, and where a layer that is
    measured on the inputs does not stand before all others.

    >>> Network([784, 30, 10]) == Network(
    ...     Dense(30, bias_init="standard_normal"), Activation("sigmoid"),
    ...     Dense(10, bias_init="standard_normal"), Activation("sigmoid"), shape=(784,))
    True
    """

    layers: tuple[Layer, ...]
    shape: Shape | None

    def __init__(
        self,
        *layers: Layer | Sequence[int],
        shape: Shape | None = None,
        activation: str = "sigmoid",
        output: str = "sigmoid",
        weight_init: str | None = None,
        bias_init: str | None = None,
        dropout: float = 0.0,
        inputs: str | None = None,
    ) -> None:
        if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
            if shape is not None:
                raise ValueError(f"shape is the first size of a list, got {shape!r} as well.")
            sizes = [positive("every size", units) for units in layers[0]]
            built = _dense_layers(sizes, activation, output, weight_init, bias_init, dropout)
            if inputs is not None:
                built = (choose("inputs", inputs, INPUTS)(), *built)
            shape = (sizes[0],)
        else:
            if (activation, output, weight_init, bias_init, dropout, inputs) != _SIZES_ONLY:
                raise ValueError(
                    "activation, output, weight_init, bias_init, dropout and inputs go with one "
                    "list of sizes; where layers are given, say them in the layers."
                )
            built = _in_front(checked_layers("layers", layers, hint=_EITHER_OR))
        if not built:
            raise ValueError("a network needs at least one layer, got none.")
        object.__setattr__(self, "layers", built)
        object.__setattr__(self, "shape", None if shape is None else _checked_shape(shape))

    @property
    def output(self) -> str:
        """The name of the activation that ends the network, "identity" if none does."""
        last = self.layers[-1]
        return last.name if isinstance(last, Activation) else "identity"

    def init(self, rng: Rng, shape: Shape | None = None) -> tuple[HostParams, HostParams]:
        """Draw parameters and state for inputs of ``shape``, a dictionary of arrays a layer.

        The arrays are NumPy's, in float64: the engine casts them to the precision of a run.
        With ``rng=None`` they are placeholders that say shapes and take no memory.
        Raises ``ValueError`` if a layer cannot take the shape that reaches it.

        >>> import numpy as np
        >>> params, state = Network([3, 4, 4, 1]).init(np.random.default_rng(0))
        >>> [layer["w"].shape for layer in params if "w" in layer]
        [(4, 3), (4, 4), (1, 4)]
        """
        params, state = [], []
        current = self._input_shape(shape)
        for layer in self.layers:
            drawn, remembered, current = layer.init(rng, current)
            params.append(drawn)
            state.append(remembered)
        return tuple(params), tuple(state)

    def apply(
        self,
        params: Params,
        state: Params,
        x: jax.Array,
        *,
        key: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, Params]:
        """Return the outputs a [batch, ...] for inputs x [batch, ...], and the state after."""
        return self._run(self.layers, params, state, x, key, train)

    def logits(
        self,
        params: Params,
        state: Params,
        x: jax.Array,
        *,
        key: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, Params]:
        """Return the last layer's weighted inputs z, before ``output`` acts on them.

        The costs start from z: log(sigmoid(z)) is infinite where its parts round to 0, while the
        same quantity worked out from z never is.
        """
        ends_in_activation = isinstance(self.layers[-1], Activation)
        layers = self.layers[:-1] if ends_in_activation else self.layers
        z, after = self._run(layers, params, state, x, key, train)
        return z, after + state[len(layers) :]

    def _run(
        self,
        layers: tuple[Layer, ...],
        params: Params,
        state: Params,
        x: jax.Array,
        key: jax.Array | None,
        train: bool,
    ) -> tuple[jax.Array, Params]:
        if key is None:
            if train and any(isinstance(layer, Dropout) for layer in every(layers)):
                raise ValueError("key must be given while training: the network has dropout.")
            key = jax.random.key(0)  # drawn from by no one
        after = list(state[: len(layers)])
        for position, apply in steps(layers):
            x, after[position] = apply(
                params[position], state[position], x,
                key=jax.random.fold_in(key, position), train=train,
            )  # fmt: skip
        return kernels.wide(x), tuple(after)

    def output_shape(self, shape: Shape | None = None) -> Shape:
        """Return the shape of one output for inputs of ``shape``."""
        return self._shapes(shape)[-1]

    def count(self, shape: Shape | None = None) -> int:
        """Return the number of parameters.

        >>> Network([784, 100, 100, 10]).count()
        89610
        """
        params, _ = self.init(None, shape)
        return sum(array.size for layer in params for array in layer.values())

    def summary(self, shape: Shape | None = None) -> str:
        """Return a table of the layers, their output shapes and parameter counts.

        >>> print(Network([784, 30, 10]).summary())
        layer               outputs  parameters
        input                   784
        Dense                    30      23,550
        Activation sigmoid       30
        Dense                    10         310
        Activation sigmoid       10
        total                            23,860
        """
        params, _ = self.init(None, shape)
        counts = [sum(array.size for array in layer.values()) for layer in params]
        names = ["input", *(_name(layer) for layer in self.layers)]
        shapes = [" x ".join(str(n) for n in each) for each in self._shapes(shape)]
        rows = [("layer", "outputs", "parameters")]
        rows += [
            (name, outputs, f"{count:,}" if count else "")
            for name, outputs, count in zip(names, shapes, [0, *counts], strict=True)
        ]
        rows.append(("total", "", f"{sum(counts):,}"))
        wide = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{a:{wide[0]}}  {b:>{wide[1]}}  {c:>{wide[2]}}".rstrip() for a, b, c in rows]
        return "\n".join(lines)

    def multiplications(self, shape: Shape | None = None) -> int:
        """Return about how many multiplications one example takes: each weight at each pixel.

        >>> Network([784, 30, 10]).multiplications()
        23820
        """
        total = 0
        for layer, takes, gives in walk(self.layers, self._input_shape(shape)):
            params, _, _ = layer.init(None, takes)
            weights = sum(array.size for name, array in params.items() if is_weight(name))
            total += weights * math.prod(gives[:-1])
        return total

    def every_layer(self) -> Iterator[Layer]:
        """Yield the layers and all that they are made of."""
        return every(self.layers)

    @property
    def mixes_examples(self) -> bool:
        """Whether an example's outputs depend on the others of its batch while training."""
        return any(isinstance(layer, BatchNorm) for layer in self.every_layer())

    def describe(self) -> list[dict[str, Any]]:
        """Return the layers as plain data, for model files; ``from_description`` reads it."""
        return [describe(layer) for layer in self.layers]

    @classmethod
    def from_description(
        cls, layers: Sequence[Mapping[str, Any]], shape: Shape | None = None
    ) -> "Network":
        """Build the network that ``describe`` described.

        The schema is closed: a layer or a field that is not known, or of another type, is a
        ``ValueError``. Nothing is imported by name.
        """
        return cls(*(layer_from(entry) for entry in layers), shape=shape)

    def _input_shape(self, shape: Shape | None) -> Shape:
        known = self.shape if self.shape is not None else shape
        if not known:
            raise ValueError("shape must be given: the network does not know its input's shape.")
        if shape is not None and math.prod(known) != math.prod(shape):
            raise ValueError(
                f"the network expects inputs of shape {known}, got {tuple(shape)}; give it data "
                f"with {math.prod(known)} numbers an example, or change its first size."
            )
        return known

    def _shapes(self, shape: Shape | None) -> list[Shape]:
        shapes = [self._input_shape(shape)]
        for layer in self.layers:
            shapes.append(layer.init(None, shapes[-1])[2])
        return shapes


def images_at_once(network: Network, shape: Shape | None = None) -> int | None:
    """Return how many images a CPU should work on together; None where nothing convolves.

    Convolution unfolds an image into patches, as many numbers as the kernel sees for each pixel:
    those of a few images stay in the cache, those of a whole batch would fill the memory.

    >>> images_at_once(Network(Conv(20, 5), shape=(28, 28, 1)))
    64
    >>> images_at_once(Network(Conv(48, 3, padding="same"), shape=(28, 28, 48)))
    12
    """
    patches = [
        4 * math.prod((*gives[:2], *layer.kernel, takes[2]))  # bytes an image
        for layer, takes, gives in walk(network.layers, network.shape or shape or ())
        if isinstance(layer, Conv) and isinstance(layer.kernel, tuple)
    ]
    return max(1, min(MOST_AT_ONCE, BYTES_AT_ONCE // max(patches))) if patches else None


def _dense_layers(
    sizes: Sequence[int],
    activation: str,
    output: str,
    weight_init: str | None,
    bias_init: str | None,
    dropout: float,
) -> tuple[Layer, ...]:
    if len(sizes) < 2:
        raise ValueError(
            f"sizes must hold at least two numbers, inputs and outputs; got {list(sizes)}."
        )
    weight_init = weight_init or ("he_normal" if activation in _RELU_LIKE else "scaled_normal")
    bias_init = bias_init or ("standard_normal" if activation == "sigmoid" else "zeros")
    layers: list[Layer] = []
    for units in sizes[1:-1]:
        layers += [Dense(units, weight_init, bias_init), Activation(activation)]
        if dropout:
            layers.append(Dropout(dropout))
    # The last layer does not feed a relu, so it keeps variance 1/n unless told otherwise.
    last_init = "scaled_normal" if weight_init == "he_normal" else weight_init
    return (*layers, Dense(sizes[-1], last_init, bias_init), Activation(output))


def _in_front(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return ``layers``, or raise if one that is measured on the inputs stands behind another."""
    for layer in every(layers[len(front(layers)) :]):
        if is_input_layer(layer):
            raise ValueError(
                f"{layer} is measured on the inputs, so it must stand before all other layers; "
                "take BatchNorm() or LayerNorm() between layers."
            )
    return layers


def _checked_shape(shape: Any) -> Shape:
    if not isinstance(shape, (tuple, list)) or not shape:
        raise ValueError(f"shape must hold the sizes of one input, such as (784,), got {shape!r}.")
    return tuple(positive("every size in shape", size) for size in shape)


def _name(layer: Layer) -> str:
    if isinstance(layer, Activation):
        return f"Activation {layer.name}"
    if isinstance(layer, Dropout):
        return f"Dropout {layer.rate:g}"
    if isinstance(layer, Conv):
        return f"Conv {_times(layer.kernel)}"
    if isinstance(layer, (MaxPool, AvgPool)):
        return f"{type(layer).__name__} {_times(layer.window)}"
    return type(layer).__name__


def _times(pair: Any) -> str:
    return " x ".join(str(number) for number in pair)
