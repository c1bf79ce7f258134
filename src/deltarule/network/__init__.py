"""What a network is: layers, activations and initial weights. Pure descriptions, no training."""

from deltarule.network.activations import ACTIVATIONS
from deltarule.network.initializers import INITIALIZERS
from deltarule.network.layers import LAYERS, Activation, Dense, Dropout, Flatten, Layer
from deltarule.network.model import Model
from deltarule.network.network import Network

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LAYERS",
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "Model",
    "Network",
]
