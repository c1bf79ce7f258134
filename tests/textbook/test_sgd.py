"""Learning: one step by hand, the order of the examples, L2, and real digits."""

import gzip
import os
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from deltarule.textbook import CrossEntropyCost, Network, QuadraticCost


class Witness(Network):
    """A network that does not learn, but writes down which examples each mini-batch held."""

    def update_mini_batch(self, x, y, eta, lmbda, n):
        assert np.array_equal(x, y)  # the two stay together
        self.seen = [*getattr(self, "seen", []), x[0].astype(int).tolist()]


def numbered(n):
    """Return n examples that carry their own number, both as input and as target."""
    X = np.arange(n, dtype=float)[None, :]
    return X, X.copy()


def parameters(network):
    return [*network.weights, *network.biases]


def equal(one, other):
    return all(
        np.array_equal(p, q) for p, q in zip(parameters(one), parameters(other), strict=True)
    )


def test_one_step_by_hand():
    # w = b = 0, so a = 1/2 for both examples x = 1, y = 1 and x = 3, y = 0. Cross-entropy:
    # δ = a - y = -1/2 and 1/2; mean δ = 0, mean δx = (-1/2 + 3/2) / 2 = 1/2.
    network = Network([1, 1], cost=CrossEntropyCost)
    network.weights, network.biases = [np.array([[0.0]])], [np.array([[0.0]])]
    network.update_mini_batch([[1, 3]], [[1, 0]], eta=0.2, lmbda=5, n=100)
    assert network.weights[0] == pytest.approx(-0.1)  # (1 - 0.2 * 5/100) * 0 - 0.2 * 1/2
    assert network.biases[0] == pytest.approx(0)
    # Again from w = 2, b = -4, where z = -2 and 2: δ = σ(-2) - 1 = -σ(2) and σ(2) - 0, so the
    # mean of δ is 0 and that of δx is (-1 + 3) σ(2) / 2 = σ(2).
    network.weights, network.biases = [np.array([[2.0]])], [np.array([[-4.0]])]
    network.update_mini_batch([[1, 3]], [[1, 0]], eta=0.2, lmbda=5, n=100)
    assert network.weights[0] == pytest.approx(0.99 * 2 - 0.2 / (1 + np.exp(-2)))  # decayed
    assert network.biases[0] == pytest.approx(-4)  # not decayed


def test_a_mini_batch_twice_as_large_is_not_a_step_twice_as_long():
    once, twice = Network([2, 3, 1]), Network([2, 3, 1])
    X, Y = np.array([[0.5, -1], [2, 1]]), np.array([[1.0, 0.0]])
    once.update_mini_batch(X, Y, 0.5, 0.1, n=4)
    twice.update_mini_batch(np.hstack([X, X]), np.hstack([Y, Y]), 0.5, 0.1, n=4)
    for p, q in zip(parameters(once), parameters(twice), strict=True):
        assert p == pytest.approx(q, abs=1e-15)


