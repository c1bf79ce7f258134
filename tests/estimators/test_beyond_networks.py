"""Whole architectures, images, committees and callbacks."""

import pickle
import warnings

import numpy as np
import pytest
from beyond_help import (
    CONVOLUTION,
    DIGIT,
    IMAGES,
    LABELS,
    PLAIN,
    SMALL,
    X,
    Y,
    assert_same_weights,
    net,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import deltarule as dr
from deltarule import Activation, Callback, Conv, Dense, Flatten, MLPClassifier
from deltarule import MLPRegressor as Regressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


WHOLE = {
    "list": CONVOLUTION,
    "network": dr.Network(*CONVOLUTION, shape=(8, 8, 1)),
    "sigmoid": [Flatten(), Dense(20), Activation("relu"), Dense(10), Activation("sigmoid")],
}
FORMS = [  # a list of layers takes the shape of an image from X, and rows have none
    (kind, form) for kind in WHOLE for form in ("images", "rows", "channels")
    if (kind, form) != ("list", "rows")
]  # fmt: skip


@pytest.mark.parametrize(("kind", "form"), FORMS)
def test_whole_architectures_of_images(kind, form):
    layers = WHOLE[kind]
    x = {"images": IMAGES, "rows": IMAGES.reshape(500, 64), "channels": IMAGES[..., None]}[form]
    options = {"max_iter": 25, "random_state": 0, "learning_rate_init": 0.01, "batch_size": 50}
    one = MLPClassifier(layers=layers, precision="float32", **options).fit(x, DIGIT)
    assert one.score(x, DIGIT) > 0.9
    p = one.predict_proba(x)
    assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert one.n_features_in_ == 64
    assert (p == pickle.loads(pickle.dumps(one)).predict_proba(x)).all()
    assert (clone(one).fit(x, DIGIT).predict_proba(x) == p).all()


def test_an_architecture_by_name():
    x = np.pad(IMAGES[:60], ((0, 0), (10, 10), (10, 10)))
    one = MLPClassifier(layers="lenet5", max_iter=2, batch_size=20).fit(x, DIGIT[:60])
    assert one.predict_proba(x[:3]).shape == (3, 10)
    assert len(one.coefs_) == one.n_layers_ - 1 == 5


def test_two_classes_with_one_output_or_two():
    few = IMAGES[DIGIT < 2], DIGIT[DIGIT < 2]
    for end in ([Dense(1), Activation("sigmoid")], [Dense(2), Activation("softmax")]):
        one = MLPClassifier(layers=[Flatten(), *end], max_iter=60, learning_rate_init=0.01)
        one.fit(*few)
        assert one.score(*few) > 0.95
        assert one.predict_proba(few[0]).shape == (len(few[0]), 2)
        assert_allclose(one.model_.outputs(few[0]), one.predict_proba(few[0]), rtol=1e-6)


def test_new_images_from_the_old():
    shift = dr.Augment(shift=1)
    seen = [MLPClassifier((20,), augment=each, max_iter=4, random_state=0, precision="float32")
            .fit(IMAGES, DIGIT).coefs_[0] for each in (shift, shift, dr.Augment())]  # fmt: skip
    assert (seen[0] == seen[1]).all()
    assert not (seen[0] == seen[2]).all()
    with pytest.raises(ValueError, match="augment moves and bends images"):
        MLPClassifier(augment=shift).fit(X, Y)


def test_grey_images_with_and_without_their_channel():
    one = MLPClassifier(layers=CONVOLUTION, max_iter=2, random_state=0).fit(IMAGES, DIGIT)
    assert (one.predict(IMAGES) == one.predict(IMAGES[..., None])).all()


def test_a_softmax_for_quantities_or_several_labels_is_refused():
    layers = [Dense(2), Activation("softmax")]
    with pytest.raises(ValueError, match="shares of 1, and y holds quantities"):
        Regressor(layers=layers).fit(X, X[:, :2])
    with pytest.raises(ValueError, match="shares of 1, and y holds several labels"):
        MLPClassifier(layers=layers).fit(X, np.c_[Y > 0, Y > 1] * 1)


def test_a_committee_answers_with_the_mean():
    team = net(committee=3).fit(X, LABELS)
    members = team.model_.members
    mean = np.mean([member.outputs(X) for member in members], axis=0)
    assert_allclose(team.predict_proba(X), mean, rtol=1e-9)
    assert (team.predict(X) == team.classes_[mean.argmax(1)]).all()
    assert np.abs(members[0].params[0]["w"] - members[1].params[0]["w"]).max() > 0.1
    assert_same_weights(team, net(callbacks=PLAIN).fit(X, LABELS), rtol=1e-12)  # the first alone
    assert {record["member"] for record in team.history_} == {1, 2, 3}
    costs = np.array([r["train_cost"] + r["penalty"] for r in team.history_]).reshape(3, 12)
    assert_allclose(team.loss_curve_, costs.mean(0))
    again = net(committee=3).fit(X, LABELS)
    assert (again.predict_proba(X) == team.predict_proba(X)).all()


def test_a_committee_of_quantities_that_stops_early():
    y = X[:, :2] * 3
    team = Regressor(**SMALL, committee=2, early_stopping=True).fit(X, y)
    assert_allclose(
        team.predict(X), np.mean([each.outputs(X) for each in team.model_.members], axis=0)
    )
    assert len(team.validation_scores_) == len(team.loss_curve_)


def test_the_history_of_a_committee_is_drawn_as_means():
    team = net(committee=3).fit(X, Y)
    line = team.history_.plot().axes[0].lines[0]
    costs = np.array([record["train_cost"] for record in team.history_]).reshape(3, 12)
    assert_allclose(line.get_ydata(), costs.mean(0))
    assert line.get_xdata().tolist() == list(range(1, 13))


def test_scores_of_a_committee_are_those_of_what_its_members_kept():
    train, held = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    team = net(committee=4, early_stopping=True, max_iter=60, learning_rate_init=0.02,
               n_iter_no_change=3, tol=0)  # fmt: skip
    team.fit(X[train], Y[train], validation_data=(X[held], Y[held]))
    of_members = [np.mean(m.predict(X[held]) == Y[held]) for m in team.model_.members]
    assert_allclose(team.best_validation_score_, np.mean(of_members))
    lengths = {
        member: sum(record["member"] == member for record in team.history_) for member in (1, 2)
    }
    assert len(team.loss_curve_) >= max(lengths.values())
    plain = net(committee=3, max_iter=3).fit(X, Y)
    assert_allclose(plain.best_loss_, plain.loss_)


def test_members_say_who_they_are(capsys):
    net(committee=2, verbose=True, max_iter=1).fit(X, Y)
    lines = sorted(capsys.readouterr().out.splitlines())
    assert [line.split(",")[0] for line in lines] == [
        "Member 1: Iteration 1", "Member 2: Iteration 1"
    ]  # fmt: skip


def test_after_a_committee_its_first_member_goes_on():
    layers = [Dense(5), Activation("tanh"), Dense(3), Activation("softmax")]
    one = MLPClassifier(layers=layers, committee=2, max_iter=3, random_state=0).fit(X, Y)
    first = one.model_.members[0].params[0]["w"]
    one.set_params(committee=None, learning_rate_init=1e-12).partial_fit(X, Y)
    assert_allclose(one.coefs_[0], first.T, atol=1e-9)


class Recorder(Callback):
    def __init__(self, last=None):
        self.told, self.last = [], last

    def epoch_ended(self, run):
        self.told.append((run.recipe.seed, run.history[-1]["epoch"]))
        if self.last == run.history[-1]["epoch"]:
            run.stop("enough")


def test_callbacks_are_told_and_can_stop():
    recorder = Recorder(last=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was stopped: no complaint about convergence
        one = net(callbacks=[recorder]).fit(X, Y)
    assert [epoch for _, epoch in recorder.told] == [1, 2, 3, 4, 5]
    assert one.n_iter_ == 5
    recorder.told.clear()
    net(callbacks=[recorder], committee=2).fit(X, Y)
    assert sorted(epoch for _, epoch in recorder.told) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_an_error_in_one_member_ends_the_others():
    class Fails(Callback):
        told = 0

        def epoch_ended(self, run):
            self.told += 1
            if self.told == 3:
                raise RuntimeError("no more")

    fails = Fails()
    with pytest.raises(RuntimeError, match="no more"):
        net(committee=4, max_iter=300, callbacks=[fails]).fit(X, Y)
    assert fails.told < 100


# ---- layers for every kind of answer


@pytest.mark.parametrize("x", [IMAGES, IMAGES[..., None]], ids=["grey", "channels"])
def test_layers_for_quantities(x):
    layers = [Conv(4, 3), Activation("relu"), Flatten(), Dense(2)]
    y = np.c_[IMAGES[:, :4].mean((1, 2)), IMAGES[:, 4:].mean((1, 2))] * 5
    often = {"max_iter": 60, "learning_rate_init": 0.02, "batch_size": 50, "random_state": 0}
    one = Regressor(layers=layers, **often)
    assert one.fit(x, y).predict(x).shape == (500, 2)
    assert one.score(x, y) > 0.95
    assert one.out_activation_ == "identity"
    single = Regressor(layers=[*layers[:-1], Dense(1)], **often)
    assert single.fit(x, y[:, 0]).predict(x).shape == (500,)
    assert single.score(x, y[:, 0]) > 0.9


def test_layers_for_several_labels():
    layers = [Conv(4, 3), Activation("relu"), Flatten(), Dense(2), Activation("sigmoid")]
    y = np.c_[DIGIT < 5, DIGIT % 2 == 0] * 1
    one = MLPClassifier(layers=layers, max_iter=60, learning_rate_init=0.01, random_state=0)
    p = one.fit(IMAGES, y).predict_proba(IMAGES)
    assert p.shape == (500, 2)
    assert_array_equal(one.predict(IMAGES), (p > 0.5) * 1)
    assert one.score(IMAGES, y) > 0.9  # both labels right
    assert one.out_activation_ == "logistic"
