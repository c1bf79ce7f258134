"""The network's equations: by hand, against finite differences, and at the edges of float64."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.textbook import CrossEntropyCost, Network, QuadraticCost, gradcheck, sigmoid

COSTS = [QuadraticCost, CrossEntropyCost]
SIZES = [[1, 1], [3, 4, 4, 1], [2, 5, 3], [4, 1, 4, 2], [6, 2, 2, 2, 2]]


def examples(sizes, n, seed=0):
    """Return random inputs [n_0, n] and targets between 0 and 1 [n_L, n]."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((sizes[0], n)), rng.random((sizes[-1], n))


def check(network, X, Y, **options):
    """Hold the gradient that backprop gives against central differences of the cost."""
    layers = len(network.weights)

    def f(parameters):
        moved = Network(network.sizes, cost=network.cost)
        moved.biases, moved.weights = parameters[:layers], parameters[layers:]
        return moved.total_cost((X, Y))

    nabla_b, nabla_w = network.backprop(X, Y)
    return gradcheck(f, network.biases + network.weights, nabla_b + nabla_w, **options)


def test_a_network_of_the_talk():
    network = Network([3, 4, 4, 1])
    assert [w.shape for w in network.weights] == [(4, 3), (4, 4), (1, 4)]
    assert [b.shape for b in network.biases] == [(4, 1), (4, 1), (1, 1)]
    output = network.feedforward(np.array([[1.0], [0.0], [-1.0]]))
    assert output.shape == (1, 1)
    assert 0 < output[0, 0] < 1


def by_hand(cost):
    """Return a network of 2 inputs, 1 hidden neuron and 1 output, with both activations 3/4.

    σ(ln 3) = 1 / (1 + 1/3) = 3/4 and σ'(ln 3) = 3/4 * 1/4 = 3/16. For the input (1, 2):
    z^1 = ln 3 * 1 + 0 * 2 = ln 3, a^1 = 3/4; z^2 = 2 * 3/4 + (ln 3 - 3/2) = ln 3, a^2 = 3/4.
    """
    network = Network([2, 1, 1], cost=cost)
    network.weights = [np.array([[math.log(3), 0.0]]), np.array([[2.0]])]
    network.biases = [np.array([[0.0]]), np.array([[math.log(3) - 1.5]])]
    return network


