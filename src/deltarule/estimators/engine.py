"""What scikit-learn does not have, trained by ``deltarule.fit``.

scikit-learn's parameters keep their meaning: the same initial weights (of layers given by sizes),
alpha and l1 divided by the size of a batch, its rules for stopping, its validation cut. Shuffles
are the engine's own, drawn from ``random_state`` too.
"""

import copy
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

from deltarule.committee import Committee
from deltarule.data import Dataset
from deltarule.errors import DivergedError
from deltarule.estimators.asked import NAMES, Part, exclusive, on_device, warn
from deltarule.estimators.memory import check_weights
from deltarule.estimators.models import cost_of_each, dense_array, shares, weights_and_biases
from deltarule.estimators.progress import Bar
from deltarule.estimators.translation import check, dataset, network_of, recipe_of
from deltarule.interrupt import CtrlC
from deltarule.learning import Callback, Recipe, Run, TrainState, fit
from deltarule.learning.state import Best
from deltarule.network import Network, kernels
from deltarule.network.network import HostParams

INTERRUPTED = "interrupted"


def train(owner: Any, part: Part, incremental: bool) -> None:
    """Train ``owner`` on what scikit-learn has checked, and leave its attributes as it would."""
    check(owner, incremental)
    (x, y, weight), held_out = owner._validation(part)
    network = network_of(owner, x.shape[1])
    data = dataset(owner, network, dense_array(x), y)
    check_weights("these layers", network.count(data.shape), x.dtype, "make them smaller")
    validation = None
    if held_out is not None:
        validation = dataset(owner, network, dense_array(held_out[0]), owner._encoded(held_out[1]))
    members = owner.committee or 1
    recipe = recipe_of(owner, len(data), weight, x.dtype)
    task = _Task(owner, network, data, validation, held_out, weight, recipe, incremental)
    bar = Bar(owner.progress, (1 if incremental else owner.max_iter) * members)
    with bar:
        runs = task.run(members, bar)
    _write(owner, runs, incremental)
    if not incremental and any(run.stopped is None for run, _ in runs):
        warn(
            f"Stochastic Optimizer: Maximum iterations ({owner.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
        )


def answers(owner: Any, x: Any) -> np.ndarray:
    """Return the outputs [n, n_outputs_] for checked inputs: of classes, probabilities."""
    model, x = owner._model, dense_array(x)
    outputs = np.array(model.outputs(x.reshape(len(x), *model.shape)))
    outputs = outputs.astype(np.result_type(x, outputs), copy=False)  # as scikit-learn's products
    if not exclusive(owner):
        return outputs
    outputs = shares(outputs, owner.out_activation_)
    return outputs[:, 1:] if outputs.shape[1] > owner.n_outputs_ == 1 else outputs


