"""Committees: what several models say together, worked out by hand and as laws."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import INPUTS, constant, inputs, linear, panel, sure
from scipy.special import expit

from deltarule.committee import COMBINE, MOST_MEMBERS, Committee
from deltarule.data import Dataset
from deltarule.data.views import view
from deltarule.learning import evaluate
from deltarule.learning.evaluate import disagreement
from deltarule.network import Activation, Dense, Flatten, Model, Network

X = np.zeros((1, INPUTS))

# ---- worked out by hand


def test_the_mean_of_three() -> None:
    members = sure(0.6, 0.3, 0.1), sure(0.2, 0.5, 0.3), sure(0.1, 0.4, 0.5)
    three = panel(*members)
    # (0.6 + 0.2 + 0.1)/3 = 0.3, (0.3 + 0.5 + 0.4)/3 = 0.4, (0.1 + 0.3 + 0.5)/3 = 0.3
    np.testing.assert_allclose(three.outputs(X), [[0.3, 0.4, 0.3]], atol=1e-12)
    assert three.predict(X).tolist() == [1]
    assert three.labels(X) == ["b"]
    assert three.member_predictions(X).tolist() == [[0], [1], [2]]


def test_two_of_three_outvote_the_mean() -> None:
    members = sure(0.55, 0.45), sure(0.55, 0.45), sure(0.05, 0.95)
    # mean: (0.55 + 0.55 + 0.05)/3 = 0.38333 against 0.61667; votes: two against one
    np.testing.assert_allclose(panel(*members).outputs(X), [[1.15 / 3, 1.85 / 3]], atol=1e-12)
    assert panel(*members).labels(X) == ["b"]
    vote = panel(*members, combine="vote")
    np.testing.assert_array_equal(vote.outputs(X), [[2 / 3, 1 / 3]])
    assert vote.labels(X) == ["a"]


def test_a_tie_goes_to_the_leader_with_the_larger_mean() -> None:
    two, others = sure(0.5, 0.1, 0.4), sure(0.05, 0.5, 0.45)
    # Two votes for a, two for b; means 0.275, 0.3, 0.425: c has most, but no vote, and b leads a.
    four = panel(two, two, others, others, combine="vote")
    assert four.predict(X).tolist() == [1]
    np.testing.assert_array_equal(four.outputs(X), [[0.5, 0.5, 0]])


def test_sigmoid_outputs_are_averaged_too() -> None:
    members = [constant(np.log(p) - np.log1p(-p), "sigmoid")
               for p in (np.array([0.9, 0.2]), np.array([0.5, 0.6]))]  # fmt: skip
    # (0.9 + 0.5)/2 = 0.7, (0.2 + 0.6)/2 = 0.4
    np.testing.assert_allclose(panel(*members).outputs(X), [[0.7, 0.4]], atol=1e-12)
    # C = -ln 0.7 - ln(1 - 0.4) for the class a
    result = evaluate(panel(*members), Dataset(X, [0], ("a", "b")))
    assert result.cost == pytest.approx(-math.log(0.7) - math.log(0.6), rel=1e-12)


def test_regression_is_the_mean() -> None:
    network = Network(Dense(1), shape=(1,))
    # 2x + 1 and 4x + 3: the mean is 3x + 2
    lines = [Model(network, ({"w": np.float32([[w]]), "b": np.float32([b])},), ({},), (1,))
             for w, b in ((2, 1), (4, 3))]  # fmt: skip
    x = np.array([[0.0], [1.0]])
    two = panel(*lines)
    assert two.outputs(x).tolist() == two.predict(x).tolist() == [[2.0], [5.0]]
    assert two.member_predictions(x).tolist() == [[[1.0], [3.0]], [[3.0], [7.0]]]
    result = evaluate(two, Dataset(x, np.array([[2.0], [6.0]])), "quadratic")
    assert result.cost == (0 + 1 / 2) / 2
    assert (result.member_accuracies, result.disagreement) == ((), 0.0)
    for question in (two.labels, two.disagreement):
        with pytest.raises(ValueError, match="this committee has none"):
            question(x)


def test_other_outputs_are_averaged_as_they_are() -> None:
    members = constant([0.5, -1], "tanh"), constant([1.5, 2], "tanh")
    expected = (np.tanh([0.5, -1]) + np.tanh([1.5, 2])) / 2
    np.testing.assert_allclose(panel(*members).outputs(X)[0], expected, atol=1e-15)
    result = evaluate(panel(*members), Dataset(X, [1], ("a", "b")), "quadratic")
    assert result.cost == pytest.approx(((expected - [0, 1]) ** 2).sum() / 2)


def test_a_confident_mistake_has_a_finite_cost() -> None:
    wrong = panel(constant([0, 800]), constant([0, 900]))
    # ln((e^-800 + e^-900)/2) = -800 - ln 2, although both outputs are 0 in float64
    result = evaluate(wrong, Dataset(X, [0], ("a", "b")))
    assert result.cost == pytest.approx(800 + math.log(2), rel=1e-12)
    # sigmoid: a of class a is (e^-800 + e^-900)/2 again, 1 - a of b is the same
    wrong = panel(constant([-800, 800], "sigmoid"), constant([-900, 900], "sigmoid"))
    result = evaluate(wrong, Dataset(X, [0], ("a", "b")))
    assert result.cost == pytest.approx(2 * (800 + math.log(2)), rel=1e-12)


def test_outputs_that_round_to_1_do_not_change_the_answer() -> None:
    """Sigmoid outputs of 40 and 50 are both 1; the weighted inputs still tell them apart."""
    both = panel(constant([40, 50], "sigmoid"), constant([41, 45], "sigmoid"))
    assert both.outputs(X).tolist() == [[1.0, 1.0]]
    assert both.predict(X).tolist() == [1]


def test_disagreement_counts_pairs() -> None:
    a, b, c = sure(0.8, 0.1, 0.1), sure(0.1, 0.8, 0.1), sure(0.1, 0.1, 0.8)
    # of the pairs ab, ac, bc all differ; of aa, ab, ab two of three; of 4 members aabb 4 of 6
    assert panel(a, b, c).disagreement(X) == 1
    assert panel(a, a, b).disagreement(X) == 2 / 3
    assert panel(a, a, b, b).disagreement(X) == 4 / 6
    assert panel(a, a).disagreement(X) == 0
    assert panel(a).disagreement(X) == 0


# ---- evaluation


def test_it_is_evaluated_as_a_model_is() -> None:
    members = [linear(np.random.default_rng(seed)) for seed in range(4)]
    x = inputs(50)
    data = Dataset(x, np.arange(50) % 3, ("a", "b", "c"))
    for combine in COMBINE:
        four = panel(*members, combine=combine)
        result = evaluate(four, data)
        np.testing.assert_array_equal(result.predictions, four.predict(x))
        np.testing.assert_array_equal(result.probabilities, four.outputs(x))
        assert result.accuracy == (four.predict(x) == data.y).mean()
        alone = [evaluate(member, data) for member in members]
        assert result.member_accuracies == tuple(each.accuracy for each in alone)
        assert result.disagreement == four.disagreement(x)
        assert 0 < result.disagreement < 1
        mean = np.mean([each.probabilities for each in alone], axis=0)
        assert result.cost == pytest.approx(-np.log(mean[np.arange(50), data.y]).mean())
    assert evaluate(members[0], data).member_accuracies == ()
    assert evaluate(members[0], data).disagreement == 0


def test_one_member_is_evaluated_as_itself() -> None:
    for output in ("softmax", "sigmoid", "tanh"):
        model = linear(np.random.default_rng(1), output)
        data = Dataset(inputs(40), np.arange(40) % 3, ("a", "b", "c"))
        cost = "quadratic" if output == "tanh" else "cross_entropy"
        one, itself = evaluate(panel(model), data, cost), evaluate(model, data, cost)
        assert one.cost == pytest.approx(itself.cost, rel=1e-12)
        np.testing.assert_allclose(one.probabilities, itself.probabilities, atol=1e-14)
        np.testing.assert_array_equal(one.predictions, itself.predictions)


def test_other_data_is_refused() -> None:
    with pytest.raises(ValueError, match="but the model knows"):
        evaluate(panel(sure(0.5, 0.5)), Dataset(X, [0], ("x", "y")))
    with pytest.raises(ValueError, match=r"x must hold inputs of shape \(2,\)"):
        panel(sure(0.5, 0.5)).predict(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"for a single input pass x\[None\]"):
        panel(sure(0.5, 0.5)).predict(np.zeros(2))


# ---- laws

seeds = st.integers(0, 10_000)
outputs = st.sampled_from(["softmax", "sigmoid", "tanh"])
some = st.lists(seeds, min_size=1, max_size=6)


def drawn(found: list[int], output: str, **fields: Any) -> Committee:
    return panel(*(linear(np.random.default_rng(seed), output) for seed in found), **fields)


@settings(deadline=None, max_examples=40)
@given(seeds, outputs, st.sampled_from(COMBINE), st.integers(1, 9))
def test_equal_members_answer_as_one(seed: int, output: str, combine: str, n: int) -> None:
    model, x = linear(np.random.default_rng(seed), output), inputs(seed=seed)
    together = panel(*[model] * n, combine=combine)
    np.testing.assert_array_equal(together.predict(x), model.predict(x))
    assert together.disagreement(x) == 0
    if combine == "mean":
        np.testing.assert_allclose(together.outputs(x), model.outputs(x), atol=3e-7)
    else:
        np.testing.assert_array_equal(together.outputs(x), np.eye(3)[model.predict(x)])


@settings(deadline=None, max_examples=40)
@given(some, outputs, st.sampled_from(COMBINE), st.randoms())
def test_the_order_of_the_members_makes_no_difference(
    found: list[int], output: str, combine: str, random: Any
) -> None:
    shuffled = random.sample(found, len(found))
    one, other = drawn(found, output, combine=combine), drawn(shuffled, output, combine=combine)
    for ours, theirs in zip(one.ask(inputs())[:4], other.ask(inputs())[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)  # to the last bit
    assert one.disagreement(inputs()) == other.disagreement(inputs())


@settings(deadline=None, max_examples=40)
@given(some, outputs)
def test_the_mean_is_the_mean(found: list[int], output: str) -> None:
    together = drawn(found, output)
    mean = np.mean([member.outputs(inputs()) for member in together.members], axis=0)
    np.testing.assert_allclose(together.outputs(inputs()), mean, atol=1e-6)
    if output == "softmax":
        np.testing.assert_allclose(together.outputs(inputs()).sum(axis=1), 1, atol=1e-14)


@settings(deadline=None, max_examples=40)
@given(some)
def test_a_vote_is_won_by_a_class_with_most_votes(found: list[int]) -> None:
    vote = drawn(found, "softmax", combine="vote")
    shares, chosen = vote.outputs(inputs()), vote.predict(inputs())
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-14)
    np.testing.assert_array_equal(shares[np.arange(len(chosen)), chosen], shares.max(axis=1))


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=7))
def test_disagreement_by_counting_votes(predictions: list[list[int]]) -> None:
    """1 - sum_c v_c (v_c - 1) / (N (N - 1)), the mean over the inputs."""
    table = np.array(predictions)
    n = len(table)
    votes = (table[:, :, None] == np.arange(4)).sum(axis=0)
    expected = (1 - (votes * (votes - 1)).sum(axis=1) / (n * (n - 1))).mean()
    assert disagreement(table) == pytest.approx(expected, abs=1e-12)


def test_no_inputs_no_answers() -> None:
    empty = np.zeros((0, INPUTS))
    for combine in COMBINE:
        nobody = drawn([1, 2], "softmax", combine=combine)
        assert nobody.outputs(empty).shape == (0, 3)
        assert nobody.predict(empty).shape == (0,)
        assert nobody.disagreement(empty) == 0


# ---- views and other differences among members

IMAGES = np.random.default_rng(3).integers(0, 256, (6, 28, 28)).astype(np.uint8)


def seeing(seed: int, *hidden: Any, shape: tuple[int, int] = (28, 28)) -> Model:
    network = Network(Flatten(), *hidden, Dense(3), Activation("softmax"))
    params, state = network.init(np.random.default_rng(seed), shape)
    return Model(network, params, state, shape, tuple("abc"), 1 / 255)


def test_each_member_sees_its_view() -> None:
    names = ("original", "deskew", "width-16", "deskew")
    members = [seeing(seed) for seed in range(4)]
    four = Committee(tuple(members), names)
    expected = [member.logits(view(name)(IMAGES)) for member, name in zip(members, names)]  # noqa: B905
    np.testing.assert_array_equal(four.member_predictions(IMAGES), np.argmax(expected, axis=-1))
    mean = np.mean([m.outputs(view(n)(IMAGES)) for m, n in zip(members, names)], axis=0)  # noqa: B905
    np.testing.assert_allclose(four.outputs(IMAGES), mean, atol=1e-6)
    plain = Committee(tuple(members))
    assert plain.views == ("original",) * 4
    assert not np.allclose(plain.outputs(IMAGES), mean, atol=1e-3)


def test_views_may_change_the_size() -> None:
    """Columns of 29 x 29, as those of 2012, made from images of 28 x 28."""
    column = seeing(0, shape=(29, 29))
    for views in (("pad-29", "pad-29"), ("pad-29", "deskew+pad-29"), ("pad-29", "original")):
        other = seeing(1, shape=(28, 28) if "original" in views else (29, 29))
        two = Committee((column, other), views, shape=(28, 28))
        expected = [member.predict(view(name)(IMAGES))
                    for member, name in zip((column, other), views, strict=True)]  # fmt: skip
        np.testing.assert_array_equal(two.member_predictions(IMAGES), expected)
        assert two.shape == (28, 28)
    assert two.shape == Committee((column, other), views).shape  # the original says it


def test_the_shape_must_be_known() -> None:
    small, large = seeing(0), seeing(1, shape=(29, 29))
    with pytest.raises(ValueError, match=r"same shape; member 1 has \(28, 28\), member 2 \(29, 29"):
        Committee((small, large), ("deskew", "pad-29"))
    assert Committee((small, large), ("deskew", "pad-29"), shape=(28, 28)).shape == (28, 28)
    with pytest.raises(ValueError, match="the same shape"):
        Committee((small, large), ("deskew", "deskew"), shape=(28, 28))
    with pytest.raises(ValueError, match="shape must be that of a member that sees the original"):
        Committee((small, small), shape=(29, 29))
    with pytest.raises(ValueError, match=r"x must hold inputs of shape \(29, 29\)"):
        Committee((large,), ("deskew",), shape=(28, 28)).predict(IMAGES)


def test_images_may_come_as_rows() -> None:
    two = Committee((seeing(0), seeing(1)), ("original", "deskew"))
    rows = IMAGES.reshape(6, 784)
    np.testing.assert_array_equal(two.outputs(rows), two.outputs(IMAGES))


def test_architectures_and_precisions_may_differ() -> None:
    double = seeing(2)  # as drawn, in float64
    cast = lambda p: tuple({k: a.astype(np.float32) for k, a in d.items()} for d in p)  # noqa: E731
    wide = seeing(1, Dense(20), Activation("relu"))
    single = replace(wide, params=cast(wide.params))
    both = panel(single, double)
    assert both.dtype == np.float64
    assert panel(single).dtype == np.float32
    mean = (single.outputs(IMAGES) + double.outputs(IMAGES)) / 2
    np.testing.assert_allclose(both.outputs(IMAGES), mean, atol=1e-6)
    assert (both.classes, both.shape, both.scale) == (("a", "b", "c"), (28, 28), 1 / 255)


def test_provenance_is_what_the_members_share() -> None:
    first = {"source": "x", "recipe": {"seed": 0, "cost": "quadratic", "l2": 1.0}, "epochs": 3}
    other = {"recipe": {"seed": 1, "cost": "quadratic"}, "epochs": 3, "source": "y"}
    both = panel(*(replace(sure(0.5, 0.5), provenance=p) for p in (first, other)))
    assert both.provenance == {"recipe": {"cost": "quadratic"}, "epochs": 3}
    assert panel(replace(sure(0.5, 0.5), provenance=first)).provenance == first


# ---- what is no committee

HALF = sure(0.5, 0.5)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({"members": ()}, "members must be 1 to 1,000 trained models, got 0 of type none"),
    "networks": ({"members": [HALF, HALF.network]}, "got 2 of type Model, Network"),
    "a crowd": ({"members": [HALF] * (MOST_MEMBERS + 1)}, "1 to 1,000 trained models, got 1,001"),
    "other classes": (
        {"members": [HALF, HALF, replace(HALF, classes=("x", "y"))]},
        "same classes; member 1 has ('a', 'b'), member 3 ('x', 'y'): train them on the same data",
    ),
    "another scale": ({"members": [HALF, replace(HALF, scale=0.5)]}, "the same scale; member 1"),
    "another output": (
        {"members": [HALF, constant([0, 0], "sigmoid")]},
        "same output activation; member 1 has 'softmax', member 2 'sigmoid'",
    ),
    "another shape": (
        {"members": [HALF, linear(np.random.default_rng(0), classes=2), replace(
            HALF, network=Network(Dense(2), Activation("softmax")), shape=(3,))]},
        "the same shape; member 1 has (2,), member 3 (3,)",
    ),
    "targets of another size": (
        {"members": [constant([0], "tanh", classes=()), constant([0, 0], "tanh", classes=())]},
        "same shape of an output; member 1 has (1,), member 2 (2,)",
    ),
    "an unknown way": ({"combine": "vot"}, "combine must be one of mean, vote; got 'vot' (did you"),
    "a vote on numbers": (
        {"members": [constant([0], "tanh", classes=())], "combine": "vote"},
        "combine 'vote' needs classes; choose 'mean'",
    ),
    "too few views": ({"views": ("original",)}, "one view a member, 2, got 1"),
    "too many views": ({"views": ("original",) * 3}, "one view a member, 2, got 3"),
    "an unknown view": ({"views": ("original", "deskw")}, "deskw"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    fields, words = REFUSED[case]
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Committee(**{"members": (HALF, HALF), **fields})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_sigmoid_of_the_mean_is_exact_where_float64_is() -> None:
    """The mean of logarithms gives the mean of outputs, for every pair of weighted inputs."""
    values = [-700.0, -40, -3, -0.1, 0, 2, 30, 700]
    for one, other in itertools.product(values, values):
        both = panel(constant([one, 0], "sigmoid"), constant([other, 0], "sigmoid"))
        mean = (expit(one) + expit(other)) / 2
        assert both.outputs(X)[0, 0] == pytest.approx(mean, rel=1e-10)
