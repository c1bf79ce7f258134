"""The gradient check is itself checked: what is right passes, and every planted mistake is seen.

The mistakes are planted in the source of ``textbook/network.py`` itself: each row of ``MISTAKES``
replaces one piece of its text. A row whose text is gone from the file fails, so the table cannot
fall behind the code.
"""

import inspect
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.textbook import CrossEntropyCost, Network, QuadraticCost, gradcheck, network

SIZES = [4, 4, 4, 4]  # square, so that a transposed matrix is a wrong number and not a crash
LAYERS = len(SIZES) - 1
ETA, LAMBDA = 0.5, 0.7
QUADRATIC, CROSS_ENTROPY = "QuadraticCost", "CrossEntropyCost"
SHOWN = 1e-4  # what counts as seen: right gradients stay below 1e-7

BACK = "w.T @ deltas[0] * slope(a)"
GRADIENTS = "nabla_b, nabla_w = self.backprop(x, y)\n        decay"
STALE = (
    "nabla_b, nabla_w = self.backprop(x, y)\n"
    "        {0} = self.stale = [n + 0.1 * s for n, s in "
    "zip({0}, getattr(self, 'stale', {0}))]\n        decay"
)

MISTAKES = [
    # (BP1)
    ("output error with the wrong sign", CROSS_ENTROPY, "sigmoid(z) - y\n", "y - sigmoid(z)\n"),
    ("output error half as long", CROSS_ENTROPY, "sigmoid(z) - y\n", "(sigmoid(z) - y) / 2\n"),
    ("slope kept where it cancels", CROSS_ENTROPY, "return sigmoid(z) - y\n",
     "return (sigmoid(z) - y) * slope(sigmoid(z))\n"),
    ("output error not through the slope", QUADRATIC, "(a - y) * slope(a)", "a - y"),
    ("output slope of z, not of a", QUADRATIC, "(a - y) * slope(a)", "(a - y) * slope(z)"),
    ("square without its half", QUADRATIC, "(a - y) * slope(a)", "2 * (a - y) * slope(a)"),
    # (BP2)
    ("hidden error with the wrong sign", CROSS_ENTROPY, BACK, f"-{BACK}"),
    ("hidden slope forgotten", CROSS_ENTROPY, BACK, "w.T @ deltas[0]"),
    ("slope of a taken for that of z", CROSS_ENTROPY, BACK, "w.T @ deltas[0] * slope(sigmoid(a))"),
    ("slope on the wrong side of w", CROSS_ENTROPY, BACK, "w.T @ (deltas[0] * slope(a))"),
    ("w not transposed", CROSS_ENTROPY, BACK, BACK.replace(".T", "")),
    ("error of the last layer for all", CROSS_ENTROPY, BACK, BACK.replace("[0]", "[-1]")),
    ("w of the layer before", CROSS_ENTROPY, "self.weights[:0:-1]", "self.weights[-2::-1]"),
    ("a of the layer before", CROSS_ENTROPY, "activations[-2:0:-1]", "activations[-3::-1]"),
    ("a of the layer after", CROSS_ENTROPY, "activations[-2:0:-1]", "activations[:1:-1]"),
    ("slope of tanh", CROSS_ENTROPY, "return a * (1.0 - a)", "return 1.0 - a**2"),
    ("slope 0.05 % too steep", CROSS_ENTROPY, "return a * (", "return 1.0005 * a * ("),
    # (BP3)
    ("biases: 1/m missing", CROSS_ENTROPY, "keepdims=True) / B", "keepdims=True)"),
    ("biases: one column only", CROSS_ENTROPY, "delta.sum(axis=1", "delta[:, :1].sum(axis=1"),
    ("biases: layers in reverse", CROSS_ENTROPY, "for delta in deltas]",
     "for delta in deltas[::-1]]"),
    ("biases forgotten", CROSS_ENTROPY, "b - eta * nb", "b"),
    ("biases go uphill", CROSS_ENTROPY, "b - eta * nb", "b + eta * nb"),
    # (BP4)
    ("weights: 1/m missing", CROSS_ENTROPY, "delta @ a.T / B", "delta @ a.T"),
    ("weights: transposed", CROSS_ENTROPY, "delta @ a.T / B", "a @ delta.T / B"),
    ("weights: a of the layer after", CROSS_ENTROPY, "zip(deltas, activations[:-1]",
     "zip(deltas, activations[1:]"),
    ("weights: z for a", CROSS_ENTROPY, "zip(deltas, activations[:-1]",
     "zip(deltas, [x, *zs[:-1]]"),
    # The forward pass
    ("bias left out of z", CROSS_ENTROPY, "@ activations[-1] + b", "@ activations[-1]"),
    # The step
    ("L2 on biases", CROSS_ENTROPY, "b - eta * nb", "decay * b - eta * nb"),
    ("L2 forgotten", CROSS_ENTROPY, "decay * w", "w"),
    ("L2 makes weights grow", CROSS_ENTROPY, "1 - eta * lmbda", "1 + eta * lmbda"),
    ("L2 without its half", CROSS_ENTROPY, "eta * lmbda / n", "2 * eta * lmbda / n"),
    ("L2 by the batch, not by n", CROSS_ENTROPY, "lmbda / n\n", "lmbda / np.shape(x)[1]\n"),
    ("L2 without η", CROSS_ENTROPY, "1 - eta * lmbda", "1 - lmbda"),
    ("weights: stale slopes left over", CROSS_ENTROPY, GRADIENTS, STALE.format("nabla_w")),
    ("biases: stale slopes left over", CROSS_ENTROPY, GRADIENTS, STALE.format("nabla_b")),
    ("slopes of the layers in reverse", CROSS_ENTROPY, "zip(self.weights, nabla_w",
     "zip(self.weights, nabla_w[::-1]"),
    # The mini-batch
    ("x shuffled without y", CROSS_ENTROPY, "Y[:, batch]", "Y[:, : len(batch)]"),
    ("last batch by the full size", CROSS_ENTROPY, "Y[:, batch], eta,",
     "Y[:, batch], eta * len(batch) / mini_batch_size,"),
]  # fmt: skip