@dataclass
class _Task:
    """What is to be learned, by one network or by several side by side."""

    owner: Any
    network: Network
    data: Dataset
    validation: Dataset | None
    held_out: Part | None
    weight: np.ndarray | None
    recipe: Recipe
    incremental: bool

    def run(self, members: int, bar: Bar) -> "list[tuple[Run, _Follow]]":
        """Return the runs, those that were begun before Ctrl-C."""
        end, lock = threading.Event(), threading.Lock()
        starts = [self._start(member) for member in range(members)]
        names = [f"Member {n}: " for n in range(1, members + 1)] if members > 1 else [""]
        follows = [
            _Follow(self.owner, name, self.held_out, self.validation, bar, end, lock)
            for name in names
        ]
        begin = [
            partial(self._fit, member, start, follow)
            for member, (start, follow) in enumerate(zip(starts, follows, strict=True))
        ]
        runs = [begin[0]()] if members == 1 else _side_by_side(begin, end)
        begun = [pair for pair in zip(runs, follows, strict=True) if pair[0].history]
        return begun or [(runs[0], follows[0])]

    def _fit(self, member: int, start: HostParams | None, follow: "_Follow") -> Run:
        recipe = replace(self.recipe, seed=self.recipe.seed + member)
        state = self._state()
        if self.incremental:
            recipe = replace(recipe, epochs=1 + (state.epoch if state else 0))
        try:
            with on_device(self.owner.device):
                return fit(
                    self.network, self.data, self.validation, recipe, params=start,
                    sample_weight=self.weight, callbacks=[follow], resume=state,
                )  # fmt: skip
        except DivergedError as error:  # learning_rate is the name of the schedule here
            said = str(error).replace("learning_rate below", "learning_rate_init below")
            raise DivergedError(said) from None

    def _state(self) -> TrainState | None:
        """Return where ``partial_fit`` goes on, unless something else is trained by now."""
        kind, state = getattr(self.owner, "_state", (None, None))
        return state if self.incremental and kind == _kind(self.network, self.recipe) else None

    def _start(self, member: int) -> HostParams | None:
        """Return the first weights of a member; None draws those of whole architectures."""
        owner = self.owner
        if owner.layers is not None:
            known = getattr(owner, "_model", None)
            known = known.members[0] if isinstance(known, Committee) else known
            return None if known is None else self._fitting(known.params)
        coefs, intercepts = owner.coefs_, owner.intercepts_
        if member:
            sizes = [coefs[0].shape[0], *(coef.shape[1] for coef in coefs)]
            drawn = [owner._init_coef(*pair, coefs[0].dtype) for pair in pairwise(sizes)]
            coefs, intercepts = zip(*drawn, strict=True)
        pairs = iter(zip(coefs, intercepts, strict=True))
        drawn_like, _ = self.network.init(None)
        none = np.zeros((0, 0)), np.zeros(0)
        made = [
            {"w": (p := next(pairs, none))[0].T, "b": p[1]} if layer else {} for layer in drawn_like
        ]
        return self._fitting(tuple(made), left=next(pairs, None))

    def _fitting(self, params: HostParams, left: Any = None) -> HostParams:
        """Return the weights to go on from, if they are those of such a network."""
        wanted, _ = self.network.init(None, self.data.shape)
        if left is None and jax.tree.map(np.shape, params) == jax.tree.map(np.shape, wanted):
            return params
        raise ValueError(
            "warm_start and partial_fit go on with the network as it was fitted, and layers or "
            "hidden_layer_sizes ask for another; fit a new one, without warm_start."
        )


class _Follow(Callback):
    """Stops a run as scikit-learn stops, and passes its news on."""

    def __init__(
        self, owner: Any, name: str, held_out: Part | None, validation: Dataset | None, bar: Bar,
        end: threading.Event, lock: threading.Lock,
    ) -> None:  # fmt: skip
        self.name = name
        self.owner, self.held_out, self.bar, self.validation = owner, held_out, bar, validation
        self.end, self.lock = end, lock
        self.losses: list[float] = []
        self.scores: list[float] = []
        known = vars(owner)  # nothing of the kind after a fit by lbfgs
        best = known.get("best_loss_")
        self.best_loss = np.inf if best is None else best
        self.best_score = -np.inf  # the best of earlier fits is no weights' any more
        self.waited = known.get("_no_improvement_count", 0)

    def started(self, run: Run) -> None:
        self._pass_on("started", run)
        if self.end.is_set():
            run.stop(INTERRUPTED)

    def advanced(self, run: Run) -> None:
        self._pass_on("advanced", run)
        if self.end.is_set():
            run.stop(INTERRUPTED)

    def ended(self, run: Run) -> None:
        self._pass_on("ended", run)

    def epoch_ended(self, run: Run) -> None:
        record = run.history[-1]
        loss = record["train_cost"] + record["penalty"]
        self.losses.append(loss)
        if self.owner.verbose:
            print(f"{self.name}Iteration {len(self.losses)}, loss = {loss:.8f}")
        if self.held_out is not None:
            self._score(run)
        if self.owner.early_stopping:
            self._judge_score(run)
        else:
            self.waited = self.waited + 1 if loss > self.best_loss - self.owner.tol else 0
            self.best_loss = min(loss, self.best_loss)
        self.bar.advance(loss)
        self._pass_on("epoch_ended", run)
        if self.waited > self.owner.n_iter_no_change:
            run.stop(self.owner._why())
            if self.owner.verbose:
                print(f"{self.name}{self.owner._why()} Stopping.")

    def _score(self, run: Run) -> None:
        assert self.held_out is not None
        judge = copy.copy(self.owner)  # of its own: members are judged at the same time
        params, state = jax.tree.map(np.asarray, run.state.learner.answer)  # not yet the best
        judge._model = replace(run.model, params=params, state=state)
        judge.out_activation_ = _named(run.network.output)
        x, y, weight = self.held_out
        if weight is not None:
            costs = cost_of_each(judge._model, run.recipe.cost, self.validation)
            run.history[-1]["validation_cost"] = float(np.average(costs, weights=weight))
        self.scores.append(float(judge._score(x, y, sample_weight=weight)))
        measure = "validation_accuracy" if is_classifier(judge) else "validation_r2"
        run.history[-1][measure] = self.scores[-1]
        if self.owner.verbose:
            print(f"{self.name}Validation score: {self.scores[-1]:f}")

    def _judge_score(self, run: Run) -> None:
        better = self.scores[-1] > self.best_score
        self.waited = self.waited + 1 if self.scores[-1] < self.best_score + self.owner.tol else 0
        if better:
            self.best_score = self.scores[-1]
            run.state.best = jax.tree.map(jnp.copy, Best(*run.state.learner.answer))

    def _pass_on(self, event: str, run: Run) -> None:
        with self.lock:
            for callback in self.owner.callbacks:
                getattr(callback, event)(run)


