"""PyTorch: a model, a loss, an optimizer and the loop over minibatches.

The tensors are ready before the clock starts, in float32 and scaled, and batches are indexed from
them without a DataLoader, which would be slower. No running loss is kept. Images and convolutions
are in channels_last, and bfloat16 is autocast: forward and loss inside it, the rest outside.
"""

import contextlib
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from task import KERNEL, POOL, Task, Weights, Workload
from torch import nn

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class TorchEager:
    def __init__(self, task: Task) -> None:
        job = task.workload
        self.task = task
        self.x = torch.from_numpy(task.inputs())
        parts = layers(job)
        self.learning = [part for part in parts if isinstance(part, nn.Conv2d | nn.Linear)]
        model = nn.Sequential(*parts).to(self.x.dtype)
        if job.maps:
            self.x = self.x.reshape(-1, 1, job.side, job.side)
            self.x = self.x.to(memory_format=torch.channels_last)
            model = model.to(memory_format=torch.channels_last)
        self.model = self.prepare(model)
        rate = job.learning_rate
        if job.output == "sigmoid":
            # This loss is a mean over the outputs too. A rate that many times larger makes up
            # for it, at no cost; a sum and a division in each step would be slower.
            self.loss, self.y = nn.BCEWithLogitsLoss(), torch.from_numpy(task.one_hot())
            rate *= job.sizes[-1]
        else:
            self.loss, self.y = nn.CrossEntropyLoss(), torch.from_numpy(task.labels)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=job.momentum)

    def prepare(self, model: nn.Module) -> nn.Module:
        """Return the model as it is used."""
        return model

    def train(self, order: np.ndarray | None = None) -> float:
        self._start_again()
        size = self.task.workload.batch_size
        start = time.perf_counter()
        p = torch.randperm(len(self.x)) if order is None else torch.from_numpy(order)
        for i in range(0, len(p), size):
            index = p[i : i + size]
            self.optimizer.zero_grad()
            with self._precision():
                loss = self.loss(self.model(self.x[index]), self.y[index])
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - start

    def weights(self) -> Weights:
        arrays = zip(self._views(), self.task.workload.shapes, strict=True)
        return [(w.reshape(shape).numpy(), b.numpy()) for (w, b), shape in arrays]

    def _precision(self) -> contextlib.AbstractContextManager[None]:
        if self.task.workload.precision == "bfloat16":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _start_again(self) -> None:
        self.optimizer.state.clear()  # of the momentum
        first = zip(self._views(), self.task.first_weights(), strict=True)
        for (weight, bias), (w, b) in first:
            weight.copy_(torch.from_numpy(w).reshape(weight.shape))
            bias.copy_(torch.from_numpy(b))

    def _views(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield views of weights and biases, the axes in the order of ``task.Weights``."""
        maps = self.task.workload.maps
        for before, part in pairwise([None, *self.learning]):
            weight = part.weight.detach()
            if isinstance(before, nn.Conv2d) and isinstance(part, nn.Linear):
                weight = weight.unflatten(1, (maps[-1], -1))  # channel by channel here
            yield weight.movedim(1, -1), part.bias.detach()


def layers(job: Workload) -> list[nn.Module]:
    """Return the layers of a workload, without the last activation: the losses take logits."""
    hidden = ACTIVATIONS[job.hidden]
    seen: list[nn.Module] = []
    for m, n in pairwise((1, *job.maps)):
        seen += [nn.Conv2d(m, n, KERNEL), nn.MaxPool2d(POOL), hidden()]
    dense = [shape for shape in job.shapes if len(shape) == 2]
    units = [part for n, m in dense for part in (nn.Linear(m, n), hidden())]
    return [*seen, *([nn.Flatten()] if seen else []), *units[:-1]]
