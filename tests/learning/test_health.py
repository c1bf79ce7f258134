"""Every illness is provoked, and found; a healthy run has none of them."""

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
from fits import blobs

from deltarule.data import Dataset, load
from deltarule.learning import Recipe, Run, fit, health
from deltarule.learning.evaluate import Evaluation
from deltarule.learning.health import Finding, examine, layers, progress
from deltarule.learning.health.answers import _compared
from deltarule.learning.health.case import Case
from deltarule.learning.health.data import inputs
from deltarule.network import (
    Activation,
    Concat,
    Conv,
    Dense,
    Flatten,
    Model,
    Network,
    Residual,
    Standardize,
)
from deltarule.seeds import generator

DIGITS = load("digits")
TRAIN, VALIDATION, TEST = DIGITS.train, DIGITS.validation, DIGITS.test
NETWORK = Network([64, 20, 10], activation="tanh", output="softmax")
RELU = Network([64, 20, 10], activation="relu", output="softmax")
RECIPE = Recipe(epochs=10, learning_rate=0.3)


@cache
def healthy() -> Run:
    return fit(NETWORK, TRAIN, VALIDATION, RECIPE)


def examined(run: Run, **changes: Any) -> list[Finding]:
    known = {"model": run.model, "train": run.train, "validation": run.validation, "test": TEST,
             "history": run.history, "recipe": run.recipe}  # fmt: skip
    return examine(**(known | changes))


def severities(findings: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.severity for finding in findings}


def named(findings: list[Finding], name: str) -> Finding:
    (found,) = [each for each in findings if each.name == name]
    return found


def drawn(network: Network, shape: tuple[int, ...] = (64,), seed: int = 1) -> Model:
    params, state = network.init(generator(seed, "weights"), shape)
    params, state = jax.tree.map(np.float32, (params, state))
    return Model(network, params, state, shape, TRAIN.classes, 1 / 16)


def one_unit(activation: str) -> Model:
    """A network of one hidden unit with weight 1."""
    network = Network(Dense(1), Activation(activation), Dense(2), Activation("softmax"))
    ones = [{"w": np.ones((units, 1)), "b": np.zeros(units)} for units in (1, 2)]
    return Model(network, (ones[0], {}, ones[1], {}), ({},) * 4, (1,), ("a", "b"))


def heavier(model: Model, factor: float, layer: int = 0) -> Model:
    params = list(model.params)
    params[layer] = {**params[layer], "w": params[layer]["w"] * np.float32(factor)}
    return replace(model, params=tuple(params))


def test_a_healthy_run_has_a_clean_bill() -> None:
    assert examined(healthy()) == []


def test_what_is_missing_is_said_not_guessed() -> None:
    run = healthy()
    findings = examined(run, validation=None, test=None, history=())
    assert severities(findings) == {
        "overfitting": "not judged", "no better than linear": "not judged",
    }  # fmt: skip


def test_every_finding_is_a_sentence_with_numbers_and_a_remedy() -> None:
    run = healthy()
    findings = examined(run, model=heavier(run.model, 300.0))
    assert findings
    for finding in findings:
        assert finding.name in health.ILLNESSES
        assert any(map(str.isdigit, finding.sentence))
        for text in (finding.sentence, finding.remedy):
            assert text[0].isupper()
            assert text.endswith(".")


# ---- data


def raw(data: Dataset, factor: float) -> Dataset:
    return replace(data, scale=data.scale * factor)


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_inputs_out_of_scale(factor: float) -> None:
    data = raw(TRAIN, factor)
    model = replace(drawn(NETWORK, (8, 8)), scale=data.scale)
    (found,) = inputs(layers.reaching(model, data), image=True)
    assert (found.name, found.severity) == ("inputs not scaled", "ill")
    # the mean square of digits is 0.484^2
    assert f"root mean square of {0.484 * factor:.3g}" in found.sentence


