"""``MLPClassifier`` and ``MLPRegressor``: scikit-learn's own, with our arithmetic inside.

Both inherit from scikit-learn's classes, so that parameters, checks, messages, labels, random
numbers and fitted attributes are theirs; the epochs of ``sgd`` and ``adam`` and the costs that
``lbfgs`` asks for are compiled programs. With one ``random_state`` the numbers are the same up to
rounding (docs/decisions/0016-estimators-inherit.md says what this leans on).
"""

import os
import warnings
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import issparse
from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils._param_validation import StrOptions

from deltarule.estimators import program
from deltarule.estimators.program import Examples, Kind
from deltarule.estimators.trainer import Trainer, batch_size

Part = tuple[Any, Any, Any]  # inputs, targets, weights or None
Precision = Literal["float32"] | None

IN_TRAINING = 4  # of each weight: itself, its gradient and up to two moments
CONSTRAINTS = {"precision": [StrOptions({"float32"}), None]}


class _Compiled(BaseMultilayerPerceptron):  # type: ignore[misc]
    """scikit-learn's base class with its computing in compiled programs.

    Names and arguments of the methods that override are scikit-learn's: it calls them.
    """

    precision: Precision

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        if is_classifier(self):
            _check_classes(y)
        try:
            X, y = super()._validate_input(X, y, incremental, reset)
        except ValueError:
            if incremental and not hasattr(self, "coefs_"):
                self.__dict__.pop("classes_", None)  # a first call that is refused leaves nothing
            raise
        if y.dtype.kind not in "biuf":
            raise TypeError(f"y must hold numbers, got an array of {y.dtype}.")
        if incremental and hasattr(self, "coefs_"):
            self._check_outputs(y)
        return (X.astype(np.float32, copy=False) if self.precision == "float32" else X), y

    def _check_outputs(self, y: np.ndarray) -> None:
        outputs, wanted = y.size // len(y), len(self.intercepts_[-1])
        if outputs != wanted:
            raise ValueError(
                f"y has {outputs} outputs a sample, but the network was fitted on {wanted}."
            )

    def _initialize(self, y: Any, layer_units: list[int], dtype: Any) -> None:
        weights = sum(below * above for below, above in pairwise(layer_units))
        size = weights * np.dtype(dtype).itemsize * IN_TRAINING
        if size > _memory():
            raise ValueError(
                f"layers of {layer_units} units have {weights:,} weights, which take "
                f"{size / 2**30:,.0f} GiB in training, and this machine has "
                f"{_memory() / 2**30:,.0f}; give smaller hidden_layer_sizes or fewer classes."
            )
        super()._initialize(y, layer_units, dtype)

    def _fit_stochastic(
        self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any
    ) -> None:
        *_, incremental = rest
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        part, held_out = (X, y, sample_weight), None
        if self.early_stopping:
            part, held_out = self._hold_out(part)
        kind = self._kind(batch=batch_size(self.batch_size, part[0].shape[0]))
        with jax.enable_x64(X.dtype == np.float64):
            try:
                self._run_epochs(Trainer(self, kind, *part), held_out, incremental)
            except KeyboardInterrupt:
                warnings.warn("Training interrupted by user.", stacklevel=2)
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _run_epochs(self, trainer: Trainer, held_out: Part | None, incremental: bool) -> None:
        """Train until the cost, or the score of the held out, has not improved for too long."""
        self.n_iter_ = 0
        one_by_one = incremental or held_out is not None or bool(self.verbose)
        while self.n_iter_ < self.max_iter:
            losses = trainer.advance(1 if one_by_one else self.max_iter - self.n_iter_, one_by_one)
            for loss in losses:
                self._count_epoch(loss, trainer.n, held_out)
            self._optimizer.iteration_ends(self.t_)
            if self._no_improvement_count > self.n_iter_no_change:
                if self._optimizer.trigger_stopping(self._why(), self.verbose):
                    return
                self._no_improvement_count: int = 0
            if incremental:
                return
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _count_epoch(self, loss: np.floating, n: int, held_out: Part | None) -> None:
        self.n_iter_ += 1
        self.t_ += n
        self.loss_ = np.float64(loss)
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        self._update_no_improvement_count(self.early_stopping, *(held_out or (None, None, None)))

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
        if not issparse(X):  # on the device once; scikit-learn hands it on to _loss_grad_lbfgs
            weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
            with jax.enable_x64(True):
                X = Examples(*(jnp.asarray(a, np.float64) for a in (X, y, weight)))
        super()._fit_lbfgs(X, y, sample_weight, *rest)

    def _loss_grad_lbfgs(
        self, packed_coef_inter: np.ndarray, X: Any, *rest: Any
    ) -> tuple[float, np.ndarray]:
        if not isinstance(X, Examples):
            found: tuple[float, np.ndarray] = super()._loss_grad_lbfgs(packed_coef_inter, X, *rest)
            return found
        sizes = (self.coefs_[0].shape[0], *(coef.shape[1] for coef in self.coefs_))
        with jax.enable_x64(True):
            cost, gradient = program.run_packed(
                self._kind(), sizes, packed_coef_inter, X, np.float64(self.alpha)
            )
            return np.float64(cost), np.array(gradient)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_classes(y: Any) -> None:
    """Refuse labels whose table, a column of 8 bytes a class, no memory would hold."""
    n = len(y) if isinstance(y, list | tuple) or getattr(y, "ndim", 0) == 1 else 0
    if 8 * n * n <= _memory():  # however many classes there are
        return
    k = len(set(np.asarray(y).tolist()))
    if 8 * n * k > _memory():
        raise ValueError(
            f"y holds {k:,} different labels, whose table for {n:,} samples takes "
            f"{8 * n * k / 2**30:,.0f} GiB, and this machine has {_memory() / 2**30:,.0f}; are "
            "they quantities, for MLPRegressor?"
        )


