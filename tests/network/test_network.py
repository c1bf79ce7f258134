"""Networks as values: how they are made, counted, described, compared and refused."""

import json
import math
from itertools import pairwise

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.network import (
    ACTIVATIONS,
    INITIALIZERS,
    Activation,
    Dense,
    Dropout,
    Flatten,
    Network,
)

SIZES = st.lists(st.integers(1, 20), min_size=2, max_size=6)


@given(SIZES)
def test_parameters_are_counted_as_on_paper(sizes):
    """A layer of m neurons with n inputs has m n weights and m biases."""
    network = Network(sizes)
    assert network.count() == sum(m * n + m for n, m in pairwise(sizes))
    params, _ = network.init(np.random.default_rng(0))
    assert network.count() == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert network.output_shape() == (sizes[-1],)


@given(SIZES)
def test_a_list_of_sizes_is_short_for_layers(sizes):
    layers = []
    for units in sizes[1:]:
        layers += [Dense(units, "scaled_normal", "standard_normal"), Activation("sigmoid")]
    assert Network(sizes) == Network(*layers, shape=(sizes[0],))


def test_defaults_follow_the_activation():
    relu = Network([3, 4, 2], activation="relu", output="softmax").layers
    assert (relu[0], relu[2]) == (Dense(4, "he_normal", "zeros"), Dense(2, "scaled_normal"))
    tanh = Network([3, 4, 2], activation="tanh").layers
    assert (tanh[0], tanh[2]) == (Dense(4, "scaled_normal"), Dense(2, "scaled_normal"))
    told = Network([3, 4, 2], weight_init="orthogonal", bias_init="zeros").layers
    assert (told[0], told[2]) == (Dense(4, "orthogonal"), Dense(2, "orthogonal"))


def test_dropout_comes_after_each_hidden_layer_and_only_there():
    kinds = [type(layer) for layer in Network([3, 4, 5, 2], dropout=0.5).layers]
    hidden = [Dense, Activation, Dropout]
    assert kinds == [*hidden, *hidden, Dense, Activation]


def test_the_summary_by_hand():
    network = Network(
        Flatten(), Dense(1000), Activation("relu"), Dropout(0.25), Dense(10), shape=(8, 8)
    )
    assert network.summary().splitlines() == [
        "layer            outputs  parameters",
        "input              8 x 8",
        "Flatten               64",
        "Dense               1000      65,000",
        "Activation relu     1000",
        "Dropout 0.25        1000",
        "Dense                 10      10,010",
        "total                         75,010",
    ]


def test_counting_a_huge_network_takes_no_memory():
    assert Network([10**6, 10**6, 10]).count() == 10**12 + 10**6 + 10**7 + 10


def test_the_output_is_the_last_activation():
    assert Network([2, 2], output="softmax").output == "softmax"
    assert Network(Dense(2), Activation("relu"), Dense(1)).output == "identity"


def test_equal_networks_are_one_key():
    a, b = Network([4, 5, 3]), Network([4, 5, 3])
    assert (a, hash(a)) == (b, hash(b))
    others = [Network([4, 6, 3]), Network([4, 5, 3], activation="tanh"), Network(*a.layers)]
    assert len({a, b, *others}) == 4
    assert Network([np.int64(4), np.int64(5), 3]) == a
    assert Network(Dense(np.int64(5))) == Network(Dense(5))


NETWORKS = [
    Network([4, 5, 3]),
    Network([4, 5, 3], activation="relu", output="softmax", dropout=0.5),
    Network(Flatten(), Dense(3, "orthogonal", "zeros"), Activation("lecun_tanh"), shape=(2, 2)),
    Network(Dropout(0), Dense(3)),
]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_described_stored_and_read_again(network):
    stored = json.loads(json.dumps({"layers": network.describe(), "shape": network.shape}))
    shape = stored["shape"] and tuple(stored["shape"])
    again = Network.from_description(stored["layers"], shape)
    assert (again, hash(again)) == (network, hash(network))


