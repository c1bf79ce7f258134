"""``MLPClassifier`` and ``MLPRegressor``: every parameter they take, and what it means."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sklearn import neural_network
from sklearn.utils._param_validation import StrOptions

from deltarule.estimators.compiled import Compiled
from deltarule.estimators.interface import CONSTRAINTS, Precision

if TYPE_CHECKING:
    from deltarule.data.augment import Augment
    from deltarule.learning import Callback
    from deltarule.network import Network

CLASS_WEIGHT = {"class_weight": [StrOptions({"balanced"}), dict, list, None]}


class MLPClassifier(Compiled, neural_network.MLPClassifier):  # type: ignore[misc]
    """scikit-learn's ``MLPClassifier``, sooner, and with what it does not have.

    Parameters, methods, attributes and errors are those of
    ``sklearn.neural_network.MLPClassifier``, and so are the weights, costs and predictions for one
    ``random_state``, up to rounding: in float64 for float64 inputs, in float32 for float32 ones.

    The parameters below are ours. As soon as one marked * is given, ``deltarule.fit`` trains, with
    scikit-learn's parameters in their meaning; weights and costs are then its own.

    Args:
        activation: also a list*, a name for each hidden layer, and the other names* of
            ``activations.py``: "leaky_relu", "elu", "gelu", "softplus", "lecun_tanh".
        precision: None follows X: float64 unless X is float32. "float32" trains in float32
            whatever X is, in about half the time, but not with ``solver="lbfgs"``; "float64" in
            float64, and "bfloat16"* in products of 16 bits with float32 weights.
        dropout: * the share of each hidden layer's outputs dropped while training.
        l1: * the penalty l1 sum |w|, divided by the batch size as that of alpha is.
        class_weight: a weight for each class by name, or "balanced": n / (classes x count of the
            class); times ``sample_weight``, in costs and in validation scores.
        cost: * "cross_entropy" or "quadratic".
        optimizer: * any of the library's, in place of ``solver``: "rmsprop", "adamw",
            "conjugate_gradient", "bfgs", "levenberg_marquardt" ... (``Recipe``).
        layers: * the whole network: a ``Network``, a list of layers that ends in
            ``Dense(classes), Activation("softmax")``, or the name of an architecture, such as
            "lenet5". X may then be images [n, height, width] or [n, height, width, channels].
        augment: * an ``Augment``, new images from the old; X must be images.
        committee: * so many networks, trained side by side, that answer with the mean of their
            probabilities. Costs, scores and ``loss_curve_`` are means, ``coefs_`` the first one's.
        callbacks: * ``deltarule.Callback`` objects, told of every epoch; of a committee in any
            thread, one at a time.
        device: "cpu", "gpu", "tpu"; None leaves it to JAX.
        progress: show a bar on stderr.

    Attributes of ours: ``history_``, a list of records with ``plot()``; ``model_``, the network
    for ``save_model`` and ``evaluate``. ``explain_step`` shows one step of gradient descent.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.95
    True
    """

    _parameter_constraints = (
        neural_network.MLPClassifier._parameter_constraints | CONSTRAINTS | CLASS_WEIGHT
    )

    # fmt: off
    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: str = "relu", *, solver: str = "adam",
        alpha: float = 0.0001, batch_size: int | str = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: Any = None, tol: float = 1e-4, verbose: bool = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10,
        max_fun: int = 15000, precision: Precision = None, dropout: float = 0.0, l1: float = 0.0,
        class_weight: str | Mapping[Any, float] | None = None, cost: str | None = None,
        optimizer: str | None = None, layers: "Network | Sequence[Any] | str | None" = None,
        augment: "Augment | None" = None, committee: int | None = None,
        callbacks: "Sequence[Callback]" = (), device: str | None = None, progress: bool = False,
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
        self.dropout = dropout
        self.l1 = l1
        self.class_weight = class_weight
        self.cost = cost
        self.optimizer = optimizer
        self.layers = layers
        self.augment = augment
        self.committee = committee
        self.callbacks = callbacks
        self.device = device
        self.progress = progress
    # fmt: on


class MLPRegressor(Compiled, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's ``MLPRegressor``, sooner, and with what it does not have.

    ``loss`` is "squared_error" or "poisson". All other parameters are those of ``MLPClassifier``
    but for ``class_weight``; a committee answers with the mean of its outputs, and ``layers`` end
    in ``Dense(outputs)``.

    >>> import numpy as np
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
        max_fun: int = 15000, precision: Precision = None, dropout: float = 0.0, l1: float = 0.0,
        cost: str | None = None, optimizer: str | None = None,
        layers: "Network | Sequence[Any] | str | None" = None,
        augment: "Augment | None" = None, committee: int | None = None,
        callbacks: "Sequence[Callback]" = (), device: str | None = None, progress: bool = False,
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
        self.dropout = dropout
        self.l1 = l1
        self.cost = cost
        self.optimizer = optimizer
        self.layers = layers
        self.augment = augment
        self.committee = committee
        self.callbacks = callbacks
        self.device = device
        self.progress = progress
    # fmt: on
