"""Examples that stay on the disk give the numbers of those in memory, bit for bit."""

import importlib

import jax
import numpy as np
import pytest
from fits import PutBack, Snapshots, cut_into, digest, history, weights

from deltarule.data import Dataset
from deltarule.data import unread as reading
from deltarule.data.augment import Augment
from deltarule.data.unread import Mapped, Unread
from deltarule.errors import DataError
from deltarule.learning import Callback, Recipe, Run, evaluate, fit, pages
from deltarule.learning import step as steps
from deltarule.learning.rates import range_test
from deltarule.network import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Network,
    Standardize,
)

N, BATCH = 47, 5  # ten steps, the last one smaller
ROW = 4 * 8  # bytes
NETWORK = Network([4, 6, 3], activation="tanh", output="softmax")
IMAGES = Network(
    Conv(2, 3), Activation("relu"), Flatten(), Dense(3), Activation("softmax"), shape=(6, 6, 1)
)


def blobs(n=N, seed=0, shape=(4,)):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return Dataset(rng.normal(size=(n, *shape)) + y.reshape(-1, *[1] * len(shape)), y)


class Counted(Mapped):
    """Inputs on the disk that count how often they are read, and know if they were let go."""

    def __init__(self, x):
        super().__init__(x)
        self.counts = {"read": 0, "open": 0}

    def _read(self, parts):
        self.counts["open"] += 1
        try:
            for part in super()._read(parts):
                self.counts["read"] += len(part)
                yield part
        finally:
            self.counts["open"] -= 1


def on_disk(data, kind=Counted):
    return Dataset(kind(data.x), data.y, data.classes, data.scale)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    """Pages of two steps of NETWORK; every mapped file is too large."""
    monkeypatch.setattr(pages, "PAGE", 2 * BATCH * ROW)
    monkeypatch.setattr(reading, "HELD", 0)


DATA, HELD_OUT = blobs(), blobs(23, seed=1)
RUNS = {
    "adam, weighed": (NETWORK, {"optimizer": "adam", "class_weight": (1, 2, 3)}),
    "float64": (NETWORK, {"optimizer": "momentum", "precision": "float64"}),
    "alternate": (NETWORK, {"order": "alternate"}),
    "emphasize": (NETWORK, {"order": "emphasize"}),
    "automatic": (NETWORK, {"learning_rate": "auto"}),
    "average": (NETWORK, {"average": 0.9, "schedule": "cosine"}),
    "prepared": (Network(Standardize(), *NETWORK.layers), {}),
    "mixing": (
        Network(Dense(6), BatchNorm(), Activation("tanh"), Dense(3), Activation("softmax")),
        {"learning_rate": "auto"},
    ),
}  # fmt: skip


def recipe(**options):
    return Recipe(**({"epochs": 3, "batch_size": BATCH, "l2": 1e-3} | options))


def same(one, other):
    assert digest(one.state) == digest(other.state)
    assert history(one) == history(other)
    assert np.array_equal(weights(one), weights(other))


@pytest.mark.parametrize("name", RUNS)
def test_the_same_numbers_as_in_memory(name):
    network, options = RUNS[name]
    held = fit(network, DATA, HELD_OUT, recipe(**options))
    paged = fit(network, on_disk(DATA), on_disk(HELD_OUT), recipe(**options))
    assert not held._feed.paged
    assert paged._feed.paged
    same(paged, held)


def test_images_changed_and_convolved():
    data, options = blobs(shape=(6, 6, 1)), {"augment": Augment(shift=1), "batch_size": 5}
    held = fit(IMAGES, data, recipe=recipe(**options))
    paged = fit(IMAGES, on_disk(data), recipe=recipe(**options))
    assert paged._feed.paged
    same(paged, held)


def test_numbers_as_answers():
    data = Dataset(DATA.x, DATA.x[:, :2].copy())
    network, options = Network([4, 2], output="identity"), {"cost": "quadratic"}
    held = fit(network, data, data[:20], recipe(**options))
    same(fit(network, on_disk(data), on_disk(data)[:20], recipe(**options)), held)


@pytest.mark.parametrize("page", [1, BATCH * ROW, 7 * BATCH * ROW, N * ROW - 1])
def test_whatever_the_size_of_a_page(monkeypatch, page):
    monkeypatch.setattr(pages, "PAGE", page)
    paged = fit(NETWORK, on_disk(DATA), HELD_OUT, recipe())
    assert paged._feed.paged
    same(paged, fit(NETWORK, DATA, HELD_OUT, recipe()))


