"""Training: epochs as compiled calls over shuffled indices. The only Python loop is this one.

Read ``step.py`` first. ``fit`` never sees a test set: it takes training and validation data.
"""

import contextlib
import math
import time
import warnings
from collections.abc import Sequence

import jax
import numpy as np

from deltarule.data import Dataset
from deltarule.errors import DivergedError
from deltarule.interrupt import CtrlC
from deltarule.learning.callbacks import Callback, EarlyStopping
from deltarule.learning.examples import cut, example_weights
from deltarule.learning.heap import kept
from deltarule.learning.measure import chunk
from deltarule.learning.orders import alternating, emphasized
from deltarule.learning.pages import Feed, Pages, each_cost_of, few, provided, total_of
from deltarule.learning.plan import make_plan
from deltarule.learning.program import Examples, Hyper, Learner, Program, Report
from deltarule.learning.recipe import AUTO, Recipe
from deltarule.learning.schedules import learning_rates
from deltarule.learning.second_order.diagonal_lm import EXAMPLES
from deltarule.learning.second_order.largest_eigenvalue import PATTERNS, largest_eigenvalue
from deltarule.learning.setup import (
    batch_size,
    check_data,
    early_stopping,
    first_parameters,
    hyper_of,
    program_of,
)
from deltarule.learning.state import Record, TrainState
from deltarule.learning.step import start
from deltarule.learning.together import Call, Done, make_room, place
from deltarule.network.model import Model
from deltarule.network.network import HostParams, Network
from deltarule.seeds import generator

DEFAULT_CUT = 0.1  # of the training data, for early stopping without validation data


def fit(
    network: Network,
    train: Dataset,
    validation: Dataset | float | None = None,
    recipe: Recipe | None = None,
    *,
    params: HostParams | None = None,
    sample_weight: np.ndarray | None = None,
    callbacks: Sequence[Callback] = (),
    resume: TrainState | None = None,
) -> "Run":
    """Train ``network`` on ``train`` and return the finished run.

    Args:
        network: the architecture; a shape it leaves open is taken from the data.
        train: the examples to learn from.
        validation: examples to measure after each epoch; or the share of ``train`` to cut off
            for that. With ``recipe.early_stopping`` and nothing given, a tenth is cut off.
        recipe: every other choice (``Recipe``).
        params: where to start from, in the structure of ``network.init``; by default drawn from
            the seed.
        sample_weight: [n] how much each example of ``train`` counts; the cost of a batch is the
            sum of weight x cost over its size, the weights scaled to mean 1. Not with a share
            as ``validation``.
        callbacks: called between compiled calls.
        resume: go on from this state of the same run, bit for bit.

    Raises:
        ValueError: the data, the network and the recipe do not fit together.
        DivergedError: a cost is not finite (early stopping goes back to the best epoch instead).

    Ctrl-C ends the run after the call under way, with a warning: what is learned is not lost.

    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)
    >>> xor = Dataset(x, np.array([0, 1, 1, 0]), classes=("0", "1"))
    >>> network = Network([2, 8, 2], activation="tanh", output="softmax")
    >>> run = fit(network, xor, recipe=Recipe(epochs=200, learning_rate=0.5, batch_size=4))
    >>> run.model.predict(x).tolist()
    [0, 1, 1, 0]
    """
    recipe = recipe or Recipe()
    with jax.enable_x64(recipe.precision == "float64"):
        run = Run(network, train, validation, recipe, params, sample_weight, callbacks)
        if resume is not None:
            run.state = resume.copy()
        run.go()
    return run


