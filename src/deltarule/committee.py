"""A committee: several models that answer the same question together.

Networks that were trained apart make different mistakes; where one errs, most of the others do
not. ``Committee`` holds the models, what each is shown of an input (its view), and how their
answers become one: the mean of their outputs, or a vote. ``committee_training.py`` trains one,
``files.py`` stores it, and ``evaluate`` measures it as it does a model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_expit, log_softmax

from deltarule.choices import choose
from deltarule.data.views import view
from deltarule.network import Model
from deltarule.network.activations import activation
from deltarule.network.layers import Shape

ORIGINAL = "original"  # the view that changes nothing
COMBINE = ("mean", "vote")
MOST_MEMBERS = 1000
COPIES = {  # of an image, for ``with_moved_copies``: views of it
    "shift": tuple(
        "+".join(filter(None, pair))
        for pair in product(("", "up-1", "down-1"), ("", "left-1", "right-1"))
    ),
    "rotate": ("", "clockwise-7", "anticlockwise-7"),
    "flip": ("", "flip"),
}


class Opinions(NamedTuple):
    """What a committee says of n inputs.

    z: [n, outputs] the weighted inputs of the one network that would answer with the mean of the
        members' outputs, in float64; costs start from them.
    output: the activation that turns z into that mean.
    outputs: [n, outputs] that mean; for a vote the share of the votes each class has.
    predictions: [n] class indices; for regression the outputs.
    member_predictions: [members, n] the same of each member by itself.
    """

    z: np.ndarray
    output: str
    outputs: np.ndarray
    predictions: np.ndarray
    member_predictions: np.ndarray


@dataclass(frozen=True, eq=False)
class Committee:
    """Several trained models that answer as one; it is asked as a ``Model`` is.

    Args:
        members: models of the same classes and scale that end in the same activation; the rest of
            their networks may differ.
        views: what each member is shown, by name (``data/views.py``); by default all are shown
            the original. Members shown different views are the multi-column network of Cireşan,
            Meier and Schmidhuber 2012.
        combine: "mean" of the members' outputs, a = 1/N sum a_i, as in Cireşan et al. 2012; or
            "vote": the class that most members predict, as in Nielsen, chapter 6. A tie goes to
            the class with the larger mean output.
        shape: of one input, before any view; by default that of the members, so it must be given
            where every view changes it, as "pad-29" does.

    The order of the members makes no difference. Raises ``ValueError`` if they do not go together.

    >>> from deltarule.network import Network
    >>> network = Network([2, 2], output="softmax")
    >>> weights = [[[1, 0], [0, 0]], [[1, 0], [0, 0]], [[0, 0], [9, 0]]]
    >>> members = tuple(
    ...     Model(network, ({"w": np.float32(w), "b": np.zeros(2, np.float32)}, {}), ({}, {}), (2,),
    ...           classes=("cat", "dog"))
    ...     for w in weights
    ... )
    >>> x = np.array([[1, 0]])  # two members are 73 % sure of a cat, one is all sure of a dog
    >>> Committee(members, combine="vote").labels(x), Committee(members).labels(x)
    (['cat'], ['dog'])
    """

    members: tuple[Model, ...]
    views: tuple[str, ...] = ()
    combine: str = COMBINE[0]
    shape: Shape = ()

    def __post_init__(self) -> None:
        """Refuse members that could not answer together."""
        object.__setattr__(self, "members", tuple(self.members))
        object.__setattr__(self, "views", tuple(self.views) or (ORIGINAL,) * len(self.members))
        object.__setattr__(self, "shape", tuple(self.shape))
        kinds = sorted({type(member).__name__ for member in self.members})
        if not 1 <= len(self.members) <= MOST_MEMBERS or kinds != ["Model"]:
            raise ValueError(
                f"members must be 1 to {MOST_MEMBERS:,} trained models, got {len(self.members):,} "
                f"of type {', '.join(kinds) or 'none'}; give for example [run.model, ...]."
            )
        for trait in ("classes", "scale", "output activation", "shape of an output", "preparation"):
            self._check_same(trait, range(len(self.members)))
        choose("combine", self.combine, dict.fromkeys(COMBINE))
        if self.combine == "vote" and not self.classes:
            raise ValueError("combine 'vote' needs classes; choose 'mean' for regression.")
        if len(self.views) != len(self.members):
            raise ValueError(
                f"views must name one view a member, {len(self.members)}, got {len(self.views)}."
            )
        self._check_views()

    def _check_same(self, trait: str, positions: Sequence[int]) -> None:
        """Refuse members at these positions that are not alike in ``trait``."""
        first, *others = positions
        expected = _trait(self.members[first], trait)
        for position in others:
            found = _trait(self.members[position], trait)
            if found != expected:
                raise ValueError(
                    f"members must all have the same {trait}; member {first + 1} has "
                    f"{expected!r:.80}, member {position + 1} {found!r:.80}: train them on the "
                    "same data."
                )

    def _check_views(self) -> None:
        """Refuse unknown views, and find the shape of an input if it was not given."""
        for name in dict.fromkeys(self.views):
            view(name)
            self._check_same("shape", [i for i, each in enumerate(self.views) if each == name])
        if ORIGINAL in self.views:
            original = self.members[self.views.index(ORIGINAL)].shape
            if self.shape not in ((), original):
                raise ValueError(
                    f"shape must be that of a member that sees the original, {original}, got "
                    f"{self.shape}; leave it out."
                )
            object.__setattr__(self, "shape", original)
        elif not self.shape:
            self._check_same("shape", range(len(self.members)))
            object.__setattr__(self, "shape", self.members[0].shape)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs; empty for regression."""
        return self.members[0].classes

    @property
    def output(self) -> str:
        """The name of the activation that the members end in."""
        return self.members[0].network.output

    @property
    def scale(self) -> float:
        """What the members multiply their inputs by."""
        return self.members[0].scale

    @property
    def preparation(self) -> Any:
        """What makes the members' inputs of raw rows or files, before any view; or None."""
        return self.members[0].preparation

    @property
    def dtype(self) -> np.dtype[Any]:
        """The highest precision among the members' parameters."""
        return np.result_type(*(member.dtype for member in self.members))

    @property
    def provenance(self) -> dict[str, Any]:
        """What the members' provenances have in common, so not the seeds they differ in."""
        first, *others = (member.provenance for member in self.members)
        for other in others:
            first = _common(first, other)
        return first

    def ask(self, x: np.ndarray) -> Opinions:
        """Return all that the committee and its members say of raw inputs x [n, ...]."""
        z = self._logits(x)
        output, together = _mean(self.members[0].network.output, z)
        outputs = _activated(output, together)
        if not self.classes:
            alone = _activated(self.members[0].network.output, z)
            return Opinions(together, output, outputs, outputs, alone)
        alone = z.argmax(axis=-1)
        predictions = together.argmax(axis=-1)  # as of a model: see ``Model.predict``
        if self.combine == "vote":
            votes = (alone[:, :, None] == np.arange(len(self.classes))).sum(axis=0)
            leading = votes == votes.max(axis=1, keepdims=True)
            predictions = np.where(leading, together, -np.inf).argmax(axis=1)
            outputs = votes / len(self.members)
        return Opinions(together, output, outputs, predictions, alone)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Return the mean of the members' outputs [n, outputs], for a vote the shares of votes.

        In float64. Of softmax members both are probabilities of the classes.
        """
        return self.ask(x).outputs

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the class index [n] the committee decides on, or the outputs for regression."""
        return self.ask(x).predictions

    def member_predictions(self, x: np.ndarray) -> np.ndarray:
        """Return what each member would predict by itself [members, n]."""
        return self.ask(x).member_predictions

    def labels(self, x: np.ndarray) -> list[str]:
        """Return the names of the predicted classes."""
        if not self.classes:
            raise ValueError(
                "labels are names of classes, but this committee has none: use predict."
            )
        return [self.classes[index] for index in self.predict(x)]

    def disagreement(self, x: np.ndarray) -> float:
        """Return the mean share of pairs of members that answer differently.

        With v_c of the N members for class c that is 1 - sum_c v_c (v_c - 1) / (N (N - 1)) for an
        input: one minus the agreement of Fleiss 1971. 0 for a single member.
        """
        from deltarule.learning.evaluate import disagreement

        if not self.classes:
            raise ValueError("disagreement counts different classes, but this committee has none.")
        return disagreement(self.member_predictions(x))

    def _logits(self, x: np.ndarray) -> np.ndarray:
        """Return the members' weighted inputs [members, n, outputs] in float64."""
        x = np.asarray(x)
        # An image may come as a row, as a model takes it; what does not fit the members will say.
        if math.prod(x.shape[1:]) == math.prod(self.shape) and x.ndim > 1:
            x = x.reshape(len(x), *self.shape)
        z: dict[int, np.ndarray] = {}
        for name in dict.fromkeys(self.views):  # one at a time: views take as much memory as x
            shown = view(name)(x)
            for position, each in enumerate(self.views):
                if each == name:
                    z[position] = self.members[position].logits(shown)
        return np.stack([z[position] for position in range(len(z))]).astype(np.float64)


