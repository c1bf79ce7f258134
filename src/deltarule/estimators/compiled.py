"""scikit-learn's multilayer perceptron with our arithmetic inside.

Ours inherit from scikit-learn's classes, so that parameters, checks, messages, labels, random
numbers and fitted attributes are theirs; the epochs of ``sgd`` and ``adam`` and the costs that
``lbfgs`` asks for are compiled programs. With one ``random_state`` the numbers are the same up to
rounding (docs/decisions/0016-estimators-inherit.md says what this leans on). What scikit-learn
does not have goes to ``engine.py``.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from deltarule.estimators import program
from deltarule.estimators.asked import Part, beyond_scikit_learn, warn
from deltarule.estimators.interface import Interface
from deltarule.estimators.program import Examples, Kind
from deltarule.estimators.progress import Bar
from deltarule.estimators.trainer import Trainer, batch_size, check_sums
from deltarule.interrupt import CtrlC


class Compiled(Interface):
    """Trains as scikit-learn does, sooner; names and arguments are scikit-learn's."""

    def _fit_stochastic(
        self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any
    ) -> None:
        *_, incremental = rest
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        part = X, y, self._weighed(y, sample_weight, incremental)
        if beyond_scikit_learn(self):
            self._fit_by_engine(part, incremental)
            return
        self._forget_engine()
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
        part, held_out = self._validation(part)
        kind = self._kind(batch=batch_size(self.batch_size, part[0].shape[0]))
        bar = Bar(self.progress, 1 if incremental else self.max_iter)
        with jax.enable_x64(X.dtype == np.float64), bar, CtrlC(lambda: None) as ctrl_c:
            try:
                self._run_epochs(Trainer(self, kind, *part), held_out, incremental, bar, ctrl_c)
            except KeyboardInterrupt:
                warn("Training interrupted by user.")
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _fit_by_engine(self, part: Part, incremental: bool) -> None:
        from deltarule.estimators import engine  # loads optax, which only training by it needs

        engine.train(self, part, incremental)

    def _run_epochs(
        self, trainer: Trainer, held_out: Part | None, incremental: bool, bar: Bar, ctrl_c: CtrlC
    ) -> None:
        """Train until the cost, or the score of the held out, has not improved for too long."""
        self.n_iter_ = 0
        one_by_one = incremental or held_out is not None or bool(self.verbose) or self.progress
        while self.n_iter_ < self.max_iter:
            losses = trainer.advance(1 if one_by_one else self.max_iter - self.n_iter_, one_by_one)
            for loss in losses:
                self._count_epoch(loss, trainer.n, held_out)
                bar.advance(loss)
            self._optimizer.iteration_ends(self.t_)
            if ctrl_c.pressed:  # here all attributes are of one epoch
                raise KeyboardInterrupt
            if self._no_improvement_count > self.n_iter_no_change:
                if self._optimizer.trigger_stopping(self._why(), self.verbose):
                    return
                self._no_improvement_count: int = 0
            if incremental:
                return
        warn(
            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
        )

    def _count_epoch(self, loss: np.floating, n: int, held_out: Part | None) -> None:
        self.n_iter_ += 1
        self.t_ += n
        self.loss_ = np.float64(loss)
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        self._records.append({"epoch": len(self.loss_curve_), "train_cost": float(loss)})
        self._update_no_improvement_count(self.early_stopping, *(held_out or (None, None, None)))
        if held_out is not None:
            self._measure(held_out)

    def _measure(self, held_out: Part) -> None:
        """Record the cost and the score of what is held out."""
        x, y, weight = held_out
        if not self.early_stopping:
            score = self._score(x, y, sample_weight=weight)
            self.validation_scores_: list[Any] = [*(self.validation_scores_ or []), score]
            self.best_validation_score_ = max(self.validation_scores_)
        outputs = jnp.asarray(self._forward_pass_fast(x, check_input=False))
        targets = jnp.asarray(self._encoded(y), outputs.dtype)
        costs = program.LOSSES[self.loss, self.out_activation_](targets, outputs)
        measure = "validation_accuracy" if is_classifier(self) else "validation_r2"
        self._records[-1] |= {
            "validation_cost": float(np.average(costs.sum(1), weights=weight)),
            measure: float(self.validation_scores_[-1]),
        }

    def _why(self) -> str:
        what = "Validation score" if self.early_stopping else "Training loss"
        return (
            f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} "
            "consecutive epochs."
        )

    def _new_optimizer(self) -> SGDOptimizer | AdamOptimizer:
        params = self.coefs_ + self.intercepts_
        if self.solver == "adam":
            return AdamOptimizer(
                params, self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon
            )
        return SGDOptimizer(
            params, self.learning_rate_init, self.learning_rate, self.momentum,
            self.nesterovs_momentum, self.power_t,
        )  # fmt: skip

    def _hold_out(self, part: Part) -> tuple[Part, Part]:
        """Return what to train on and what to judge by, drawn as scikit-learn draws them."""
        X, y, weight = part
        arrays = [X, y] if weight is None else [X, y, weight]
        alike = is_classifier(self) and self.n_outputs_ == 1
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction,
            stratify=y if alike else None,
        )  # fmt: skip
        kept, held = parts[::2], parts[1::2]
        if held[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        if is_classifier(self):
            held[1] = self._label_binarizer.inverse_transform(held[1])
        missing = [None] * (weight is None)
        return (*kept, *missing), (*held, *missing)

    def _kind(self, batch: int = 0) -> Kind:
        solver, nesterov = "lbfgs", False
        if batch:  # those of the optimizer under way, as in scikit-learn
            solver = "adam" if isinstance(self._optimizer, AdamOptimizer) else "sgd"
            nesterov = solver == "sgd" and self._optimizer.nesterov
        return Kind(self.activation, self.out_activation_, self.loss, solver, nesterov, batch)

    def _fit_lbfgs(
        self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any
    ) -> None:
        part = X, y, self._weighed(y, sample_weight, incremental=False)
        if beyond_scikit_learn(self):
            self._fit_by_engine(part, incremental=False)
            return
        self._check_lbfgs(part[2])
        self._forget_engine()
        self._records = []
        sample_weight = part[2]
        if not issparse(X):  # on the device once; scikit-learn hands it on to _loss_grad_lbfgs
            weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
            with jax.enable_x64(True):
                X = Examples(*(jnp.asarray(a, np.float64) for a in (X, y, weight)))
        try:
            with Bar(self.progress, None, "costs and gradients") as self._bar:
                super()._fit_lbfgs(X, y, sample_weight, *rest)
        finally:
            del self._bar

    def _check_lbfgs(self, weight: np.ndarray | None) -> None:
        if getattr(self, "_given", None) is not None:
            raise ValueError(
                "validation_data are measured after each epoch, and the solver lbfgs has none; "
                "choose solver='adam', or optimizer='lbfgs'."
            )
        if self.precision == "float32":
            raise ValueError(
                "precision='float32' is not for the solver lbfgs, which leaves float64 "
                "weights whatever X is, as scikit-learn's does; leave it out, or choose "
                "optimizer='lbfgs'."
            )
        if weight is not None:
            check_sums(weight.sum())

    def _loss_grad_lbfgs(
        self, packed_coef_inter: np.ndarray, X: Any, *rest: Any
    ) -> tuple[float, np.ndarray]:
        if not isinstance(X, Examples):
            found: tuple[float, np.ndarray] = super()._loss_grad_lbfgs(packed_coef_inter, X, *rest)
            self._bar.advance(found[0])
            return found
        sizes = (self.coefs_[0].shape[0], *(coef.shape[1] for coef in self.coefs_))
        with jax.enable_x64(True):
            cost, gradient = program.run_packed(
                self._kind(), sizes, packed_coef_inter, X, np.float64(self.alpha)
            )
            self._bar.advance(cost)
            return np.float64(cost), np.array(gradient)