@pytest.mark.parametrize(
    ("cost", "value", "delta2"),
    [
        (QuadraticCost, 9 / 32, 9 / 64),  # (3/4)² / 2;  δ² = (3/4 - 0) * 3/16
        (CrossEntropyCost, math.log(4), 3 / 4),  # -ln(1 - 3/4);  δ² = 3/4 - 0
    ],
)
def test_backprop_by_hand(cost, value, delta2):
    network, x, y = by_hand(cost), np.array([[1.0], [2.0]]), np.array([[0.0]])
    assert network.feedforward(x)[0, 0] == pytest.approx(3 / 4)
    assert network.total_cost((x, y)) == pytest.approx(value)
    delta1 = 2 * delta2 * 3 / 16  # w² δ² σ'(z^1)
    nabla_b, nabla_w = network.backprop(x, y)
    assert nabla_b[0] == pytest.approx(np.array([[delta1]]))
    assert nabla_b[1] == pytest.approx(np.array([[delta2]]))
    assert nabla_w[0] == pytest.approx(np.array([[delta1 * 1, delta1 * 2]]))
    assert nabla_w[1] == pytest.approx(np.array([[delta2 * 3 / 4]]))


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("init", ["normal", "scaled"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("columns", [1, 7])
def test_every_slope_agrees_with_central_differences(sizes, columns, init, cost):
    network = Network(sizes, cost=cost, init=init)
    check(network, *examples(sizes, columns), tolerance=1e-7)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    columns=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    cost=st.sampled_from(COSTS),
)
def test_so_do_those_of_any_network(sizes, columns, seed, cost):
    network = Network(sizes, cost=cost, rng=np.random.default_rng(seed))
    check(network, *examples(sizes, columns, seed), tolerance=1e-7)


@pytest.mark.parametrize("cost", COSTS)
def test_columns_go_their_own_way_and_the_slopes_are_their_mean(cost):
    sizes = [3, 4, 2]
    network = Network(sizes, cost=cost)
    X, Y = examples(sizes, 6)
    singles = [network.backprop(X[:, [i]], Y[:, [i]]) for i in range(6)]
    for together, one_by_one in zip(
        network.backprop(X, Y), zip(*singles, strict=True), strict=True
    ):
        for nabla, parts in zip(together, zip(*one_by_one, strict=True), strict=True):
            assert nabla == pytest.approx(np.mean(parts, axis=0), abs=1e-15)
    outputs = [network.feedforward(X[:, [i]]) for i in range(6)]
    assert network.feedforward(X) == pytest.approx(np.hstack(outputs), abs=1e-15)


def test_backprop_changes_nothing():
    network, (X, Y) = Network([2, 3, 1]), examples([2, 3, 1], 4)
    kept = [p.copy() for p in [*network.weights, *network.biases, X, Y]]
    network.backprop(X, Y)
    now = [*network.weights, *network.biases, X, Y]
    assert all(np.array_equal(a, b) for a, b in zip(now, kept, strict=True))


# The edges. Warnings are errors in these tests, so an overflow anywhere would show.


@given(st.floats(allow_nan=False))
def test_the_sigmoid_never_overflows(z):
    a = sigmoid(np.array(z))
    assert 0 <= a <= 1
    assert a + sigmoid(np.array(-z)) == pytest.approx(1, abs=1e-15)


@given(st.floats(-30, 30))
def test_the_sigmoid_is_its_formula(z):
    assert sigmoid(np.array(z)) == pytest.approx(1 / (1 + math.exp(-z)), rel=1e-14)


@given(st.floats(-1e300, 1e300), st.floats(0, 1))
@pytest.mark.parametrize("cost", COSTS)
def test_the_cost_is_never_infinite(cost, z, y):
    z, y = np.array([[z]]), np.array([[y]])
    value, delta = cost.value(z, y), cost.delta(z, y)
    assert np.isfinite(value).all()
    assert (value >= 0).all()
    assert (abs(delta) <= 1).all()


@given(st.floats(-20, 20), st.floats(0, 1))
def test_cross_entropy_is_its_formula(z, y):
    a = 1 / (1 + math.exp(-z))
    expected = -(y * math.log(a) + (1 - y) * math.log(1 - a))
    value = CrossEntropyCost.value(np.array([[z]]), np.array([[y]]))
    assert value[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_a_saturated_wrong_answer_costs_what_it_should():
    # z = 1000 with the answer 0: -ln(1 - σ(1000)) = ln(1 + e^1000) = 1000, to float64.
    network = Network([1, 1], cost=CrossEntropyCost)
    network.weights, network.biases = [np.array([[1000.0]])], [np.array([[0.0]])]
    assert network.total_cost((np.array([[1.0]]), np.array([[0.0]]))) == 1000
    assert network.total_cost((np.array([[1.0]]), np.array([[1.0]]))) == 0


X3, Y1 = np.zeros((3, 5)), np.zeros((1, 5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: Network([5]), r"sizes must be at least two positive.*\[5\]"),
        (lambda n: Network([]), r"sizes must be at least two positive.*\[\]"),
        (lambda n: Network([3, 0, 1]), r"sizes must be .*\[3, 0, 1\]"),
        (lambda n: Network([3, -4, 1]), "sizes must be"),
        (lambda n: Network([3, 4.5, 1]), "sizes must be"),
        (lambda n: Network([True, True]), "sizes must be"),
        (lambda n: Network([3, 1], init="xavier"), "init must be .* got 'xavier'"),
        (lambda n: n.feedforward(np.zeros(3)), r"x must have shape \[3, B\].*\(3,\).*v\[:, None\]"),
        (lambda n: n.feedforward(X3.T), r"x must have shape \[3, B\].*\(5, 3\).*table.T"),
        (lambda n: n.feedforward(X3[:, :0]), r"x must have shape \[3, B\].*\(3, 0\)"),
        (lambda n: n.backprop(X3, np.zeros((2, 5))), r"Y must have shape \[1, B\].*\(2, 5\)"),
        (lambda n: n.backprop(X3, Y1[:, :4]), "column for each example, got 5 and 4"),
        (lambda n: n.total_cost((X3, np.zeros(5))), r"Y must have shape \[1, B\].*\(5,\)"),
        (lambda n: n.accuracy([(X3, Y1)] * 3), r"must be a pair \(X, Y\), got 3"),
        (lambda n: n.SGD((X3, Y1), 1, 0, 0.1), "mini_batch_size must be at least 1, got 0"),
        (lambda n: n.SGD((X3, Y1), -1, 1, 0.1), "epochs must be at least 0, got -1"),
        (lambda n: n.SGD((X3, Y1), 2, 1, 0.1, order=[range(5)]), "each of the 2 epochs"),
        (lambda n: n.SGD((X3, Y1), 1, 1, 0.1, order=[[0, 1, 2, 3, 3]]), "order must hold"),
        (lambda n: n.SGD((X3, Y1), 1, 1, 0.1, order=[[0, 1, 2]]), "order must hold"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call(Network([3, 4, 1]))