def test_a_layer_that_standardises_is_enough() -> None:
    data = raw(TRAIN, 100.0)
    network = Network(Standardize(), Flatten(), Dense(10), Activation("softmax"))
    model = replace(drawn(network, (8, 8)), scale=data.scale)
    model.state[0].update(Standardize().measure([data.x * data.scale]))
    assert inputs(layers.reaching(model, data), image=True) == []


TABLES = [  # inputs, severity, part of the sentence
    ([[0.0, 1], [1, 0], [0, 0], [1, 1]], None, ""),
    ([[9.0, 9], [9.5, 9], [9, 9.5]], "suspicious", "off centre"),
    ([[1.0, 0], [-1, 0], [1, 1e-3], [-1, -1e-3]], "suspicious", "spreads from 0.000707 to 1"),
    ([[2.0, 2], [2, 2]], "ill", "are the same"),
    ([[1e4, 0], [-1e4, 0]], "ill", "root mean square"),
]


@pytest.mark.parametrize(("x", "severity", "part"), TABLES)
def test_inputs_of_tables(x: list[list[float]], severity: str | None, part: str) -> None:
    found = inputs(np.array(x), image=False)
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all(part in each.sentence for each in found)


def test_pixels_may_differ_in_spread() -> None:
    assert inputs(np.array([[1.0, 0], [-1, 0], [1, 1e-3], [-1, -1e-3]]), image=True) == []


def test_parts_that_share_examples() -> None:
    run = healthy()
    x = TEST.x.copy()
    x[:36] = TRAIN.x[:36]
    x[100] = VALIDATION.x[7]
    findings = examined(run, test=replace(TEST, x=x))
    assert [(f.name, f.severity) for f in findings] == [
        ("shared examples", "ill"), ("shared examples", "suspicious"),
    ]  # fmt: skip
    assert "Of the 360 test examples 36 (10 %) are training examples too" in findings[0].sentence
    assert "Of the 360 test examples 1 (0.278 %) are validation examples" in findings[1].sentence
    (own,) = examined(run, validation=TRAIN[1000:1100])
    assert "100 validation examples 100 (100 %) are training examples" in own.sentence


# ---- layers


@pytest.mark.parametrize(("network", "name"), [(NETWORK, "tanh"), (Network([64, 20, 10]), "sigm")])
def test_saturated_units(network: Network, name: str) -> None:
    model = heavier(drawn(network, (8, 8)), 100.0)
    (found,) = layers.units(model, TRAIN)
    assert (found.name, found.severity) == ("saturated units", "ill")
    assert f"In layer 2 ({name}" in found.sentence
    assert layers.units(drawn(network, (8, 8)), TRAIN) == []


def test_shares_of_saturated_outputs_by_hand() -> None:
    # One tanh neuron with w = 1; |tanh x| > 0.98 from |x| = 2.2976 on: 3 of 4.
    model = one_unit("tanh")
    data = Dataset(np.array([[2.29], [2.31], [-2.31], [9.0]]), [0, 1, 0, 1])
    (found,) = layers.units(model, data)
    assert found.severity == "suspicious"
    assert "75 % of the outputs for 4 training examples" in found.sentence


def test_dead_relus() -> None:
    model = drawn(RELU, (8, 8))
    bias = model.params[0]["b"]
    bias[:] = 10.0  # all units answer
    for dead, verdict in ((15, ["ill"]), (5, ["suspicious"]), (3, [])):
        bias[:dead], bias[dead:] = -1000.0, 10.0
        found = layers.units(model, TRAIN)
        assert [each.severity for each in found] == verdict
        for each in found:
            said = f"In layer 2 (relu) {dead} of 20 units are 0 for every one of 1,257 training"
            assert said in each.sentence


def test_a_unit_that_answers_one_example_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    model = one_unit("relu")
    monkeypatch.setattr(layers, "CHUNK", 2)
    for place in range(5):
        x = np.where(np.arange(5) == place, 1.0, -1.0)[:, None]
        assert layers.units(model, Dataset(x, [0, 1, 0, 1, 0])) == []
    silent = Dataset(np.full((5, 1), -1.0), [0, 1, 0, 1, 0])
    assert [f.name for f in layers.units(model, silent)] == ["dead ReLUs"]


