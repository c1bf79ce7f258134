"""The network, the recipe and the committee that the options of ``deltarule train`` ask for."""

import inspect
import math
import os
from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from typing import Any, NamedTuple

from deltarule.choices import choose
from deltarule.committee import COMBINE
from deltarule.data import Dataset
from deltarule.data.augment import augmentation
from deltarule.data.sources import ASKED
from deltarule.learning import Recipe
from deltarule.network import Network
from deltarule.network.architectures import ARCHITECTURES
from deltarule.network.layers.inputs import INPUTS, InputLayer

HIDDEN = 100  # units of the hidden layer where --network is not given
A_FEW = 4  # pixels that a frame of zeros may add, to make images as large as a paper's

RECIPE = {field.name for field in fields(Recipe)}
SIZES_ONLY = ("activation", "output", "init", "dropout")
MEMBERS_ONLY = ("views", "combine")
OPTIONS = (
    RECIPE
    | {"network", "inputs", "source", "validation", "committee"}
    | {*SIZES_ONLY, *MEMBERS_ONLY, *ASKED}
)


class Members(NamedTuple):
    """The members of a committee: how many, what each is shown, how they answer together."""

    members: int
    views: tuple[str, ...]
    combine: str


def network_of(options: Mapping[str, Any], data: Dataset) -> Network:
    """Return the network: sizes, or an architecture with a name, fitted to ``data``."""
    wanted, inputs = options["network"], options["inputs"]
    if wanted is not None and wanted[:1].isalpha():
        return _named(wanted, data, inputs)
    sizes = _sizes(wanted, data)
    _check_memory(sum(below * above for below, above in pairwise(sizes)))
    return Network(
        sizes,
        activation=options["activation"],
        output=options["output"],
        weight_init=options["init"],
        dropout=options["dropout"],
        inputs=inputs,
    )


def is_named(network: str | None) -> bool:
    """Say whether ``--network`` names an architecture."""
    return network is not None and network.replace("-", "_") in ARCHITECTURES


def _sizes(wanted: str | None, data: Dataset) -> list[int]:
    usual = [math.prod(data.shape), HIDDEN, len(data.classes) or data.y.shape[1]]
    if wanted is None:
        return usual
    try:
        return [int(part) for part in wanted.split(",")]
    except ValueError:
        raise ValueError(
            f"--network must be sizes separated by commas, such as {','.join(map(str, usual))}, or "
            f"a name such as lenet5; got {wanted!r}."
        ) from None


def _named(name: str, data: Dataset, inputs: str | None) -> Network:
    if not is_named(name):
        choose("--network", name, ARCHITECTURES)
    if not data.classes:
        raise ValueError(
            f"--network {name} tells classes apart, and these data ask for a quantity; give sizes, "
            f"such as {math.prod(data.shape)},{HIDDEN},{data.y.shape[1]}."
        )
    build = ARCHITECTURES[name.replace("-", "_")]
    shape: tuple[int, ...] = data.shape if len(data.shape) == 3 else (*data.shape, 1)
    if len(inspect.signature(build).parameters["shape"].default) == 1:
        shape = (math.prod(data.shape),)
    first = _first(name, inputs, shape)
    try:
        network = build(classes=len(data.classes), shape=shape)
        network = Network(*first, *network.layers, shape=network.shape)
        network.output_shape()
    except ValueError as error:
        raise ValueError(f"--network {name} cannot take these data: {error}") from None
    _check_memory(network.count(data.shape))
    return network


def size_note(name: str | None, network: Network, shape: tuple[int, ...]) -> str | None:
    """Return what to say where the network ``name`` is fitted to other images than its paper's.

    ``shape`` is that of an image.
    """
    if name is None or not is_named(name):
        return None
    build = ARCHITECTURES[name.replace("-", "_")]
    paper: tuple[int, ...] = inspect.signature(build).parameters["shape"].default
    if math.prod(paper) == math.prod(shape):
        return None
    if len(paper) == 1:  # a square image, row by row
        paper = (math.isqrt(paper[0]),) * 2
    hint, side = "", paper[0]
    grey = len(shape) == 2 or shape[2:] == (1,)
    if grey and 0 < side - max(shape[:2]) <= A_FEW:
        hint = f", as the view pad-{side} makes these (--committee 1 --views pad-{side})"
    return (
        f"{name} is fitted to images of {_sized(shape)}, with {network.count(shape):,} parameters; "
        f"its paper's are of {_sized(paper)}{hint}."
    )


def _sized(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in (shape[:2] if shape[2:] == (1,) else shape))


def _first(name: str, inputs: str | None, shape: tuple[int, ...]) -> list[InputLayer]:
    """Return the layer that prepares the inputs of shape ``shape``, if one is asked for."""
    if inputs is None:
        return []
    layer = choose("--inputs", inputs, INPUTS)()
    if layer.init(None, shape)[2] != shape:
        raise ValueError(
            f"--inputs {inputs} makes a row of numbers of an image, and --network {name} needs "
            "images; choose standardize."
        )
    return [layer]


def _check_memory(weights: int) -> None:
    # Weights are drawn in 8 bytes each and learn in 4, with a gradient of 4.
    if 16 * weights > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise MemoryError


def recipe_of(options: Mapping[str, Any]) -> Recipe:
    """Return the recipe."""
    chosen = {name: value for name, value in options.items() if name in RECIPE}
    text = options["augment"]
    return Recipe(
        **chosen
        | {
            "class_weight": _class_weight(options["class_weight"]),
            "augment": None if text is None else augmentation(text),
        }
    )


def members_of(options: Mapping[str, Any]) -> Members | None:
    """Return the committee that is asked for, or None for a single network."""
    members = options["committee"]
    if members is None:
        return None
    views = [name.strip() for name in options["views"].split(",")]
    if members < 1:
        raise ValueError(f"--committee must be a number of networks of at least 1, got {members}.")
    if len(views) > members:
        raise ValueError(
            f"--views names {len(views)} views, but --committee has {members} members; give at "
            "most one a member: fewer are dealt out in turn."
        )
    dealt = tuple(views[i % len(views)] for i in range(members))
    choose("--combine", options["combine"], dict.fromkeys(COMBINE))
    return Members(members, dealt, options["combine"])


def validation_of(text: str | None) -> int | float | None:
    """Return how many examples to hold out, or which share."""
    if text is None:
        return None
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ValueError(
            f"--validation must be a number of examples or a share such as 0.1, got {text!r}."
        ) from None


def _class_weight(text: str | None) -> str | tuple[float, ...] | None:
    if text is None or text == "balanced":
        return text
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            "--class-weight must be balanced, or one number a class separated by commas; "
            f"got {text!r}."
        ) from None
