"""Networks of the literature, by name: ``architecture("lenet5")``, ``architecture("resnet50")``.

Read ``layers/`` and ``network.py`` first, then ``digits.py``, ``imagenet.py`` and ``residual.py``
here. Every function returns a ``Network``, which holds no weights, and says how many parameters it
has and its paper counts. ``classes`` and ``shape`` fit it to other data; its last layer is softmax
unless its paper has another. How each was trained is the affair of a recipe, not of the network.
"""

import inspect
from collections.abc import Callable
from typing import Any

from deltarule.choices import choose
from deltarule.network.architectures.digits import (
    ciresan2010,
    lenet5,
    mcdnn_column,
    nielsen_conv,
    simard2003,
)
from deltarule.network.architectures.imagenet import alexnet, googlenet, vgg16
from deltarule.network.architectures.residual import (
    resnet18,
    resnet34,
    resnet50,
    resnet152,
    se_resnet50,
    senet154,
)
from deltarule.network.network import Network

ARCHITECTURES: dict[str, Callable[..., Network]] = {
    function.__name__: function
    for function in (
        lenet5, simard2003, ciresan2010, mcdnn_column, nielsen_conv,
        alexnet, vgg16, googlenet,
        resnet18, resnet34, resnet50, resnet152, se_resnet50, senet154,
    )
}  # fmt: skip

__all__ = ["ARCHITECTURES", "architecture", *ARCHITECTURES]


def architecture(name: str, **options: Any) -> Network:
    """Return the network called ``name``, built with ``options``, the keywords of its function.

    A ``ValueError`` lists the names, or the options, that there are.

    >>> architecture("lenet5", classes=26).output_shape()
    (26,)
    """
    build = choose("architecture", name, ARCHITECTURES)
    known = list(inspect.signature(build).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(
            f"options of {name} must be among {', '.join(known)}; got {', '.join(unknown)}."
        )
    return build(**options)
