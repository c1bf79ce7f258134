"""What a user meets beside scikit-learn's own: checks, validation data, history, one step in full.

Names and arguments of the methods that override are scikit-learn's: it calls them.
"""

import copy
from itertools import pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_is_fitted,
    validate_data,
)

from deltarule.choices import choose
from deltarule.estimators.asked import HIDDEN, SCIKIT_LEARN, Part, on_device
from deltarule.estimators.history import History
from deltarule.estimators.memory import check_classes, check_weights
from deltarule.estimators.products import one_thread_if_small

if TYPE_CHECKING:
    from deltarule.committee import Committee
    from deltarule.estimators.explain import LayerStep
    from deltarule.network import Model

Precision = Literal["float32", "float64", "bfloat16"] | None

WIDTHS = {"float32": np.float32, "float64": np.float64, "bfloat16": np.float32}
CONSTRAINTS: dict[str, Any] = {  # what is "no_validation" is checked by the part that reads it
    "activation": [str, list, tuple],
    "precision": [StrOptions(set(WIDTHS)), None],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "l1": [Interval(Real, 0, None, closed="left")],
    "cost": [str, None],
    "optimizer": [str, None],
    "layers": "no_validation",
    "augment": "no_validation",
    "committee": [Interval(Integral, 1, None, closed="left"), None],
    "callbacks": [list, tuple],
    "device": [str, None],
    "progress": ["boolean"],
}