def module_with(old="", new=""):
    """Return the textbook's network module, run anew with ``old`` replaced by ``new``."""
    source = inspect.getsource(network)
    if old:
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in the source"
        source = source.replace(old, new)
    module = types.ModuleType("network_with_a_mistake")
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    return module


def largest_error(module, cost_name):
    """Hold the second steps of ``update_mini_batch`` and of ``SGD`` against the true cost.

    A step is a gradient: the parameters before less those after, divided by η. The mini-batch is
    7 examples of 20; the call of SGD has 7 in all, and room for 10 in its mini-batch.
    """
    rng = np.random.default_rng(1)
    X, Y = rng.standard_normal((SIZES[0], 7)), rng.random((SIZES[-1], 7))
    steps = {
        20: lambda net: net.update_mini_batch(X, Y, ETA, LAMBDA, n=20),
        7: lambda net: net.SGD((X, Y), 1, 10, ETA, LAMBDA),
    }
    errors = []
    for n, step in steps.items():
        net = module.Network(SIZES, cost=getattr(module, cost_name))
        step(net)
        before = [p.copy() for p in net.biases + net.weights]
        step(net)
        slopes = [(p - q) / ETA for p, q in zip(before, net.biases + net.weights, strict=True)]

        def cost(parameters, n=n):
            right = Network(SIZES, cost=getattr(network, cost_name))
            right.biases, right.weights = parameters[:LAYERS], parameters[LAYERS:]
            return right.total_cost((X, Y), LAMBDA * 7 / n)

        errors.append(gradcheck(cost, before, slopes).error)
    return max(errors)


@pytest.mark.parametrize("cost", [QUADRATIC, CROSS_ENTROPY])
def test_the_source_as_it_is_passes(cost):
    assert largest_error(module_with(), cost) < 1e-7


