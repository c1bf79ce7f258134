"""What a network is: layers, activations and initial weights. Pure descriptions, no training."""

from deltarule.network.activations import ACTIVATIONS
from deltarule.network.initializers import INITIALIZERS
from deltarule.network.layers import (
    LAYERS,
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
    Layer,
    LayerNorm,
    LocalResponseNorm,
    MaxPool,
    Residual,
    Scale,
    Standardize,
)
from deltarule.network.model import Model
from deltarule.network.network import Network

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LAYERS",
    "Activation",
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "Decorrelate",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Layer",
    "LayerNorm",
    "LocalResponseNorm",
    "MaxPool",
    "Model",
    "Network",
    "Residual",
    "Scale",
    "Standardize",
]