def test_measured_before_each_epoch():
    """The diagonal method looks at the first 500 examples: they are all on the first page."""
    data, options = blobs(1100), {"optimizer": "diagonal_lm", "cost": "quadratic", "l2": 0.0}
    network = Network([4, 3], output="sigmoid")
    paged = fit(network, on_disk(data), recipe=recipe(**options))
    assert paged._feed.examples.size == 500
    same(paged, fit(network, data, recipe=recipe(**options)))


def test_validation_data_in_pages_of_whole_chunks():
    held_out = blobs(2300, seed=2)  # 1000 are measured at once
    paged = fit(NETWORK, DATA, on_disk(held_out), recipe(early_stopping=2))
    assert isinstance(paged._validation, pages.Pages)
    same(paged, fit(NETWORK, DATA, held_out, recipe(early_stopping=2)))


def test_emphasis_asks_for_costs_in_chunks():
    data, options = blobs(2300), {"order": "emphasize", "batch_size": 64, "epochs": 2}
    same(
        fit(NETWORK, on_disk(data), recipe=recipe(**options)),
        fit(NETWORK, data, recipe=recipe(**options)),
    )


# ---- files


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", DATA.x)
    return Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), DATA.y, DATA.classes)


def test_a_mapped_file_and_a_share_of_it_as_validation(mapped):
    paged = fit(NETWORK, mapped, 0.3, recipe())
    assert isinstance(paged.train.x, Unread)
    assert isinstance(paged.validation.x, Unread)
    same(paged, fit(NETWORK, DATA, 0.3, recipe()))


def test_what_is_small_is_simply_held(mapped, monkeypatch):
    monkeypatch.setattr(reading, "HELD", DATA.x.nbytes)
    assert not fit(NETWORK, mapped, recipe=recipe())._feed.paged


# ---- stopping and going on


@pytest.mark.parametrize("order", ["shuffle", "emphasize"])
@pytest.mark.parametrize("calls", [1, 3])  # of pages of two steps
def test_resumed_in_the_middle_of_a_page(monkeypatch, order, calls):
    cut_into(monkeypatch, calls)
    stored, options = Snapshots(), {"optimizer": "momentum", "order": order}
    whole = fit(NETWORK, on_disk(DATA), HELD_OUT, recipe(**options), callbacks=[stored])
    places = [int(header.split('"position": ')[1].split(",")[0]) for header in stored.headers]
    assert places[:5] == ([1, 2, 3, 4, 5] if calls == 1 else [2, 4, 6, 8, 0])
    for arrays, header in list(zip(stored.arrays, stored.headers, strict=True))[::4]:
        back = PutBack(arrays, header)
        same(fit(NETWORK, on_disk(DATA), HELD_OUT, recipe(**options), callbacks=[back]), whole)
    same(whole, fit(NETWORK, DATA, HELD_OUT, recipe(**options)))


@pytest.mark.parametrize("order", ["shuffle", "emphasize"])
def test_a_first_step_that_does_not_count(order):
    run = Run(NETWORK, on_disk(DATA), HELD_OUT, recipe(order=order), None, None, ())
    run.warm_up()
    run.go()
    same(run, fit(NETWORK, DATA, HELD_OUT, recipe(order=order)))