def with_moved_copies(model: Model | Committee, names: str) -> Committee:
    """Return a committee of ``model`` and itself, asked about moved copies of each image.

    ``names``: "shift" for the nine shifts by up to a pixel; "rotate" for turns by 0 and 7 degrees
    both ways; "flip" for the image and its mirror image, which is not for digits; "shift,rotate"
    for all 27 of both, and so on. The answer is the mean over the copies, or, of a committee that
    votes, the vote of all. (Test-time augmentation: Krizhevsky, Sutskever and Hinton 2012, section
    4.1, with other copies: they take five parts of 224 pixels and the mirror image of each.)
    """
    copies: tuple[str, ...] = ("",)
    for name in names.split(","):
        turns = choose("--tta", name.strip(), COPIES)
        copies = tuple("+".join(filter(None, pair)) for pair in product(copies, turns))
    if isinstance(model, Model):
        model = Committee((model,))
    each = list(zip(model.members, model.views, strict=True))
    return Committee(
        tuple(member for member, _ in each for _ in copies),
        tuple(f"{copy}+{shown}" if copy else shown for _, shown in each for copy in copies),
        model.combine,
        shape=model.shape,
    )


def _trait(model: Model, name: str) -> Any:
    if name == "output activation":
        return model.network.output
    if name == "shape of an output":
        return model.network.output_shape(model.shape)
    return getattr(model, name)