def test_outputs_may_be_as_sure_as_they_like() -> None:
    model = heavier(drawn(Network([64, 20, 10]), (8, 8)), 1000.0, layer=2)
    assert np.abs(model.outputs(TRAIN.x) - 0.5).mean() > 0.49
    assert layers.units(model, TRAIN) == []


def test_layers_inside_others_are_seen() -> None:
    block = Residual((Dense(6), Activation("relu"), Dense(6)))
    fork = Concat(((Dense(3), Activation("tanh")), (Dense(2), Activation("relu"))))
    network = Network(Flatten(), Dense(6), block, fork, Dense(10), Activation("softmax"))
    model = drawn(network, (8, 8))
    model.params[2]["0.b"][:] = -1000.0
    model.params[3]["0.0.w"][:] *= 1000.0
    found = {f.name: f.sentence for f in layers.units(model, TRAIN.take(50))}
    assert "In layer 3.2 (relu)" in found["dead ReLUs"]
    assert "In layer 4.0.2 (tanh)" in found["saturated units"]
    lengths = layers.relative_gradients(Case(model, TRAIN, None, (), Recipe()))
    assert list(lengths) == ["2", "3.0", "3.2", "4.0.0", "4.1.0", "5"]


def test_convolutions_have_a_unit_a_channel() -> None:
    network = Network(Conv(4, 3), Activation("relu"), Flatten(), Dense(10), Activation("softmax"),
                      shape=(8, 8, 1))  # fmt: skip
    model = drawn(network, (8, 8))
    model.params[0]["b"][1] = -1000.0
    (found,) = layers.units(model, TRAIN.take(50))
    assert "In layer 2 (relu) 1 of 4 units" in found.sentence


def test_vanishing_gradients() -> None:
    model = drawn(Network([64] + [10] * 7 + [10]), (8, 8))
    (found,) = layers.gradients(Case(model, TRAIN, None, (), Recipe()))
    assert (found.name, found.severity) == ("vanishing gradients", "ill")
    assert "layer 15" in found.sentence
    shallow = drawn(NETWORK, (8, 8))
    assert layers.gradients(Case(shallow, TRAIN, None, (), Recipe())) == []


def test_exploding_gradients() -> None:
    network = Network([64] + [10] * 4 + [10], activation="relu", output="softmax")
    model = drawn(network, (8, 8))
    for layer in (2, 4, 6):
        model = heavier(model, 30.0, layer)
    found = layers.gradients(Case(model, TRAIN, None, (), Recipe()))
    assert severities(found) == {"exploding gradients": "ill"}


def test_gradients_by_hand() -> None:
    # C = (w2 w1 x - y)^2 / 2 with x = 1, y = 0, w1 = 2, w2 = 3: a = 6, dC/dw2 = 6 x 2 = 12 and
    # dC/dw1 = 6 x 3 = 18: relative to the weights 12 / 3 = 4 and 18 / 2 = 9.
    network = Network(Dense(1), Dense(1))
    params = tuple({"w": np.full((1, 1), w), "b": np.zeros(1)} for w in (2.0, 3.0))
    model = Model(network, params, ({}, {}), (1,))
    data = Dataset(np.ones((3, 1)), np.zeros((3, 1)))
    case = Case(model, data, None, (), Recipe(cost="quadratic"))
    assert layers.relative_gradients(case) == pytest.approx({"1": 9.0, "2": 4.0})


# ---- progress


def course(*costs: float, **more: Any) -> list[dict[str, Any]]:
    return [{"epoch": e, "train_cost": c, "learning_rate": 0.1, **more}
            for e, c in enumerate(costs, 1)]  # fmt: skip


def judged(costs: list[float], limit: float | None, rate: float = 0.1) -> dict[str, str]:
    """Judge a course with a known limit of stability."""
    high = progress._too_high(rate, limit, np.array(costs), np.log(10))
    return severities(high or progress._too_low(rate, limit, np.array(costs)))


