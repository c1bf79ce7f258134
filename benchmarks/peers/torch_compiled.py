"""PyTorch with ``torch.compile``: the loop of ``torch_eager.py`` around a compiled model."""

import torch
from torch import nn

from peers.torch_eager import TorchEager


class TorchCompiled(TorchEager):
    def prepare(self, model: nn.Module) -> nn.Module:
        compiled: nn.Module = torch.compile(model)
        return compiled
