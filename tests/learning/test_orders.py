"""Orders of the examples: classes in turn, and hard examples more often."""

from collections import Counter

import numpy as np
import pytest
from fits import BATCH, NETWORK, PutBack, Snapshots, blobs, cut_into, digest, history
from hypothesis import given
from hypothesis import strategies as st

from deltarule.data import Dataset
from deltarule.learning import Callback, Recipe, fit, together
from deltarule.learning.orders import EMPHASIS, ORDERS, alternating, emphasized
from deltarule.network import Network

DATA = blobs()
SEEDS = st.integers(0, 2**32 - 1)


def alike(classes):
    """How many times an example follows one of its class."""
    return int((classes[1:] == classes[:-1]).sum())


# ---- alternate


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any), SEEDS)
def test_neighbours_are_of_different_classes_as_far_as_counts_allow(counts, seed):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    order = alternating(rng, y)
    assert sorted(order) == list(range(len(y)))
    # m of the largest class make m - 1 pairs, and each of the others can part one
    m, n = max(counts), len(y)
    assert alike(y[order]) == max(0, (m - 1) - (n - m))


@pytest.mark.parametrize(
    "counts", [(50,) * 10, (300, 200, 100), (500, 500), (10, 490, 300, 200), (900, 60, 40)], ids=str
)
def test_every_stretch_holds_the_classes_in_proportion(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    for seed in range(5):
        order = alternating(np.random.default_rng(seed), y)
        seen = np.cumsum(np.eye(len(counts))[y[order]], axis=0)
        share = np.arange(1, len(y) + 1)[:, None] * np.array(counts) / len(y)
        assert np.abs(seen - share).max() < 7  # of 1000; in random order about 20


def test_the_order_is_random_and_the_seeds():
    y = np.arange(60) % 3
    orders = [alternating(np.random.default_rng(seed), y).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    kinds = [tuple(y[orders[0][i : i + 3]]) for i in range(0, 60, 3)]
    assert len(set(kinds)) > 3  # no fixed rota of the classes


# ---- emphasize


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50).filter(any), SEEDS)
def test_an_example_comes_as_often_as_its_cost_says(costs, seed):
    costs, n = np.array(costs), len(costs)
    order = emphasized(np.random.default_rng(seed), costs)
    counts = np.bincount(order, minlength=n)
    expected = (1 - EMPHASIS) + EMPHASIS * n * costs / costs.sum()
    assert counts.sum() == n
    assert (np.abs(counts - expected) < 1 + 1e-9 * n).all()


def test_over_many_epochs_the_mean_is_what_the_costs_say():
    costs = np.array([0.0, 1, 1, 2])
    counts = sum(
        np.bincount(emphasized(np.random.default_rng(seed), costs), minlength=4)
        for seed in range(2000)
    )
    # 1/2 + 1/2 * 4 * (0, 1, 1, 2) / 4 = 0.5, 1, 1, 1.5; a count of 0 or 1 has a deviation of 1/2
    np.testing.assert_allclose(counts / 2000, [0.5, 1, 1, 1.5], atol=4 * 0.5 / np.sqrt(2000))


@pytest.mark.parametrize("costs", [[0, 0, 0], [1, np.nan, 2], [np.inf, 0, 1]])
def test_costs_that_say_nothing_leave_every_example_once(costs):
    order = emphasized(np.random.default_rng(0), np.array(costs, np.float32))
    assert sorted(order) == [0, 1, 2]


# ---- in a run


class Shown(Callback):
    """Keeps the order of each epoch, and the model at its end."""

    def __init__(self):
        self.orders, self.models = [], []

    def epoch_ended(self, run):
        self.orders.append(run.state.order)
        self.models.append(run.model)


def recipe(**options):
    return Recipe(**({"epochs": 4, "batch_size": BATCH, "optimizer": "momentum"} | options))


def costs_by_hand(model, data):
    """Cross-entropy of each example, in NumPy."""
    z = model.logits(data.x).astype(float)
    z -= z.max(axis=1, keepdims=True)
    return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), data.y]


@pytest.fixture(scope="module")
def emphasizing():
    shown = Shown()
    fit(NETWORK, DATA, recipe=recipe(order="emphasize", learning_rate=0.03), callbacks=[shown])
    return shown


def test_hard_examples_are_shown_more_often(emphasizing):
    costs = [costs_by_hand(model, DATA) for model in emphasizing.models]
    for order, before in zip(emphasizing.orders[1:], costs[:-1], strict=True):
        counts = np.bincount(order, minlength=len(DATA))
        expected = (1 - EMPHASIS) + EMPHASIS * len(DATA) * before / before.sum()
        assert (np.abs(counts - expected) < 1.001).all()
        hard = before >= np.quantile(before, 0.9)
        assert counts[hard].mean() > 1.3 * counts[~hard].mean()
    assert len({tuple(order) for order in emphasizing.orders}) == 4


def test_examples_that_do_not_count_are_not_emphasized():
    shown, weight = Shown(), np.ones(len(DATA))
    hard = np.argsort(costs_by_hand(fit(NETWORK, DATA, recipe=recipe()).model, DATA))[-5:]
    weight[hard] = 0
    fit(NETWORK, DATA, recipe=recipe(order="emphasize"), sample_weight=weight, callbacks=[shown])
    for order in shown.orders[1:]:
        assert all(Counter(order.tolist())[i] <= 1 for i in hard)


