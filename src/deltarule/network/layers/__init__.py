"""Layers: ``contract.py`` says in ten lines what one is; each other file shows some.

Read ``dense.py``, then ``convolution.py`` and ``pooling.py``, then ``norms.py``, ``inputs.py`` and
``blocks.py``.
"""

from deltarule.network.layers.blocks import LAYERS, Concat, Residual, Scale
from deltarule.network.layers.contract import Layer, Shape
from deltarule.network.layers.convolution import Conv
from deltarule.network.layers.dense import Activation, Dense, Dropout, Flatten
from deltarule.network.layers.inputs import Decorrelate, Standardize
from deltarule.network.layers.norms import BatchNorm, LayerNorm, LocalResponseNorm
from deltarule.network.layers.pooling import AvgPool, GlobalAvgPool, MaxPool

__all__ = [
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
    "Residual",
    "Scale",
    "Shape",
    "Standardize",
]
