"""Training in turns: what a compiled call is given, and what comes back to scikit-learn."""

import math
from typing import Any

import jax
import numpy as np
from scipy.sparse import issparse

from deltarule.estimators import native, program
from deltarule.estimators.asked import warn
from deltarule.estimators.program import Examples, Hyper, Kind, Learned, Patience, Plan

BLOCK_BYTES = 1 << 26  # of a sparse matrix that are dense at once
MOST_AT_ONCE = 256  # epochs
NEVER = np.iinfo(np.int32).max


class Trainer:
    """Trains an estimator's weights for some epochs at a time.

    ``owner`` has the weights, the optimizer with its moments and the random numbers, all of them
    scikit-learn's; after every call of ``advance`` they are as scikit-learn would have left them.
    """

    def __init__(self, owner: Any, kind: Kind, x: Any, y: Any, weight: Any) -> None:
        self.owner, self.kind, self.n = owner, kind, x.shape[0]
        self.dtype = np.dtype(x.dtype)
        self.steps = math.ceil(self.n / kind.batch)
        self.order = np.arange(self.n, dtype=np.int32)
        self.sparse: Any = x.tocsr() if issparse(x) else None
        sizes = x.shape[1], *(coef.shape[1] for coef in owner.coefs_)
        alike = weight is None and self.sparse is None
        self.run = program.run
        if alike and native.fits(kind, sizes):
            self.run, y = native.run, native.targets(kind, y, self.dtype)
        weight = np.ones(self.n, self.dtype) if weight is None else weight.astype(self.dtype)
        self.y, self.weight = y, weight
        if self.sparse is None:
            self.examples = Examples(*jax.device_put((x, y, weight)))
        weights = sum(coef.size for coef in owner.coefs_)
        self.at_once = epochs_at_once(self.n, weights, self.steps)

    def advance(self, most: int, patient: bool) -> np.ndarray:
        """Train for at most ``most`` epochs, one at least; return the cost of each.

        It ends when the cost has not fallen for too long, unless ``patient``.
        """
        if self.sparse is not None:
            return self._advance_sparse(self.sparse)
        most = min(most, self.at_once)
        before = self.owner._random_state.get_state(legacy=False) if most > 1 else None
        orders, rates = self._orders(most), self._rates(most)
        losses = self._call(self.examples, orders, rates, self.n, most, patient)
        if len(losses) < most:  # draw again what was used, and no more
            self.owner._random_state.set_state(before)
            self.order = self.first
            self._orders(len(losses))
        self._went(len(losses), rates)
        return losses

    def _advance_sparse(self, x: Any) -> np.ndarray:
        """Train for an epoch, with a block of batches made dense at a time."""
        order, rates = self._orders(1)[0], self._rates(1)
        row_bytes = x.shape[1] * self.dtype.itemsize
        batches = max(1, min(self.steps, BLOCK_BYTES // (self.kind.batch * row_bytes)))
        size, total = batches * self.kind.batch, self.dtype.type(0)
        rows = np.arange(size, dtype=np.int32)[None]
        for first in range(0, self.n, size):
            of = order[first : min(first + size, self.n)]
            block = [x[of].toarray(), self.y[of], self.weight[of]]
            examples = Examples(*(_filled(part, size) for part in block))
            step = first // self.kind.batch
            part_rates = _filled(rates[0, step : step + batches], batches)[None]
            loss = self._call(examples, rows, part_rates, len(of), 1, patient=True)[0]
            total += loss * self.dtype.type(len(of))
        self._went(1, rates)
        return np.array([total / self.n], self.dtype)

    def _call(
        self, examples: Examples, orders: np.ndarray, rates: np.ndarray, n: int, most: int,
        patient: bool,
    ) -> np.ndarray:  # fmt: skip
        owner, number = self.owner, self.dtype.type
        best = owner.best_loss_ if owner.best_loss_ is not None else np.inf
        patience = Patience(
            number(best), np.int32(owner._no_improvement_count),
            np.int32(NEVER if patient else min(owner.n_iter_no_change, NEVER)),
            number(min(owner.tol, float(np.finfo(self.dtype).max))),
        )  # fmt: skip
        plan = Plan(orders, rates.astype(self.dtype), np.int32(n), np.int32(most))
        outcome = self.run(self.kind, self._learned(), examples, plan, self._hyper(), patience)
        self._write_back(outcome.learned)
        return np.asarray(outcome.losses)[: int(outcome.epochs)]

    def _orders(self, epochs: int) -> np.ndarray:
        """Return the order of each epoch, a shuffle of the one before, filled up to batches."""
        at_once = epochs if self.sparse is not None else self.at_once
        orders = np.zeros((at_once, self.steps * self.kind.batch), np.int32)
        self.first = self.order
        for i in range(epochs):
            if self.owner.shuffle:
                permutation = np.arange(self.n)
                self.owner._random_state.shuffle(permutation)
                self.order = self.order[permutation]
            orders[i, : self.n] = self.order
        if (self.weight <= 0).any():
            self._check_weights(orders[:epochs, : self.n])
        return orders

    def _check_weights(self, orders: np.ndarray) -> None:
        """Refuse batches in which nothing weighs anything."""
        starts = np.arange(0, self.n, self.kind.batch)
        check_sums(np.add.reduceat(self.weight[orders], starts, axis=1))

    def _rates(self, epochs: int) -> np.ndarray:
        """Return the learning rate of each step, [epochs, steps], in double precision."""
        optimizer, most = self.owner._optimizer, self.at_once if self.sparse is None else 1
        if self.kind.solver == "adam":
            t = optimizer.t + 1 + np.arange(most * self.steps).reshape(most, self.steps)
            corrections = np.sqrt(1 - optimizer.beta_2**t) / (1 - optimizer.beta_1**t)
            return np.asarray(optimizer.learning_rate_init * corrections)
        rates = np.full(most, float(optimizer.learning_rate))
        if optimizer.lr_schedule == "invscaling":
            seen = self.owner.t_ + 1 + self.n * np.arange(1, most)
            rates[1:] = optimizer.learning_rate_init / seen**optimizer.power_t
        return np.repeat(rates[:, None], self.steps, axis=1)

    def _went(self, epochs: int, rates: np.ndarray) -> None:
        """Tell scikit-learn's optimizer how far it has come."""
        if self.kind.solver == "adam":
            self.owner._optimizer.t += epochs * self.steps
            self.owner._optimizer.learning_rate = rates[epochs - 1, -1]

    def _moments(self) -> tuple[str, ...]:
        return ("ms", "vs") if self.kind.solver == "adam" else ("velocities",)

    def _learned(self) -> Learned:
        owner = self.owner
        moments = [tuple(getattr(owner._optimizer, name)) for name in self._moments()]
        first, second = (*moments, ())[:2]
        return Learned(tuple(owner.coefs_), tuple(owner.intercepts_), first, second)

    def _write_back(self, learned: Learned) -> None:
        """Put what was learned where scikit-learn looks for it, as arrays that can be written."""
        kept = ([np.array(each, order="C") for each in part] for part in learned)
        coefs, intercepts, *moments = kept
        self.owner.coefs_, self.owner.intercepts_ = coefs, intercepts
        for name, found in zip(self._moments(), moments, strict=False):
            setattr(self.owner._optimizer, name, found)

    def _hyper(self) -> Hyper:
        """Return the numbers of the optimizer, those of no use as 0."""
        optimizer = self.owner._optimizer
        found = {"alpha": self.owner.alpha}
        if self.kind.solver == "adam":
            beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
            found |= {"beta_1": beta_1, "rest_1": 1 - beta_1, "beta_2": beta_2}
            found |= {"rest_2": 1 - beta_2, "epsilon": optimizer.epsilon}
        else:
            found["momentum"] = optimizer.momentum
        return Hyper(**{name: self.dtype.type(found.get(name, 0)) for name in Hyper._fields})


def check_sums(weights: np.ndarray) -> None:
    """Refuse sums of weights that are 0, in the words of NumPy's average."""
    if not weights.all():
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")


def batch_size(asked: Any, n: int) -> int:
    """Return how many examples a step sees; warn, as scikit-learn does, if there are fewer."""
    if asked == "auto":
        return min(200, n)
    if asked > n:
        warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    return int(np.clip(asked, 1, n))


def epochs_at_once(n: int, weights: int, steps: int) -> int:
    """Return how many epochs fit into a call of a quarter of a second, a power of two.

    A call cannot be interrupted, and its orders take memory.

    >>> epochs_at_once(150, 700, 1), epochs_at_once(60_000, 79_400, 300)
    (256, 1)
    """
    work = 6 * n * weights + 20_000 * steps
    most = min(MOST_AT_ONCE, max(1, 1_200_000_000 // work), max(1, (1 << 20) // n))
    return 1 << most.bit_length() - 1


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    """Return ``rows`` with zeros after them, ``size`` in all."""
    filled = np.zeros((size, *rows.shape[1:]), rows.dtype)
    filled[: len(rows)] = rows
    return filled