def test_alternate_reaches_the_steps(monkeypatch):
    seen, advance = [], together.advance

    def recorded(program, learner, train, validation, orders, *rest):
        seen.extend(orders[: rest[4]])
        return advance(program, learner, train, validation, orders, *rest)

    monkeypatch.setattr(together, "advance", recorded)
    fit(NETWORK, DATA, recipe=recipe(order="alternate"))
    assert len(seen) == 4
    assert all(alike(DATA.y[order]) == 0 for order in seen)
    assert len({tuple(order) for order in seen}) == 4


def test_the_orders_differ_and_shuffle_is_the_usual_one():
    runs = {order: fit(NETWORK, DATA, recipe=recipe(order=order)) for order in ORDERS}
    assert len({digest(run.state) for run in runs.values()}) == 3
    assert digest(fit(NETWORK, DATA, recipe=recipe()).state) == digest(runs["shuffle"].state)
    for order, run in runs.items():
        again = fit(NETWORK, DATA, recipe=recipe(order=order))
        assert digest(again.state) == digest(run.state)


@pytest.mark.parametrize("order", ORDERS)
def test_resumed_anywhere_bit_for_bit(monkeypatch, order):
    cut_into(monkeypatch, 4)  # of 9 steps: after 4, 8, 9, then 4 of the next epoch ...
    stored = Snapshots()
    whole = fit(NETWORK, DATA, recipe=recipe(order=order), callbacks=[stored])
    assert ("order" in stored.arrays[0]) == (order == "emphasize")
    for place in (0, 1, 2, 4, len(stored.arrays) - 1):
        put_back = PutBack(stored.arrays[place], stored.headers[place])
        run = fit(NETWORK, DATA, recipe=recipe(order=order), callbacks=[put_back])
        assert digest(run.state) == digest(whole.state), place
        assert history(run) == history(whole)


def test_how_a_run_is_cut_into_calls_changes_nothing(monkeypatch):
    whole = fit(NETWORK, DATA, recipe=recipe(order="emphasize"))
    cut_into(monkeypatch, 2)
    assert digest(fit(NETWORK, DATA, recipe=recipe(order="emphasize")).state) == digest(whole.state)


def test_a_longer_run_goes_on_where_a_shorter_one_ended():
    first = fit(NETWORK, DATA, recipe=recipe(order="emphasize", epochs=2))
    before = digest(first.state)
    second = fit(NETWORK, DATA, recipe=recipe(order="emphasize"), resume=first.state)
    assert digest(second.state) == digest(
        fit(NETWORK, DATA, recipe=recipe(order="emphasize")).state
    )
    assert digest(first.state) == before


def test_regression_can_be_emphasized():
    x = np.linspace(-1, 1, 20)[:, None]
    shown = Shown()
    fit(
        Network([1, 3, 1], activation="tanh", output="identity"), Dataset(x, np.exp(3 * x)),
        recipe=recipe(order="emphasize", cost="quadratic", learning_rate=1e-3), callbacks=[shown],
    )  # fmt: skip
    assert Counter(shown.orders[1].tolist()).most_common(1)[0][0] == 19  # e^3, far from the rest


REFUSED = {
    "unknown": (lambda: recipe(order="alternat"), "order must be one of.*did you mean 'alternate'"),
    "regression": (
        lambda: fit(
            Network([4, 1], output="identity"),
            Dataset(DATA.x, DATA.x[:, :1]),
            recipe=recipe(order="alternate", cost="quadratic"),
        ),
        "the targets are not classes; choose shuffle or emphasize",
    ),
    "all data": (
        lambda: Recipe(order="emphasize", optimizer="conjugate_gradient"),
        "order emphasize is for optimizers that work on batches; conjugate_gradient sees",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_an_order_of_another_run_is_refused(emphasizing):
    run = fit(NETWORK, DATA, recipe=recipe(order="emphasize", epochs=1))
    arrays = run.state.arrays()
    for wrong in (arrays["order"][:-1], arrays["order"].astype(np.int64)):
        with pytest.raises(ValueError, match=r"array 'order' must be int32 of shape \(43,\)"):
            run.state.restored({**arrays, "order": wrong}, run.state.header())
    del arrays["order"]
    with pytest.raises(ValueError, match="'order' is missing"):
        run.state.restored(arrays, run.state.header())


def test_a_run_that_was_stopped_in_the_middle_of_an_epoch_goes_on(monkeypatch):
    class StopAt14(Callback):
        def advanced(self, run):
            if (run.state.epoch, run.state.position) == (1, 4):
                run.stop("enough")

    whole = fit(NETWORK, DATA, recipe=recipe(order="emphasize"))
    cut_into(monkeypatch, 4)
    half = fit(NETWORK, DATA, recipe=recipe(order="emphasize"), callbacks=[StopAt14()])
    assert half.state.position == 4
    assert half.state.copy().order.tolist() == half.state.order.tolist()
    rest = fit(NETWORK, DATA, recipe=recipe(order="emphasize"), resume=half.state)
    assert digest(rest.state) == digest(whole.state)
