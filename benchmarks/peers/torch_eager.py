"""PyTorch: a model, a loss, an optimizer and the loop over minibatches.

The tensors are ready before the clock starts, in float32 and scaled, and batches are indexed from
them without a DataLoader, which would be slower. No running loss is kept.
"""

import time
from itertools import pairwise

import numpy as np
import torch
from task import Task, Weights
from torch import nn

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class TorchEager:
    def __init__(self, task: Task) -> None:
        job = task.workload
        self.task = task
        self.x = torch.from_numpy(task.inputs())
        self.dense = [nn.Linear(m, n) for m, n in pairwise(job.sizes)]
        hidden = [part for layer in self.dense for part in (layer, ACTIVATIONS[job.hidden]())]
        self.model = self.prepare(nn.Sequential(*hidden[:-1]))  # the losses take logits
        rate = job.learning_rate
        if job.output == "sigmoid":
            # This loss is a mean over the outputs too. A rate that many times larger makes up
            # for it, at no cost; a sum and a division in each step would be slower.
            self.loss, self.y = nn.BCEWithLogitsLoss(), torch.from_numpy(task.one_hot())
            rate *= job.sizes[-1]
        else:
            self.loss, self.y = nn.CrossEntropyLoss(), torch.from_numpy(task.labels)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)

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
            self.loss(self.model(self.x[index]), self.y[index]).backward()
            self.optimizer.step()
        return time.perf_counter() - start

    def weights(self) -> Weights:
        return [(d.weight.detach().numpy(), d.bias.detach().numpy()) for d in self.dense]

    def _start_again(self) -> None:
        with torch.no_grad():
            for dense, (w, b) in zip(self.dense, self.task.first_weights(), strict=True):
                dense.weight.copy_(torch.from_numpy(w))
                dense.bias.copy_(torch.from_numpy(b))