def _side_by_side(begin: Sequence[Callable[[], Run]], end: threading.Event) -> list[Run]:
    """Train as many at a time as there are cores; on an accelerator one after another."""
    cores = (os.cpu_count() or 1) if kernels.current_backend() == "cpu" else 1
    ctrl_c = CtrlC(end.set)
    with ThreadPoolExecutor(cores) as pool, ctrl_c:
        try:
            futures = [pool.submit(each) for each in begin]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            if any(future.exception() for future in done):
                end.set()  # the others need not go on
        except BaseException:  # the pool waits for all that it has begun
            end.set()
            raise
    if ctrl_c.pressed:
        warn("Training interrupted by user.")
    return [future.result() for future in futures]


def _write(owner: Any, runs: "list[tuple[Run, _Follow]]", incremental: bool) -> None:
    """Set the fitted attributes; of a committee, costs and scores are the members' means."""
    first, follow = runs[0]
    models = tuple(run.model for run, _ in runs)
    owner._model = models[0] if owner.committee is None else Committee(models)
    owner.coefs_, owner.intercepts_ = weights_and_biases(models[0])
    owner.out_activation_ = _named(first.network.output)
    owner.n_layers_ = len(owner.coefs_) + 1
    losses = _mean([each.losses for _, each in runs])
    owner.n_iter_ = len(losses)
    owner.t_ += len(losses) * len(first.train)
    owner.loss_curve_ = [*getattr(owner, "loss_curve_", []), *losses]
    owner.loss_ = owner.loss_curve_[-1] if owner.loss_curve_ else np.inf
    owner._no_improvement_count = follow.waited
    _write_best(owner, [each for _, each in runs])
    owner._records = _records(runs, getattr(owner, "_records", []), len(losses))
    owner.__dict__.pop("_state", None)
    if len(runs) == 1 and first.state.best is None:  # else partial_fit goes on from the best
        state = first.state.copy()
        state.learner = jax.tree.map(np.asarray, state.learner)
        owner._state = _kind(first.network, first.recipe), state


def _write_best(owner: Any, follows: "list[_Follow]") -> None:
    scores = _mean([each.scores for each in follows])
    if scores:
        owner.validation_scores_ = [*(getattr(owner, "validation_scores_", None) or []), *scores]
        best = [each.best_score if owner.early_stopping else max(each.scores) for each in follows]
        owner.best_validation_score_ = float(np.mean(best))
    owner.best_loss_ = None
    if not owner.early_stopping:
        owner.best_loss_ = np.float64(np.mean([each.best_loss for each in follows]))


def _kind(network: Network, recipe: Recipe) -> tuple[Any, ...]:
    """Return what must be the same for the state of one run to suit another."""
    return network, recipe.optimizer, recipe.precision, recipe.augment


def _records(
    runs: "list[tuple[Run, _Follow]]", before: list[dict[str, Any]], new: int
) -> list[dict[str, Any]]:
    if len(runs) == 1:
        rows = runs[0][0].history[-new:] if new else []
        return before + [{**row, "epoch": len(before) + i} for i, row in enumerate(rows, 1)]
    return [
        {"member": number, **record}
        for number, (run, _) in enumerate(runs, 1)
        for record in run.history
    ]


def _mean(each: Sequence[Sequence[float]]) -> list[np.float64]:
    """Return the mean of the members, epoch by epoch; who has ended stays at its last value."""
    longest = max(map(len, each))
    return [
        np.float64(np.mean([row[min(epoch, len(row) - 1)] for row in each if row]))
        for epoch in range(longest)
    ]


def _named(output: str) -> str:
    """Return scikit-learn's name of an output."""
    return next((theirs for theirs, ours in NAMES.items() if ours == output), output)