class Run:
    """A run of ``fit``, live while it goes on and what ``fit`` returns when it is over.

    Attributes:
        model: the trained network; of the best epoch if the run stopped early.
        history: a record for each epoch (``TrainState``).
        state: everything it takes to go on.
        stopped: why the run ended before its last epoch, or None.
        resumed_at: how many epochs were done when it began: 0 unless it was resumed.
        network, recipe, plan, train, validation: what was run.
        rate: the learning rate it begins with: the recipe's, or the one measured.
    """

    state: TrainState
    rate: float

    def __init__(
        self,
        network: Network,
        train: Dataset,
        validation: Dataset | float | None,
        recipe: Recipe,
        params: HostParams | None,
        sample_weight: np.ndarray | None,
        callbacks: Sequence[Callback],
    ) -> None:
        if validation is None and recipe.early_stopping:
            validation = DEFAULT_CUT
        if validation is not None and not isinstance(validation, Dataset):
            if sample_weight is not None:
                raise ValueError(
                    "sample_weight belongs to the examples of train, and cannot be kept while a "
                    "share of them is cut off; give validation as a Dataset."
                )
            train, validation = cut(train, validation, recipe.seed)
        self._place = place()
        self.network, self.recipe = network, recipe
        self.train, self.validation = train, validation if validation else None
        self.stopped: str | None = None
        self.resumed_at = 0
        self.seconds = 0.0
        check_data(network, train, self.validation, recipe)
        self._weights = example_weights(train, recipe.class_weight, sample_weight)
        self.batch_size = batch_size(recipe, len(train))
        self.callbacks = [*early_stopping(recipe, train, self.validation), *callbacks]
        least = EXAMPLES if recipe.method.diagonal else 0  # what is measured before an epoch
        examples = self._place.provided(
            "train", train,
            lambda: provided(train, self._weights, recipe.dtype, self.batch_size, least),
        )  # fmt: skip
        self._feed = Feed(examples, self.batch_size)
        self.plan = make_plan(
            network, train.shape, len(train), self.batch_size, precision=recipe.precision,
            every_epoch=recipe.order == "emphasize" or self._feed.paged
            or any(callback.every_epoch for callback in self.callbacks),
            twice_differentiable=recipe.method.curvature,
        )  # fmt: skip
        self._begin(params)

    @property
    def history(self) -> list[Record]:
        """A record for each epoch done."""
        return self.state.history

    @property
    def model(self) -> Model:
        """The network as learned so far; the best epoch's if the run stops early."""
        params, state = jax.tree.map(np.asarray, self.state.answer)
        data = self.train
        return Model(
            self.network, params, state, data.shape, data.classes, data.scale,
            preparation=data.preparation,
        )  # fmt: skip

    def stop(self, reason: str) -> None:
        """End the run after the call under way."""
        self.stopped = self.stopped or reason

    def close(self) -> None:
        """End all that reads ahead."""
        self._feed.close()

    def go(self) -> None:
        """Run until the last epoch or a reason to stop."""
        ctrl_c = CtrlC(lambda: self.stop("interrupted"))
        with ctrl_c, contextlib.closing(self), kept(self.plan.room):
            self._tell("started")
            for callback in self.callbacks:
                if isinstance(callback, EarlyStopping):
                    callback.judge(self)  # a resumed run may have been over already
            steps = self.plan.steps_per_call
            while self.state.epoch < self.recipe.epochs and not self.stopped:
                steps = self.plan.after(*self._call(steps))
            self._tell("ended")
        if ctrl_c.pressed:
            warnings.warn("Training interrupted by user.", stacklevel=3)

    def _call(self, steps: int) -> tuple[int, float]:
        """Make one compiled call of about ``steps`` steps; return how many it made, and seconds."""
        state, plan = self.state, self.plan
        first = state.position
        epochs, last = 1, min(first + steps, plan.steps)
        if first == 0 and plan.epochs_per_call > 1:
            epochs, last = min(plan.epochs_per_call, self.recipe.epochs - state.epoch), plan.steps
        last = self._feed.last(first, last)
        before = time.monotonic()
        _, report, epochs, last, waited = self._advance(epochs, first, last)
        seconds = time.monotonic() - before - waited
        self.seconds += seconds
        if report is None:
            self.stop("a run that it learned together with has failed")
            return 0, seconds
        state.position = last % plan.steps
        if last == plan.steps:
            self._record(report, epochs)
        elif not math.isfinite(float(state.learner.cost)):
            self._diverged(state.epoch + 1)
        self._tell("advanced")
        return epochs * (last - first), seconds

    def warm_up(self) -> None:
        """Make a first step that does not count: it compiles, and wakes threads and memory."""
        start = self.state.copy()
        self._advance(1, 0, 1)
        self.state = start
        self._feed.close()  # the order of the epoch may belong to the state

    def _advance(self, epochs: int, first: int, last: int) -> Done:
        """Let the compiled program run."""
        epoch, validation = self.state.epoch, self._validation
        train, orders = self._feed.given(epoch, first, lambda: self._orders(epoch, epochs))
        done = self._place.advance(Call(
            self.program, self.state.learner, train,
            None if isinstance(validation, Pages) else validation,
            orders, self._rates(epoch, epochs), self._hyper, self._chance,
            epoch, epochs, first, last,
        ))  # fmt: skip
        self.state.learner, report = done.learner, done.report
        if report and isinstance(validation, Pages) and done.last_step == self.plan.steps:
            sums = total_of(self.program, self.state.learner, validation)
            report = report._replace(
                validation_cost=sums[0][None], validation_correct=sums[1][None]
            )
        return done._replace(report=report)

    def _orders(self, epoch: int, epochs: int) -> np.ndarray:
        """Return the orders of the next epochs [rows, n]."""
        orders = np.zeros((self.plan.epochs_per_call, len(self.train)), np.int32)
        for row in range(epochs):
            orders[row] = self._order(epoch + row)
        return orders

    def _rates(self, epoch: int, epochs: int) -> np.ndarray:
        """Return the learning rates of the next epochs [rows, steps]."""
        recipe, plan = self.recipe, self.plan
        rates = np.zeros((plan.epochs_per_call, plan.steps))
        for row in range(epochs):
            rates[row] = learning_rates(
                recipe.schedule, self.rate, epoch + row, recipe.epochs, plan.steps,
                recipe.decay, recipe.decay_every,
            )  # fmt: skip
        self._last_rates = rates[:, -1]
        return rates.astype(recipe.dtype)

    def _order(self, epoch: int) -> np.ndarray:
        """Return the examples of an epoch in turn [n]."""
        if self.recipe.method.all_data:  # one order, so that sums compare to the last bit
            return np.arange(len(self.train))
        state, rng = self.state, generator(self.recipe.seed, "shuffle", epoch)
        if self.recipe.order == "alternate":
            return alternating(rng, self.train.y)
        if self.recipe.order == "shuffle":
            return rng.permutation(len(self.train))
        if state.position == 0:
            costs = each_cost_of(self.program, *state.learner[:2], self._feed.examples)
            state.order = emphasized(rng, costs).astype(np.int32)
        assert state.order is not None
        return state.order

    def _record(self, report: Report, epochs: int) -> None:
        """Add the epochs of a report to the history, one by one, and tell the callbacks."""
        report = jax.tree.map(np.asarray, report)
        seconds, self.seconds = self.seconds / epochs, 0.0
        rates = report.learning_rate if self.recipe.method.adapts else self._last_rates
        for row in range(epochs):
            record: Record = {
                "epoch": self.state.epoch + 1,
                "learning_rate": float(rates[row]),
                "train_cost": float(report.cost[row]) / len(self.train),
                "penalty": float(report.penalty[row]),
                "seconds": seconds,
            }
            if self.recipe.method.counts:
                asked = report.evaluations
                # costs and gradients of the steps on batches: one pass an epoch
                own = 0 if self.recipe.method.all_data else record["epoch"]
                record["cost_evaluations"] = own + float(asked.cost[row])
                record["gradient_evaluations"] = own + float(asked.gradient[row])
            if self.train.classes:
                record["train_accuracy"] = int(report.correct[row]) / len(self.train)
            if self.validation is not None:
                count = len(self.validation)
                record["validation_cost"] = float(report.validation_cost[row]) / count
                if self.train.classes:
                    record["validation_accuracy"] = int(report.validation_correct[row]) / count
            self.history.append(record)
            self._tell("epoch_ended")
            if not math.isfinite(record["train_cost"] + record["penalty"]):
                self._diverged(record["epoch"])
                return

    def _diverged(self, epoch: int) -> None:
        if self.state.best is not None:
            self.stop(f"the cost of epoch {epoch} is not finite")
            return
        finite = [r for r in self.history if math.isfinite(r["train_cost"] + r["penalty"])]
        last = (
            f"the last finite cost was {finite[-1]['train_cost']:.4g}, of epoch "
            f"{finite[-1]['epoch']}" if finite else "no epoch had a finite cost"
        )  # fmt: skip
        fixed = self.recipe.method.learning_rate is not None
        smaller = f"choose a learning_rate below {self.rate:g}, or " if fixed else ""
        raise DivergedError(
            f"training diverged in epoch {epoch}: the cost is not finite ({last}); {smaller}scale "
            "the inputs, which may hold large values."
        )

    def _tell(self, event: str) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self)

    def _begin(self, params: HostParams | None) -> None:
        """Put validation data, rates and the first parameters on the device."""
        recipe, data = self.recipe, self.train
        self.program = program_of(self.network, data, recipe, self.plan, self.batch_size)
        self._validation: Examples | Pages | None = None
        if (held := self.validation) is not None:
            length = chunk(self.program, held.x.shape)
            self._validation = self._place.provided(
                "validation", held, lambda: provided(held, None, recipe.dtype, length)
            )
        self._hyper = hyper_of(recipe)
        self._chance = generator(recipe.seed, "dropout").integers(2**32, dtype=np.uint32)
        drawn = first_parameters(self.network, data, recipe, params)
        make_room()
        order = np.arange(len(data), dtype=np.int32) if recipe.order == "emphasize" else None
        self.state = TrainState(start(self.program, self._hyper, *drawn), order=order)
        self.rate = self._measured_rate() if recipe.learning_rate == AUTO else recipe.rate

    @property
    def setting(self) -> tuple[Program, Learner, Examples | Pages, Hyper, np.uint32]:
        """What a compiled program is given, besides an order of the examples and rates."""
        return self.program, self.state.learner, self._feed.examples, self._hyper, self._chance

    def _measured_rate(self) -> float:
        """Return 1/lambda_max (``rates.py``); the same when the run is resumed."""
        recipe, (program, learner, train, hyper, chance) = self.recipe, self.setting
        at_once = self.batch_size if self.network.mixes_examples else 1
        first = generator(recipe.seed, "shuffle", 0).permutation(len(self.train))
        order = np.resize(first.astype(np.int32), (PATTERNS, at_once))  # few examples: in rounds
        train, order = few(train, order)
        curvature = float(largest_eigenvalue(program, learner, train, order, hyper, chance))
        if not (math.isfinite(curvature) and curvature > 0):
            raise ValueError(
                f"learning_rate {AUTO!r} needs a cost that is curved and finite at the initial "
                f"weights, but its largest curvature is {curvature}; scale the inputs, or give a "
                "number."
            )
        return (1 - recipe.momentum if recipe.method.momentum else 1.0) / curvature