DENSE = {"layer": "Dense", "units": 3, "weight_init": "zeros", "bias_init": "zeros"}
HOSTILE = {
    "unknown layer": ([{"layer": "os.system"}], "layer must be one of Dense, .*'os.system'"),
    "close to a layer": ([{"layer": "dense"}], "did you mean 'Dense'"),
    "no layer": ([{"units": 3}], "layer must be one of .*got 'nothing'"),
    "a list for a name": ([{"layer": ["Dense"]}], "layer must be one of"),
    "not a mapping": (["Dense"], "a layer must be described by its fields, got 'Dense'"),
    "missing field": ([{"layer": "Dense", "units": 3}], "Dense expects the fields .*got"),
    "extra field": ([DENSE | {"evil": 1}], r"expects the fields \['bias_init', 'units'"),
    "units true": ([DENSE | {"units": True}], "units of layer Dense must be of type int, got True"),
    "units a float": ([DENSE | {"units": 3.0}], "must be of type int, got 3.0"),
    "units negative": ([DENSE | {"units": -3}], "units must be an integer of at least 1, got -3"),
    "units text": ([DENSE | {"units": "3"}], "must be of type int, got '3'"),
    "unknown initializer": ([DENSE | {"weight_init": "he"}], "init must be one of"),
    "rate 1": ([{"layer": "Dropout", "rate": 1.0}], "rate must be the share of inputs to drop"),
    "rate NaN": ([{"layer": "Dropout", "rate": math.nan}], "rate must be the share"),
    "rate an int": ([{"layer": "Dropout", "rate": 0}], "rate of layer Dropout must be of type"),
    "no layers": ([], "a network needs at least one layer"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_description_is_a_closed_schema(name):
    description, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message):
        Network.from_description(description)


MISTAKES = {
    "nothing": (lambda: Network(), "needs at least one layer, got none"),
    "empty sizes": (lambda: Network([]), r"at least two numbers, inputs and outputs; got \[\]"),
    "one size": (lambda: Network([3]), r"at least two numbers, inputs and outputs; got \[3\]"),
    "size 0": (lambda: Network([3, 0]), "every size must be an integer of at least 1, got 0"),
    "size true": (lambda: Network([3, True]), "integer of at least 1, got True"),
    "size 2.0": (lambda: Network([3, 2.0]), "integer of at least 1, got 2.0"),
    "bare sizes": (lambda: Network(3, 2), r"got 3. Give either layers, or one list of sizes"),
    "two lists": (lambda: Network([3, 2], [2, 1]), "Give either layers, or one list of sizes"),
    "a class": (lambda: Network(Dense), "a layer must be one of Dense, Activation, Dropout"),
    "hidden": (lambda: Network([3, 4, 2], activation="rellu"), "did you mean 'relu'"),
    "output": (lambda: Network([3, 2], output="softmaxx"), "did you mean 'softmax'"),
    "init": (lambda: Network([3, 2], weight_init="he_norml"), "did you mean 'he_normal'"),
    "dropout 1": (lambda: Network([3, 4, 2], dropout=1.0), "at least 0 and below 1; got 1.0"),
    "dropout negative": (lambda: Network([3, 4, 2], dropout=-0.1), "below 1; got -0.1"),
    "dropout text": (lambda: Dropout("half"), "below 1; got 'half'"),
    "shape and sizes": (lambda: Network([3, 2], shape=(4,)), "shape is the first size of a list"),
    "options with layers": (
        lambda: Network(Dense(3), output="softmax"),
        "go with one list of sizes; where layers are given, say them in the layers",
    ),
    "shape a number": (lambda: Network(Dense(3), shape=4), r"such as \(784,\), got 4"),
    "shape empty": (lambda: Network(Dense(3), shape=()), r"shape must hold the sizes"),
    "shape with 0": (lambda: Network(Dense(3), shape=(4, 0)), "every size in shape must be"),
    "units text": (lambda: Dense("many"), "units must be an integer of at least 1, got 'many'"),
    "units none": (lambda: Dense(None), "units must be an integer of at least 1, got None"),
    "no shape known": (lambda: Network(Dense(3)).count(), "shape must be given: the network does"),
    "another shape": (lambda: Network([3, 2]).count((4,)), r"inputs of shape \(3,\), got \(4,\)"),
    "images into Dense": (lambda: Network(Dense(3)).count((8, 8)), r"put Flatten\(\) before it"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_a_sentence(name):
    make, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_chance_comes_from_the_generator_alone():
    network = Network([6, 5, 4])
    draws = [network.init(np.random.default_rng(seed))[0] for seed in (0, 0, 1)]
    same, other = (
        jax.tree.leaves(jax.tree.map(np.array_equal, draws[0], draw)) for draw in draws[1:]
    )
    assert all(same)
    assert not any(other)
    leaves = jax.tree.leaves(draws[0])
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float64)}


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_goes_with_every_initializer(name, activation):
    network = Network([3, 4, 2], activation=activation, weight_init=name)
    params, state = network.init(np.random.default_rng(0))
    y, _ = network.apply(params, state, np.ones((5, 3), np.float32))
    assert y.shape == (5, 2)
    assert np.isfinite(y).all()


def test_training_without_a_key_is_refused_where_chance_has_a_part():
    x = np.ones((2, 3), np.float32)
    network = Network([3, 4, 2], dropout=0.5)
    params, state = network.init(np.random.default_rng(0))
    with pytest.raises(ValueError, match="key must be given while training"):
        network.apply(params, state, x, train=True)
    plain = Network([3, 4, 2])
    params, state = plain.init(np.random.default_rng(0))
    assert plain.apply(params, state, x, train=True)[0].shape == (2, 2)


def test_outputs_are_the_activation_of_the_logits():
    network = Network([3, 4, 2], output="tanh")
    params, state = network.init(np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    z, _ = network.logits(params, state, x)
    a, _ = network.apply(params, state, x)
    np.testing.assert_allclose(a, np.tanh(z), rtol=1e-6)