@pytest.mark.parametrize(
    ("cost", "old", "new"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_every_mistake_is_seen(cost, old, new):
    assert largest_error(module_with(old, new), cost) > SHOWN


def test_there_are_enough_mistakes():
    assert len({row[1:] for row in MISTAKES}) == len(MISTAKES) >= 20


# One wrong derivative among many.


def small_network(cost=CrossEntropyCost):
    """Return the cost of a network as a function of its parameters, these, and its gradient."""
    net = Network([2, 3, 1], cost=cost)
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((2, 5)), rng.random((1, 5))

    def f(parameters):
        moved = Network([2, 3, 1], cost=cost)
        moved.biases, moved.weights = parameters[:2], parameters[2:]
        return moved.total_cost((X, Y))

    nabla_b, nabla_w = net.backprop(X, Y)
    return f, net.biases + net.weights, nabla_b + nabla_w


@pytest.mark.parametrize("cost", [QuadraticCost, CrossEntropyCost])
@pytest.mark.parametrize("factor", [1.0005, 0.9995])
def test_each_single_derivative_wrong_by_half_a_thousandth_is_found(cost, factor):
    f, parameters, gradients = small_network(cost)
    for k, gradient in enumerate(gradients):
        for entry in np.ndindex(gradient.shape):
            wrong = [g.copy() for g in gradients]
            wrong[k][entry] *= factor
            found = gradcheck(f, parameters, wrong)
            assert (found.parameter, found.entry) == (k, entry)
            assert found.gradient == wrong[k][entry]
            assert found.difference == pytest.approx(gradient[entry], rel=1e-6)
            with pytest.raises(ValueError, match=r"tolerance allows 1.0e-06"):
                gradcheck(f, parameters, wrong, tolerance=1e-6)


def test_a_missing_derivative_is_found():
    f, parameters, gradients = small_network()
    gradients[3][0, 2] = 0.0
    found = gradcheck(f, parameters, gradients)
    assert (found.error, found.parameter, found.entry) == (1.0, 3, (0, 2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_derivative_that_is_not_finite_is_found(bad):
    f, parameters, gradients = small_network()
    gradients[1][0, 0] = bad
    assert gradcheck(f, parameters, gradients).error == np.inf
    with pytest.raises(ValueError, match=r"gradients\[1\]\[0, 0\] is"):
        gradcheck(f, parameters, gradients, tolerance=1e9)


# What the number means.


@given(scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e6]), seed=st.integers(0, 1000))
def test_the_error_does_not_depend_on_the_unit_of_the_cost(scale, seed):
    w = np.random.default_rng(seed).standard_normal(4)
    found = gradcheck(lambda p: scale * np.sum(np.exp(p[0])), [w], [scale * 1.01 * np.exp(w)])
    assert found.error == pytest.approx(0.01 / 1.01, rel=1e-4)


def test_rounding_in_a_slope_that_is_nothing_beside_the_cost_is_no_mistake():
    w = np.array([1.0, 1e-9])
    gradient = [np.array([3.0, 3e-18])]
    assert gradcheck(lambda p: 1e6 + np.sum(p[0] ** 3), [w], gradient).error < 1e-7


def test_a_constant_cost_has_slope_zero():
    assert gradcheck(lambda p: 0.0, [np.ones(3)], [np.zeros(3)]).error == 0
    assert gradcheck(lambda p: 0.0, [np.ones(3)], [np.ones(3)]).error == 1


def test_the_error_of_the_difference_goes_with_the_square_of_epsilon():
    def error(epsilon):
        return gradcheck(
            lambda p: np.exp(p[0]), [np.array(0.0)], [np.array(1.0)], epsilon=epsilon
        ).error

    assert error(1e-2) == pytest.approx(1e-4 / 6, rel=1e-3)  # ε² C''' / 6
    assert error(1e-1) / error(1e-2) == pytest.approx(100, rel=1e-2)


def test_the_parameters_of_the_caller_stay_as_they_are():
    w = np.array([1.0, 2.0])
    w.flags.writeable = False  # as the arrays are that come from the engine
    gradcheck(lambda p: np.sum(p[0] ** 2), [w], [2 * w], tolerance=1e-7)
    assert w.tolist() == [1, 2]


def test_parameters_in_float32_are_checked_in_float64():
    w = np.array([1.0, 2.0], dtype=np.float32)
    assert gradcheck(lambda p: np.sum(p[0] ** 2), [w], [2 * w], tolerance=1e-7).error < 1e-7


W = np.ones((2, 2))


@pytest.mark.parametrize(
    ("f", "parameters", "gradients", "options", "message"),
    [
        (np.sum, [W], [W, W], {}, "gradients must have the shapes of parameters"),
        (np.sum, [W], [np.ones(4)], {}, r"\[\(2, 2\)\].*got \[\(4,\)\]"),
        (np.sum, [], [], {}, "there must be some"),
        (np.sum, [np.ones(0)], [np.ones(0)], {}, "there must be some"),
        (np.sum, [W], [W], {"epsilon": 0}, "epsilon must be above 0, got 0"),
        (lambda p: np.float32(1), [W], [W], {}, "computed in float64, got float32"),
        (lambda p: np.nan, [W], [W], {}, "one finite number"),
        (lambda p: p[0], [W], [W], {}, "one finite number"),
    ],
)
def test_wrong_arguments_are_refused_in_words(f, parameters, gradients, options, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(f, parameters, gradients, **options)