FALLING = [2.0, 1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.1]
RESTLESS = [2.0, 1.0, 1.5, 0.9, 1.4, 0.8, 1.3, 0.7]
SLOW = [2.30, 2.29, 2.28, 2.27, 2.26, 2.25, 2.24, 2.23]
HIGH, LOW = "learning rate too high", "learning rate too low"
COURSES = [  # costs, limit of stability for a rate of 0.1, verdict
    (FALLING, 0.2, {}),
    (FALLING, 0.09, {}),  # at the edge of stability, where large steps hold the curvature
    (FALLING, 0.05, {HIGH: "suspicious"}),
    (FALLING, None, {}),
    (FALLING, 20.0, {}),  # slow, yet it has learned
    (RESTLESS, None, {HIGH: "suspicious"}),
    (RESTLESS, 0.05, {HIGH: "ill"}),
    ([30.0, 40, 35, 20], None, {HIGH: "suspicious"}),
    ([9.0, 9, 9, 9], 0.05, {HIGH: "ill"}),
    (SLOW, 20.0, {LOW: "ill"}),
    (SLOW, 0.5, {}),
    (SLOW, None, {LOW: "suspicious"}),
    ([2.3, 2.3, 2.3, 2.3, 2.3], 20.0, {}),  # at rest, not on its way
    ([2.30, 2.29], 20.0, {}),  # too short to say
]


@pytest.mark.parametrize(("costs", "limit", "verdict"), COURSES)
def test_learning_rates_by_their_course(
    costs: list[float], limit: float | None, verdict: dict[str, str]
) -> None:
    assert judged(costs, limit) == verdict


def test_a_learning_rate_too_low() -> None:
    run = fit(NETWORK, TRAIN, VALIDATION, replace(RECIPE, learning_rate=1e-4))
    findings = examined(run)
    assert named(findings, LOW).severity == "ill"
    # what has not learned is no better than other means, and nothing else is wrong with it
    others = {"no better than majority", "no better than linear", "class never predicted"}
    assert set(severities(findings)) - {LOW} <= others


@pytest.mark.parametrize("seed", range(3))  # costs that jump by chance must not look overfitted
def test_a_learning_rate_too_high(seed: int) -> None:
    run = fit(NETWORK, TRAIN, VALIDATION, replace(RECIPE, learning_rate=10.0, seed=seed))
    findings = examined(run)
    assert named(findings, HIGH).severity in ("ill", "suspicious")
    assert not {LOW, "inputs not scaled", "overfitting"} & set(severities(findings))


def test_the_curvature_says_it_before_the_course_does() -> None:
    run = healthy()
    rate = 100 * RECIPE.rate
    history = [{**record, "learning_rate": rate} for record in run.history]
    findings = examined(run, history=history, recipe=replace(RECIPE, learning_rate=rate))
    assert severities(findings) == {HIGH: "suspicious"}
    assert "times the limit of stability" in findings[0].sentence


def test_methods_that_search_along_a_line_have_no_rate_to_judge() -> None:
    case = Case(healthy().model, TRAIN, None, course(*SLOW), Recipe(optimizer="conjugate_gradient"))
    assert progress.learning_rate(case) == []


def test_a_run_that_diverged() -> None:
    history = [*course(2.0, 5.0), {"epoch": 3, "train_cost": None, "penalty": 0.0}]
    findings = examine(None, raw(TRAIN, 100.0), VALIDATION, TEST, history)
    assert severities(findings) == {"inputs not scaled": "ill", "diverged": "ill"}
    assert "epoch 3" in named(findings, "diverged").sentence
    assert severities(examine(None, TRAIN, None, None, course(1.0, float("inf")))) == {
        "diverged": "ill"
    }


def test_overfitting() -> None:
    few = TRAIN.take(40)
    run = fit(NETWORK, few, VALIDATION, replace(RECIPE, epochs=60))
    findings = examined(run)
    found = named(findings, "overfitting")
    assert found.severity == "ill"
    assert "accuracy is 100 % on training" in found.sentence.lower()
    assert set(severities(findings)) <= {"overfitting", "no better than linear"}