class Interface(BaseMultilayerPerceptron):  # type: ignore[misc]
    """scikit-learn's base class with our parameters, and with what can be asked afterwards."""

    precision: Precision
    class_weight: Any = None  # a regressor has none

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Learn from X and y, as scikit-learn's method of this name.

        Args:
            X: [n, features]; also images [n, height, width(, channels)] where ``layers`` or
                ``augment`` asks for them.
            y: [n] or [n, outputs] labels or quantities.
            sample_weight: [n] how much each sample counts.
            validation_data: (X, y) or (X, y, sample_weight), measured after each epoch and never
                learned from; with ``early_stopping`` they decide, instead of a part cut off.
            X_val, y_val, sample_weight_val: the same one by one, as a pipeline needs them, which
                can transform inputs alone (``transform_input=["X_val"]``).
        """
        if X_val is not None or y_val is not None:
            if validation_data is not None:
                raise ValueError("give validation_data or X_val and y_val, not both.")
            validation_data = X_val, y_val, sample_weight_val
        self._given = validation_data
        try:
            return super().fit(X, y, sample_weight)
        finally:
            del self._given

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        before = {name: _kept(name, value) for name, value in vars(self).items()}
        shared = self.random_state if isinstance(self.random_state, np.random.RandomState) else None
        drawn = shared.get_state(legacy=False) if shared else None
        try:
            with on_device(self.device):
                return super()._fit(X, y, sample_weight, incremental)
        except Exception:  # what is refused leaves all as it was
            self.__dict__.clear()
            self.__dict__.update(before)
            if "coefs_" not in before:
                self.__dict__.pop("classes_", None)  # a first partial_fit has set them by now
            if shared and drawn:
                shared.set_state(drawn)
            raise

    # ---- checks

    def _validate_params(self) -> None:
        """Check as scikit-learn does, and the names of activations, ours among them."""
        super()._validate_params()
        asked = self.activation
        for name in [asked] if isinstance(asked, str) else asked:
            try:
                choose("activation", name, HIDDEN)
            except ValueError as error:
                raise InvalidParameterError(str(error)) from None

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        if is_classifier(self):
            check_classes(y)
        X, y = super()._validate_input(self._flat(X, reset), y, incremental, reset)
        if y.dtype.kind not in "biuf":
            raise TypeError(f"y must hold numbers, got an array of {y.dtype}.")
        if incremental and hasattr(self, "coefs_"):
            self._check_outputs(y)
        if not reset and hasattr(self, "coefs_"):  # it goes on as it began
            return X.astype(self.coefs_[0].dtype, copy=False), y
        return self._narrow(X), y

    def _check_outputs(self, y: np.ndarray) -> None:
        outputs = y.size // len(y)
        if outputs != self.n_outputs_:
            raise ValueError(
                f"y has {outputs} outputs a sample, but the network was fitted on "
                f"{self.n_outputs_}."
            )

    def _narrow(self, X: Any) -> Any:
        return X if self.precision is None else X.astype(WIDTHS[self.precision], copy=False)

    def _flat(self, X: Any, reset: bool = False) -> Any:
        """Return images as rows, the form in which scikit-learn checks them."""
        if reset:
            self.__dict__.pop("_image_shape", None)
        if self.layers is None and self.augment is None:
            return X
        shape: tuple[int, ...] = np.shape(X)[1:] if not issparse(X) else ()
        if len(shape) == 3 and shape[-1] == 1:
            shape = shape[:-1]  # grey, said in two ways
        if reset:
            self._image_shape = shape if len(shape) in (2, 3) else None
        if len(shape) not in (2, 3):
            return X
        if shape != self._image_shape:
            raise ValueError(
                f"X holds images of shape {shape}, but the network was fitted on inputs of shape "
                f"{self._image_shape or (self.n_features_in_,)}."
            )
        X = check_array(X, allow_nd=True, dtype=None, ensure_all_finite=False)
        return X.reshape(len(X), -1)

    def _initialize(self, y: Any, layer_units: list[int], dtype: Any) -> None:
        if self.layers is not None:
            layer_units = [1, layer_units[-1]]  # the layers have their own
        weights = sum(below * above for below, above in pairwise(layer_units))
        remedy = "give smaller hidden_layer_sizes or fewer classes"
        check_weights(f"layers of {layer_units} units", weights, dtype, remedy)
        super()._initialize(y, layer_units, dtype)
        self._records: list[dict[str, Any]] = []
        self.__dict__.pop("_optimizer", None)  # of an earlier fit
        self._forget_engine()

    def _forget_engine(self) -> None:
        for name in ("_model", "_state"):
            self.__dict__.pop(name, None)

    # ---- what counts how much, and what is held out

    def _weighed(self, y: np.ndarray, sample_weight: Any, incremental: bool) -> Any:
        """Return the weights of samples times those of their classes, None if all weigh 1."""
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all samples at once, and partial_fit sees some; "
                "give the weights of the classes as a dict."
            )
        labels = self._label_binarizer.inverse_transform(y)
        weight = compute_sample_weight(self.class_weight, labels)
        return weight if sample_weight is None else weight * sample_weight

    def _validation(self, part: Part) -> tuple[Part, Part | None]:
        """Return what to learn from, and what is measured after each epoch."""
        if getattr(self, "_given", None) is not None:
            return part, self._checked(self._given)
        return self._hold_out(part) if self.early_stopping else (part, None)

    def _checked(self, given: Any) -> Part:
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            raise ValueError(
                "validation_data must be (X, y) or (X, y, sample_weight), got "
                f"{type(given).__name__}."
            )
        X, y = validate_data(
            self, self._flat(given[0]), given[1], accept_sparse=["csr", "csc"], reset=False,
            multi_output=True, y_numeric=not is_classifier(self), dtype=(np.float64, np.float32),
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = y.ravel()
        self._check_answers(y)
        weight = given[2] if len(given) == 3 else None
        if weight is not None:
            weight = _check_sample_weight(weight, X)
        weight = self._weighed(self._encoded(y), weight, incremental=False)
        return X.astype(self.coefs_[0].dtype, copy=False), y, weight

    def _check_answers(self, y: np.ndarray) -> None:
        unknown = set(np.unique(y)) - set(self.classes_) if is_classifier(self) else set()
        if y.ndim == 1 and unknown:
            raise ValueError(
                f"validation_data must hold classes that y holds, got {sorted(unknown)[0]!r}."
            )
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if (y.ndim == 2 or not is_classifier(self)) and outputs != self.n_outputs_:
            raise ValueError(
                f"validation_data must have the {self.n_outputs_} outputs of y, got {outputs}."
            )

    def _encoded(self, y: np.ndarray) -> np.ndarray:
        """Return labels or quantities as the network's targets [n, outputs]."""
        encoded = self._label_binarizer.transform(y) if is_classifier(self) else y
        return np.reshape(encoded, (len(y), -1))

    # ---- answers

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        if check_input:
            X = validate_data(self, self._flat(X), accept_sparse=["csr", "csc"], reset=False)
        if not hasattr(self, "_model"):
            if self.activation not in SCIKIT_LEARN:
                raise ValueError(
                    f"activation={self.activation!r} was set after the network was fitted with "
                    "another; call fit again."
                )
            with one_thread_if_small(X.shape[0] * sum(weights.size for weights in self.coefs_)):
                found: np.ndarray = super()._forward_pass_fast(X, check_input=False)
            return found
        from deltarule.estimators import engine  # loads optax, which only training by it needs

        with on_device(self.device):
            return engine.answers(self, X)

    @property
    def history_(self) -> History:
        """A record for each epoch, with ``plot()``: costs, and what was measured beside them."""
        if not getattr(self, "_records", None):
            raise AttributeError(
                "history_ is there after a fit in epochs: call fit first; of the lbfgs solver "
                "scikit-learn keeps none, optimizer='lbfgs' does."
            )
        return History(map(dict, self._records))

    @property
    def model_(self) -> "Model | Committee":
        """The trained network by itself, for ``save_model``, ``evaluate`` and the command."""
        from deltarule.estimators import models

        if not hasattr(self, "coefs_"):
            raise AttributeError("model_ is there after fit: call fit first.")
        return models.model_of(self)

    def explain_step(self, X: Any, y: Any) -> "list[LayerStep]":
        """Return what one step of gradient descent on X and y works out, layer by layer.

        Args:
            X: [n, features], or images as in ``fit``.
            y: their n answers.

        Returns:
            a ``LayerStep`` for each layer, from the inputs to the outputs: its ``inputs``, z, a,
            delta and the gradients of its weights. Nothing is learned. Layers act as at
            prediction (no dropout, running statistics of batch norm), all samples weigh 1, and of
            a committee it is the first member's step.
        """
        from deltarule.estimators import models
        from deltarule.estimators.explain import explain

        check_is_fitted(self)
        X, y = self._validate_input(X, y, True, reset=False)
        with on_device(self.device):
            return explain(models.explained(self), models.dense_array(X), y.reshape(len(y), -1))


def _kept(name: str, value: Any) -> Any:
    """Return what training changes in place, the optimizer and lists of its own, as a copy."""
    if name == "_optimizer":
        return copy.copy(value)  # its lists are replaced, not written into
    own = name.startswith("_") or name.endswith("_")
    return list(value) if own and isinstance(value, list) else value