class MLPClassifier(_Compiled, neural_network.MLPClassifier):  # type: ignore[misc]
    """scikit-learn's ``MLPClassifier`` with compiled training: the same numbers, sooner.

    Parameters, methods, attributes and errors are those of
    ``sklearn.neural_network.MLPClassifier``, and so are the weights, costs and predictions for one
    ``random_state``, up to rounding: in float64 for float64 inputs, in float32 for float32 ones.

    Args:
        precision: None follows X: float64 unless X is float32. "float32" trains in float32
            whatever X is, which takes about half the time.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.95
    True
    """

    _parameter_constraints = neural_network.MLPClassifier._parameter_constraints | CONSTRAINTS

    # fmt: off
    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: str = "relu", *, solver: str = "adam",
        alpha: float = 0.0001, batch_size: int | str = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: Any = None, tol: float = 1e-4, verbose: bool = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10,
        max_fun: int = 15000, precision: Precision = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes, activation, solver=solver, alpha=alpha, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, power_t=power_t,
            max_iter=max_iter, shuffle=shuffle, random_state=random_state, tol=tol,
            verbose=verbose, warm_start=warm_start, momentum=momentum,
            nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2,
            epsilon=epsilon, n_iter_no_change=n_iter_no_change, max_fun=max_fun,
        )
        self.precision = precision
    # fmt: on


class MLPRegressor(_Compiled, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's ``MLPRegressor`` with compiled training: the same numbers, sooner.

    As ``MLPClassifier``; ``loss`` is "squared_error" or "poisson".

    Args:
        precision: None follows X: float64 unless X is float32. "float32" trains in float32
            whatever X is, which takes about half the time.

    >>> x = np.linspace(-1, 1, 40).reshape(-1, 1)
    >>> net = MLPRegressor("squared_error", (8,), "tanh", solver="lbfgs", random_state=0)
    >>> net.fit(x, (x**2).ravel()).score(x, (x**2).ravel()) > 0.95
    True
    """

    _parameter_constraints = neural_network.MLPRegressor._parameter_constraints | CONSTRAINTS

    # fmt: off
    def __init__(
        self, loss: str = "squared_error", hidden_layer_sizes: Any = (100,),
        activation: str = "relu", *, solver: str = "adam", alpha: float = 0.0001,
        batch_size: int | str = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: Any = None, tol: float = 1e-4, verbose: bool = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10,
        max_fun: int = 15000, precision: Precision = None,
    ) -> None:
        super().__init__(
            loss, hidden_layer_sizes, activation, solver=solver, alpha=alpha,
            batch_size=batch_size, learning_rate=learning_rate,
            learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter,
            shuffle=shuffle, random_state=random_state, tol=tol, verbose=verbose,
            warm_start=warm_start, momentum=momentum, nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping, validation_fraction=validation_fraction,
            beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.precision = precision
    # fmt: on