RISES = [  # validation costs, training costs, recipe, found
    ([1.0, 0.5, 0.9], [1.0, 0.5, 0.1], RECIPE, True),
    ([1.0, 0.5, 0.6], [1.0, 0.5, 0.1], RECIPE, False),
    ([1.0, 0.5, 0.9], [1.0, 0.5, 0.8], RECIPE, False),  # both rise: another illness
    ([1.0, 0.5, 0.9], [1.0, 0.5, 0.1], replace(RECIPE, early_stopping=1), False),
]


@pytest.mark.parametrize(("validation", "train", "recipe", "found"), RISES)
def test_a_validation_cost_that_rises(
    validation: list[float], train: list[float], recipe: Recipe, found: bool
) -> None:
    history = [{"train_cost": t, "validation_cost": v}
               for t, v in zip(train, validation, strict=True)]  # fmt: skip
    said = progress._rise(Case(healthy().model, TRAIN, VALIDATION, history, recipe))
    assert said == (["the validation cost rose from 0.5 in epoch 2 to 0.9"] if found else [])


# ---- answers


def test_a_class_that_is_never_predicted() -> None:
    model = healthy().model
    model.params[2]["b"] = model.params[2]["b"] - np.float32(100.0) * (np.arange(10) == 3)
    found = named(examined(healthy(), model=model), "class never predicted")
    assert found.severity == "ill"
    assert "Of 10 classes 1 never come out as an answer ('3')" in found.sentence


def test_no_better_than_the_majority() -> None:
    y = np.where(np.arange(300) % 10 == 0, 1, 0)  # nothing to learn: 90 % are of class 0
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(300, 4)), y)
    network = Network([4, 5, 2], activation="tanh", output="softmax")
    run = fit(network, data[:200], data[200:], Recipe(epochs=3))
    findings = examined(run, test=None)
    assert named(findings, "no better than majority").severity == "ill"
    assert "'0' would give 90 %" in named(findings, "no better than majority").sentence
    assert set(severities(findings)) == {"no better than majority", "class never predicted"}


def test_no_better_than_a_linear_model() -> None:
    run = fit(Network([64, 2, 10], output="softmax"), TRAIN, VALIDATION, RECIPE)
    findings = examined(run)
    found = named(findings, "no better than linear")
    assert found.severity == "ill"
    assert "A linear model of 1,257 training examples reaches 9" in found.sentence


def test_a_lead_of_the_linear_model_may_be_luck() -> None:
    labels = np.zeros(100, int)
    ours = Evaluation(100, 1.0, ("a", "b"), labels, (np.arange(100) < 4).astype(int), labels)
    right = np.ones(100, bool)
    found = _compared(right, ours, 500)  # 4 to 0: by chance in one of 16 cases
    assert found == []
    right[4:10] = False
    assert _compared(right, ours, 500) == []
    ours = replace(ours, predictions=(np.arange(100) < 6).astype(int))
    assert severities(_compared(np.ones(100, bool), ours, 500)) == {"no better than linear": "ill"}
    assert _compared(np.arange(100) >= 6, ours, 500) == []  # the same answers


def test_the_test_set_is_never_shown_to_the_model() -> None:
    wrong = replace(TEST, y=(TEST.y + 1) % 10)
    assert examined(healthy(), test=wrong) == []


def test_regression_is_judged_without_classes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    data = Dataset(x, np.tanh(x @ rng.normal(size=(3, 2))))
    network = Network(Dense(8), Activation("tanh"), Dense(2), Activation("identity"))
    recipe = Recipe(cost="quadratic", epochs=40, learning_rate=0.1)
    run = fit(network, data[:80], data[80:], recipe)
    assert examined(run, test=None) == []


def test_float64_is_examined_as_well() -> None:
    data = blobs(200)
    network = Network([4, 5, 3], activation="tanh", output="softmax")
    recipe = Recipe(epochs=10, precision="float64")
    run = fit(network, data[:120], data[120:], recipe)
    assert examined(run, test=None) == []
