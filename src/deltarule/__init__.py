"""Neural networks from the first neuron to a trained network: readable, fast and practical.

Start with ``deltarule.textbook`` to read how a network learns, and with ``Network``, ``Recipe``,
``fit`` and ``evaluate`` to train one. Importing this package loads none of its dependencies; a
name loads what it needs when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltarule import data, plots, textbook
    from deltarule.committee import Committee
    from deltarule.committee_training import train_committee
    from deltarule.data import Dataset, Splits
    from deltarule.data.augment import Augment
    from deltarule.estimators import MLPClassifier, MLPRegressor
    from deltarule.files import load_model, save_model
    from deltarule.learning import Callback, Evaluation, Recipe, Run, evaluate, fit
    from deltarule.network import (
        Activation,
        AvgPool,
        BatchNorm,
        Concat,
        Conv,
        Decorrelate,
        Dense,
        Dropout,
        Flatten,
        GlobalAvgPool,
        LayerNorm,
        LocalResponseNorm,
        MaxPool,
        Model,
        Network,
        Residual,
        Scale,
        Standardize,
    )
    from deltarule.training import train

__version__ = "0.1.0"

_HOMES = {
    "data": "deltarule.data",
    "plots": "deltarule.plots",
    "textbook": "deltarule.textbook",
    "Dataset": "deltarule.data",
    "Splits": "deltarule.data",
    "load_model": "deltarule.files",
    "save_model": "deltarule.files",
    "Callback": "deltarule.learning",
    "Evaluation": "deltarule.learning",
    "Recipe": "deltarule.learning",
    "Run": "deltarule.learning",
    "evaluate": "deltarule.learning",
    "fit": "deltarule.learning",
    "Augment": "deltarule.data.augment",
    "Committee": "deltarule.committee",
    "train_committee": "deltarule.committee_training",
    "Activation": "deltarule.network",
    "AvgPool": "deltarule.network",
    "BatchNorm": "deltarule.network",
    "Concat": "deltarule.network",
    "Conv": "deltarule.network",
    "Decorrelate": "deltarule.network",
    "Dense": "deltarule.network",
    "Dropout": "deltarule.network",
    "Flatten": "deltarule.network",
    "GlobalAvgPool": "deltarule.network",
    "LayerNorm": "deltarule.network",
    "LocalResponseNorm": "deltarule.network",
    "MLPClassifier": "deltarule.estimators",
    "MLPRegressor": "deltarule.estimators",
    "MaxPool": "deltarule.network",
    "Model": "deltarule.network",
    "Network": "deltarule.network",
    "Residual": "deltarule.network",
    "Scale": "deltarule.network",
    "Standardize": "deltarule.network",
    "train": "deltarule.training",
}

__all__ = [
    "Activation",
    "Augment",
    "AvgPool",
    "BatchNorm",
    "Callback",
    "Committee",
    "Concat",
    "Conv",
    "Dataset",
    "Decorrelate",
    "Dense",
    "Dropout",
    "Evaluation",
    "Flatten",
    "GlobalAvgPool",
    "LayerNorm",
    "LocalResponseNorm",
    "MLPClassifier",
    "MLPRegressor",
    "MaxPool",
    "Model",
    "Network",
    "Recipe",
    "Residual",
    "Run",
    "Scale",
    "Splits",
    "Standardize",
    "data",
    "evaluate",
    "fit",
    "load_model",
    "plots",
    "save_model",
    "textbook",
    "train",
    "train_committee",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deltarule' has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    return module if module.__name__ == f"deltarule.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