def test_every_epoch_visits_every_example_once_in_a_new_order():
    network = Witness([1, 1])
    network.SGD(numbered(10), epochs=3, mini_batch_size=4, eta=1)
    assert [len(batch) for batch in network.seen] == [4, 4, 2] * 3  # the rest is not dropped
    epochs = [list(chain(*network.seen[k : k + 3])) for k in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_a_given_order_is_kept():
    network = Witness([1, 1])
    network.SGD(numbered(3), 2, 2, 1, order=[[2, 0, 1], np.array([0, 1, 2])])
    assert network.seen == [[2, 0], [1], [0, 1], [2]]


def test_the_order_is_the_only_chance_in_learning():
    data = numbered(7)
    order = [np.random.default_rng(epoch).permutation(7) for epoch in range(3)]
    networks = [Network([1, 3, 1], rng=np.random.default_rng(5)) for _ in range(2)]
    for network in networks:
        network.SGD(data, 3, 3, 0.1, order=order)
    assert equal(*networks)
    assert networks[0].rng.random() == networks[1].rng.random()


def test_the_smaller_last_batch_is_divided_by_its_own_size():
    network, step_by_step = Network([1, 3, 1]), Network([1, 3, 1])
    X, Y = numbered(5)
    network.SGD((X, Y), 1, 3, 0.1, 0.4, order=[range(5)])
    step_by_step.update_mini_batch(X[:, :3], Y[:, :3], 0.1, 0.4, n=5)
    step_by_step.update_mini_batch(X[:, 3:], Y[:, 3:], 0.1, 0.4, n=5)
    assert equal(network, step_by_step)


def test_the_data_of_the_caller_stay_as_they_are():
    data = numbered(10)
    Network([1, 3, 1]).SGD(data, 3, 4, 0.1)
    assert all(np.array_equal(a, np.arange(10)[None, :]) for a in data)


def test_epochs_one_at_a_time_are_epochs_all_the_same():
    at_once, one_by_one = Network([1, 3, 1]), Network([1, 3, 1])
    at_once.SGD(numbered(7), 4, 2, 0.1)
    for _ in range(4):
        one_by_one.SGD(numbered(7), 1, 2, 0.1)
    assert equal(at_once, one_by_one)


def test_same_chance_same_network():
    one, same, other = (Network([2, 3, 1], rng=np.random.default_rng(s)) for s in (1, 1, 2))
    assert equal(one, same)
    assert not equal(one, other)
    assert equal(Network([2, 3, 1]), Network([2, 3, 1], rng=np.random.default_rng(0)))


def test_the_two_initializations():
    normal, scaled = Network([400, 300, 10]), Network([400, 300, 10], init="scaled")
    for w, v, n_in in zip(normal.weights, scaled.weights, [400, 300], strict=True):
        # The standard error of a standard deviation over N draws is σ / √(2N), N at least 3000.
        assert np.std(w) == pytest.approx(1, abs=5 / np.sqrt(2 * w.size))
        assert np.mean(w) == pytest.approx(0, abs=5 / np.sqrt(w.size))
        assert v == pytest.approx(w / np.sqrt(n_in))
    assert np.std(normal.biases[0]) == pytest.approx(1, abs=5 / np.sqrt(600))
    assert np.array_equal(normal.biases[0], scaled.biases[0])


def test_l2_in_the_cost():
    # Weights 3 and 4 and no errors: the cost is λ/(2n) (9 + 16), whatever the biases.
    network = Network([1, 1, 1], cost=QuadraticCost)
    network.weights = [np.array([[3.0]]), np.array([[4.0]])]
    X = np.array([[0.0, 1.0, 2.0, -1.0]])
    data = X, network.feedforward(X)
    assert network.total_cost(data) == 0
    assert network.total_cost(data, lmbda=0.8) == pytest.approx(0.8 / (2 * 4) * 25)


def test_accuracy_counts_classes():
    network = Network([2, 2])
    network.weights, network.biases = [np.eye(2)], [np.zeros((2, 1))]
    X = np.array([[1, 0, 1, 0], [0, 1, 0, 1]])
    assert network.accuracy((X, np.eye(2)[[0, 1, 0, 0]].T)) == 0.75
    single = Network([1, 1])
    single.weights, single.biases = [np.array([[1.0]])], [np.array([[0.0]])]
    assert single.accuracy(([[-1, 2, 3]], [[0, 0, 1]])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("cost", "eta", "lmbda", "init"),
    [(QuadraticCost, 3.0, 0.0, "normal"), (CrossEntropyCost, 0.5, 0.1, "scaled")],
)
def test_it_learns_small_handwritten_digits(cost, eta, lmbda, init):
    images, labels = load_digits(return_X_y=True)
    X, Y = images.T / 16, np.eye(10)[labels].T
    network = Network([64, 30, 10], cost=cost, init=init)
    untrained = network.total_cost((X[:, :1297], Y[:, :1297]), lmbda)
    network.SGD((X[:, :1297], Y[:, :1297]), 20, 10, eta, lmbda)
    assert network.total_cost((X[:, :1297], Y[:, :1297]), lmbda) < untrained / 3
    assert 0.90 < network.accuracy((X[:, 1297:], Y[:, 1297:])) < 0.99  # nobody is that good


def read_idx(path, skip):
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=skip)


@pytest.mark.skipif(
    not (Path(os.environ.get("DELTARULE_DATA", "nowhere")) / "mnist").is_dir(),
    reason="DELTARULE_DATA names no folder that holds mnist",
)
@pytest.mark.parametrize(
    ("cost", "eta", "lmbda", "published"),
    [
        (QuadraticCost, 3.0, 0.0, 0.9129),  # the book, chapter 1
        # The talk's eta = 0.05 and lambda = 5 with summed slopes, which are these with their mean.
        (CrossEntropyCost, 0.5, 0.5, 0.9161),
    ],
)
def test_its_first_epoch_on_mnist_is_the_published_one(cost, eta, lmbda, published):
    folder = Path(os.environ["DELTARULE_DATA"]) / "mnist"
    data = {}
    for part in ("train", "t10k"):
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 784)
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 8)
        data[part] = images[:50_000].T / 255, np.eye(10)[labels[:50_000]].T
    network = Network([784, 30, 10], cost=cost)
    network.SGD(data["train"], 1, 10, eta, lmbda)
    assert network.accuracy(data["t10k"]) == pytest.approx(published, abs=0.02)
