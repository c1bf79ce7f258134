"""PyTorch: a model, a loss, an optimizer and the loop over minibatches.

The tensors are ready before the clock starts, in float32 and scaled, and batches are indexed from
them without a DataLoader, which would be slower. No running loss is kept. Images and convolutions
are in channels_last, and bfloat16 is autocast: forward and loss inside it, the rest outside.
"""

import contextlib
import time
from collections.abc import Iterator

import numpy as np
import torch
from task import EPSILON, POOL, WEIGHT_DECAY, Task, Weights, Workload
from torch import nn

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class TorchEager:
    def __init__(self, task: Task) -> None:
        job = task.workload
        self.task = task
        self.x = torch.from_numpy(task.inputs())
        model = nn.Sequential(*layers(job)).to(self.x.dtype)
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
        self.optimizer = optimizer(job, self.model, rate)

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
        arrays = zip(self._views(), self.task.first_weights(), strict=True)
        return [view.reshape(first.shape).numpy() for view, first in arrays]

    def _precision(self) -> contextlib.AbstractContextManager[None]:
        if self.task.workload.precision == "bfloat16":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _start_again(self) -> None:
        self.optimizer.state.clear()  # of momentum and of AdamW
        for view, first in zip(self._views(), self.task.first_weights(), strict=True):
            view.copy_(torch.from_numpy(first).reshape(view.shape))

    def _views(self) -> Iterator[torch.Tensor]:
        """Yield views of what is learned, the axes in the order of ``task.Weights``."""
        maps = 0
        for parameter in self.model.parameters():
            view = parameter.detach()
            if view.ndim == 4:
                maps = len(view)
            elif view.ndim == 2 and maps:
                view, maps = view.unflatten(1, (maps, -1)), 0  # channel by channel here
            yield view if view.ndim == 1 else view.movedim(1, -1)


def layers(job: Workload) -> list[nn.Module]:
    """Return the layers of a workload, without the last activation: the losses take logits."""
    hidden = ACTIVATIONS[job.hidden]
    dense = [shape for shape in job.shapes if len(shape) == 2]
    units = [part for n, m in dense for part in (nn.Linear(m, n), hidden())]
    return [*convolutions(job), *([nn.Flatten()] if job.maps else []), *units[:-1]]


def convolutions(job: Workload) -> Iterator[nn.Module]:
    """Yield the layers that see maps."""
    hidden, m = ACTIVATIONS[job.hidden], 1
    for group in job.maps:
        for n in group:
            yield nn.Conv2d(m, n, job.kernel, padding=job.padding, bias=not job.batch_norm)
            if job.batch_norm:
                yield nn.BatchNorm2d(n, EPSILON)
                yield hidden()
            m = n
        yield nn.MaxPool2d(POOL)
        if not job.batch_norm:
            yield hidden()


def optimizer(job: Workload, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return the optimizer of a workload."""
    if job.optimizer != "adamw":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=job.momentum)
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=WEIGHT_DECAY)