def test_everything_is_read_once_an_epoch_and_one_page_ahead():
    data, seen = on_disk(DATA), []

    class Look(Callback):
        def advanced(self, run):
            seen.append((run.state.position, data.x.counts["read"]))

    run = fit(NETWORK, data, recipe=recipe(epochs=2), callbacks=[Look()])
    assert data.x.counts == {"read": 2 * N, "open": 0}
    for step, read in seen[: len(seen) // 2]:
        done = (step or run.plan.steps) * BATCH
        assert read <= done + 2 * 2 * BATCH  # the page at hand, and one


class Stop(Callback):
    def advanced(self, run):
        run.stop("enough")


class Fail(Callback):
    def advanced(self, run):
        raise OSError("disk full")


def test_who_stops_early_reads_no_further():
    data = on_disk(DATA)
    fit(NETWORK, data, recipe=recipe(), callbacks=[Stop()])
    assert data.x.counts["open"] == 0
    with pytest.raises(OSError, match="disk full"):
        fit(NETWORK, data, recipe=recipe(), callbacks=[Fail()])
    assert data.x.counts == {"read": 2 * 2 * 2 * BATCH, "open": 0}


def test_what_cannot_be_read_ends_the_run_with_its_reason():
    class Torn(Counted):
        def _read(self, parts):
            for number, part in enumerate(super()._read(parts)):
                if number == 2:
                    raise DataError("7.png was changed")
                yield part

    data = on_disk(DATA, Torn)
    with pytest.raises(DataError, match="changed"):
        fit(NETWORK, data, recipe=recipe())
    assert data.x.counts["open"] == 0


def test_one_program_serves_all_pages():
    fit(NETWORK, on_disk(DATA), HELD_OUT, recipe(epochs=1))
    before = steps.advance._cache_size()
    fit(NETWORK, on_disk(DATA), HELD_OUT, recipe(epochs=4, seed=5))
    assert steps.advance._cache_size() == before


# ---- what needs all examples at once


def test_methods_that_see_all_at_every_step_are_refused():
    with pytest.raises(ValueError, match=r"lbfgs works on all 47 .* choose .* as adam"):
        fit(NETWORK, on_disk(DATA), recipe=Recipe(optimizer="lbfgs"))
    few = on_disk(DATA).take(8)  # less than a page is simply held
    same(
        fit(NETWORK, few, recipe=Recipe(optimizer="lbfgs", epochs=2)),
        fit(NETWORK, DATA.take(8), recipe=Recipe(optimizer="lbfgs", epochs=2)),
    )


def test_a_rate_is_not_measured_on_more_than_memory_may_hold(monkeypatch):
    monkeypatch.setattr(pages, "HELD", DATA.x.nbytes - 1)
    with pytest.raises(ValueError, match="stay on the disk: 47 are looked at together"):
        fit(NETWORK, on_disk(DATA), recipe=recipe(learning_rate="auto"))


def test_a_range_test():
    one, other = (range_test(NETWORK, data, recipe(), steps=20) for data in (DATA, on_disk(DATA)))
    np.testing.assert_array_equal(one.costs, other.costs)


# ---- after training


def test_evaluation_goes_part_by_part(monkeypatch):
    model = fit(NETWORK, DATA, recipe=recipe()).model
    whole = evaluate(model, DATA)
    monkeypatch.setattr(reading, "PART", 8 * ROW)
    data = on_disk(DATA)
    parts = evaluate(model, data)
    assert data.x.counts == {"read": N, "open": 0}
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-6)
    assert parts.predictions.tolist() == whole.predictions.tolist()
    assert parts.cost == pytest.approx(whole.cost, rel=1e-6)
    assert data.fingerprint() == DATA.fingerprint()


# ---- the inputs themselves


def test_unread_inputs_are_used_as_an_array_is():
    x = Mapped(DATA.x)
    assert (len(x), x.shape, x.ndim, x.size, x.nbytes) == (N, (N, 4), 2, 4 * N, N * ROW)
    for index in (3, -1, slice(2, 9, 3), [5, 2, 2], np.arange(N) % 2 == 0, slice(0, 0)):
        assert type(x[index]) is np.ndarray
        np.testing.assert_array_equal(x[index], DATA.x[index])
    np.testing.assert_array_equal(x.at(slice(4, None)).at([3, 1])[:], DATA.x[[7, 5]])
    np.testing.assert_array_equal(np.asarray(x, np.float32), DATA.x.astype(np.float32))
    np.testing.assert_array_equal(list(x.at([1, 2])), DATA.x[1:3])
    with pytest.raises(IndexError):
        x.at([N])


def test_parts_of_a_dataset_stay_unread(mapped):
    data = on_disk(DATA)
    assert data.shape == (4,)
    assert isinstance(mapped[2:5].x, np.ndarray)  # a view
    for few in (data[2:5], data.take(5), data[[1, 2]], mapped[[1, 2]]):
        assert isinstance(few.x, Unread)
    assert data.x.counts["read"] == 0
    assert mapped[[4, 2]].fingerprint() == DATA[[4, 2]].fingerprint()


def test_a_mapped_file_is_searched_for_what_is_not_finite(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("deltarule.data.dataset"), "CHECKED", 3 * ROW)
    x = DATA.x.copy()
    x[40, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DataError, match="example 40 holds NaN"):
        Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), DATA.y)


def test_nothing_on_the_device_is_left(monkeypatch):
    before = jax.live_arrays()  # of other tests; held, so that no new one has the place of an old
    run = fit(NETWORK, on_disk(DATA), recipe=recipe())
    assert run._feed._page is None
    new = [a for a in jax.live_arrays() if not any(a is other for other in before)]
    assert [a.shape for a in new if a.shape[:1] == (2 * BATCH,)] == []