def _common(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that are the same in both, dictionaries among them entry by entry."""
    common: dict[str, Any] = {}
    for key, value in one.items():
        if isinstance(value, dict) and isinstance(other.get(key), dict):
            common[key] = _common(value, other[key])
        elif key in other and other[key] == value:
            common[key] = value
    return common


def _mean(output: str, z: np.ndarray) -> tuple[str, np.ndarray]:
    """Return an activation and weighted inputs [n, outputs] that give the mean of output(z).

    z: [members, n, outputs]. For softmax and sigmoid the mean is taken of logarithms, so that it
    stays exact where outputs round to 0 or 1: for sigmoid z = ln a - ln(1 - a).
    """
    if output == "softmax":
        return output, _log_mean(log_softmax(z, axis=-1))
    if output == "sigmoid":
        return output, _log_mean(log_expit(z)) - _log_mean(log_expit(-z))
    return "identity", np.sort(_activated(output, z), axis=0).mean(axis=0)


def _log_mean(logarithms: np.ndarray) -> np.ndarray:
    """Return ln(1/N sum exp(l)) over the first axis, added up in the same order always."""
    ordered = np.sort(logarithms, axis=0)
    highest = ordered[-1]
    return np.asarray(highest + np.log(np.exp(ordered - highest).mean(axis=0)))


def _activated(name: str, z: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(activation(name)(jnp.asarray(z)))
