"""Fits that go on: from the weights there are, in their width, with other seeds."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from beyond_help import CONVOLUTION, DIGIT, IMAGES, LABELS, SMALL, X, Y, assert_same_weights, net
from numpy.testing import assert_allclose, assert_array_equal

from deltarule import Callback, MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def good(**options):
    options = SMALL | {"learning_rate_init": 0.02, "max_iter": 60} | options
    return MLPClassifier(**options).fit(X, Y)


def test_partial_fit_goes_on_from_the_weights_there_are():
    one = net(dropout=0.1, learning_rate_init=0.01).partial_fit(X, Y, classes=[0, 1, 2])
    one.set_params(dropout=0.0)
    for _ in range(60):
        one.partial_fit(X, Y)
    score = one.score(X, Y)
    one.set_params(dropout=0.1, learning_rate_init=1e-9).partial_fit(X, Y)
    assert one.score(X, Y) == score
    assert len(one.history_) == len(one.loss_curve_) == 62
    stopped = good(dropout=0.1, early_stopping=True)
    coefs = stopped.coefs_[0].copy()
    stopped.set_params(early_stopping=False, learning_rate_init=1e-12).partial_fit(X, Y)
    assert_allclose(stopped.coefs_[0], coefs, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}, {"dropout": 0.1}], ids=str)
@pytest.mark.parametrize(("first", "then"), [("f4", "f8"), ("f8", "f4")])
def test_going_on_keeps_the_width_of_the_weights(options, first, then):
    one = net(**options).fit(X.astype(first), Y).partial_fit(X.astype(then), Y)
    assert one.coefs_[0].dtype == first
    warm = net(warm_start=True, **options).fit(X.astype(first), Y).fit(X.astype(then), Y)
    assert warm.coefs_[0].dtype == first


def test_seeds_differ_from_one_warm_fit_to_the_next():
    seeds = []

    class Seed(Callback):
        def started(self, run):
            seeds.append(run.recipe.seed)

    one = net(dropout=0.2, warm_start=True, max_iter=1, callbacks=[Seed()])
    for _ in range(3):
        one.fit(X, Y)
    assert len(set(seeds)) == 3


# ---- pickled


def states():
    yield "fitted", net(dropout=0.1).fit(X, LABELS)
    yield "on the way", net(dropout=0.1).partial_fit(X, LABELS, classes=np.unique(LABELS))
    yield "sgd", net(l1=0.1, solver="sgd").partial_fit(X, LABELS, classes=np.unique(LABELS))
    yield "warm", net(dropout=0.1, warm_start=True).fit(X, LABELS)
    yield "stopped early", net(dropout=0.1, early_stopping=True).fit(X, LABELS)
    yield "a committee", net(committee=2).fit(X, LABELS)
    yield "a committee stopped early", net(committee=2, early_stopping=True).fit(X, LABELS)
    yield "layers", MLPClassifier(layers=CONVOLUTION, max_iter=2).fit(IMAGES, DIGIT)
    yield "bfloat16", net(precision="bfloat16").fit(X, LABELS)
    yield "bfgs", net(optimizer="bfgs").fit(X, LABELS)


WAYS = {
    "pickle": lambda one, path: pickle.loads(pickle.dumps(one)),
    "joblib": lambda one, path: joblib.load(joblib.dump(one, path)[0]),
    "deepcopy": lambda one, path: copy.deepcopy(one),
}


def test_what_comes_back_answers_and_goes_on_as_if_nothing_had_been(tmp_path):
    for name, one in states():
        x, y = (IMAGES, DIGIT) if name == "layers" else (X, LABELS)
        assert b"jax" not in pickle.dumps(one), name
        for way in WAYS.values():
            here, again = copy.deepcopy(one), way(one, tmp_path / "net")
            assert_array_equal(again.predict_proba(x), here.predict_proba(x), name)
            if not name.startswith("a committee") and not one.early_stopping:
                for each in (here, again):
                    each.set_params(random_state=4).partial_fit(x, y)
            elif not one.committee:
                for each in (here, again):
                    each.set_params(early_stopping=False).partial_fit(x, y)
            assert_same_weights(here, again, rtol=0)


def test_a_pickle_is_read_where_jax_is_not_loaded(tmp_path):
    """Until it is asked for an answer."""
    (tmp_path / "net").write_bytes(pickle.dumps(net(dropout=0.1).fit(X, Y)))
    code = "import pickle, sys; net = pickle.load(open('net', 'rb')); print(net.n_iter_, net.loss_)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == "12"


# ---- interrupted


ENDLESS = {"max_iter": 10**6, "tol": 0.0, "n_iter_no_change": 10**6}


class Press(Callback):
    """Presses Ctrl-C as soon as the first epoch is over."""

    def __init__(self, press):
        self.press, self.pressed = press, False

    def epoch_ended(self, run):
        if not self.pressed:
            self.pressed = True
            self.press()


@pytest.mark.parametrize("options", [
    {}, {"early_stopping": True}, {"committee": 3}, {"committee": 3, "early_stopping": True},
], ids=str)  # fmt: skip
def test_ctrl_c_keeps_what_was_learned(options, ctrl_c):
    one = net(callbacks=[Press(ctrl_c)], **ENDLESS | options)
    with pytest.warns(UserWarning, match="interrupted") as caught:
        one.fit(X, LABELS)
    assert [str(each.message) for each in caught] == ["Training interrupted by user."]
    assert 0 < one.n_iter_ == len(one.loss_curve_) < 10**6
    assert np.isfinite(one.predict_proba(X)).all()
    again = pickle.loads(pickle.dumps(one.set_params(callbacks=[])))
    assert_array_equal(again.predict_proba(X), one.predict_proba(X))
    if not options:
        assert_same_weights(one.partial_fit(X, LABELS), again.partial_fit(X, LABELS), rtol=0)


def test_ctrl_c_while_members_are_started(ctrl_c, monkeypatch):
    submit = ThreadPoolExecutor.submit

    def submit_and_press(*work):
        future = submit(*work)
        ctrl_c()
        monkeypatch.undo()
        return future

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_and_press)
    one = net(committee=3, **ENDLESS)
    with pytest.warns(UserWarning, match="interrupted"):
        one.fit(X, LABELS)
    assert np.isfinite(one.predict_proba(X)).all()


def test_members_that_cannot_all_be_started_end_those_that_were(monkeypatch):
    submit, begun = ThreadPoolExecutor.submit, []

    def submit_one(*work):
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(submit(*work))
        return begun[0]

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_one)
    with pytest.raises(RuntimeError, match="new thread"):
        net(committee=3, **ENDLESS).fit(X, LABELS)
    assert begun[0].result().stopped == "interrupted"


def test_a_second_ctrl_c_raises(ctrl_c):
    def twice():
        ctrl_c()
        ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        net(callbacks=[Press(twice)], committee=3, **ENDLESS).fit(X, LABELS)
