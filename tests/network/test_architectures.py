"""Networks of the literature: counted as their papers count, and able to take one step."""

import inspect
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.network import (
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    MaxPool,
    Network,
    Residual,
)
from deltarule.network.architectures import ARCHITECTURES, architecture
from deltarule.network.kernels import Kernels, using, usual

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"

COUNTS = [  # name, options, parameters; why, in the docstrings and where the sums are made below
    ("lenet5", {}, 61_706),
    ("simard2003", {}, 132_540),
    ("ciresan2010", {}, 12_115_010),
    ("ciresan2010", {"number": 1}, 1_347_510),
    ("ciresan2010", {"number": 2}, 3_269_510),
    ("ciresan2010", {"number": 3}, 6_692_010),
    ("ciresan2010", {"number": 5}, 8_860_010),
    ("mcdnn_column", {}, 76_040),
    ("nielsen_conv", {}, 85_670),
    ("nielsen_conv", {"maps": (20,)}, 289_630),
    ("nielsen_conv", {"units": (1000, 1000), "dropout": 0.5}, 1_672_570),
    ("alexnet", {}, 60_965_224),
    ("vgg16", {}, 138_357_544),
    ("googlenet", {}, 6_998_552),
    ("resnet18", {}, 11_689_512),
    ("resnet34", {}, 21_797_672),
    ("resnet50", {}, 25_557_032),
    ("resnet152", {}, 60_192_808),
    ("se_resnet50", {}, 28_088_024),
    ("senet154", {}, 115_088_984),
]

PRINTED = [  # what a paper says of the size of its network, cut after the digits it prints
    ("ciresan2010", {"number": 1}, "1.34 million"),
    ("ciresan2010", {"number": 2}, "3.26 million"),
    ("ciresan2010", {"number": 3}, "6.69 million"),
    ("ciresan2010", {"number": 4}, "12.11 million"),
    ("ciresan2010", {"number": 5}, "8.86 million"),
    ("alexnet", {}, "60 million"),
    ("vgg16", {}, "138 million"),
]

TINY = {"classes": 10, "shape": (64, 64, 3)}
SMALL = [  # a size that a test can afford; no option takes a layer away
    ("lenet5", {}),
    ("simard2003", {}),
    *(("ciresan2010", {"number": number, "shape": (49,)}) for number in range(1, 6)),
    ("mcdnn_column", {}),
    ("nielsen_conv", {}),
    ("nielsen_conv", {"maps": (20,)}),
    ("nielsen_conv", {"activation": "relu"}),
    ("nielsen_conv", {"activation": "relu", "units": (30, 20), "dropout": 0.5}),
    ("alexnet", {"classes": 10, "shape": (63, 63, 3), "units": 32}),
    ("vgg16", {"classes": 10, "shape": (32, 32, 3), "units": 32}),
    ("googlenet", {"classes": 10, "shape": (32, 32, 3)}),
    ("resnet18", {**TINY, "width": 8}),
    ("resnet34", {**TINY, "width": 8}),
    ("resnet50", {**TINY, "width": 8}),
    ("resnet152", {**TINY, "width": 8}),
    ("se_resnet50", {**TINY, "width": 8}),
    ("senet154", {**TINY, "width": 8, "groups": 8}),
]


def weights_and_rest(params):
    """Return how many of the numbers are weights, and how many biases, scales and shifts."""
    sizes = {True: 0, False: 0}
    for layer in params:
        for name, array in layer.items():
            sizes[name.endswith("w")] += array.size
    return sizes[True], sizes[False]


# Counts.


@pytest.mark.parametrize(("name", "options", "count"), COUNTS)
def test_parameters_are_as_many_as_published(name, options, count):
    assert architecture(name, **options).count() == count


def test_every_architecture_is_counted_and_takes_a_step():
    assert {name for name, *_ in COUNTS} == {name for name, _ in SMALL} == set(ARCHITECTURES)


def test_lenet5_from_the_sixty_thousand_of_the_paper():
    c1, s2, s4, c5, f6 = 6 * 26, 6 * 2, 16 * 2, 120 * 401, 84 * 121
    chosen = 6 * (3 * 25 + 1) + 9 * (4 * 25 + 1) + (6 * 25 + 1)  # table I: maps that C3 sees
    assert c1 + s2 + chosen + s4 + c5 + f6 == 60_000
    every, dense = 16 * (6 * 25 + 1), 10 * 85
    assert architecture("lenet5").count() == 60_000 - s2 - s4 + (every - chosen) + dense


def test_the_maps_of_lenet5_are_those_of_the_paper():
    layers = architecture("lenet5").layers
    shapes = [Network(*layers[: n + 1], shape=(28, 28, 1)).output_shape() for n in range(12)]
    squashed = [shapes[n] for n in (1, 2, 4, 5, 8, 10)]  # C1, S2, C3, S4, C5, F6
    assert squashed == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (120,), (84,)]


@pytest.mark.parametrize(("name", "options", "printed"), PRINTED)
def test_the_count_begins_as_the_paper_prints_it(name, options, printed):
    number = printed.removesuffix(" million")
    digits = len(number.partition(".")[2])
    cut = architecture(name, **options).count() // 10 ** (6 - digits)
    assert cut == int(number.replace(".", ""))


def test_the_column_of_2012_by_its_layers():
    """29 x 29 pixels become 26, 13, 9 and 3: 40 maps of 3 x 3 are seen by 150 neurons."""
    maps = 20 * (4 * 4 + 1) + 40 * (20 * 5 * 5 + 1)
    assert maps + 150 * (40 * 3 * 3 + 1) + 10 * 151 == architecture("mcdnn_column").count()


@pytest.mark.parametrize(
    ("name", "printed"),
    [("resnet18", 1.8), ("resnet34", 3.6), ("resnet50", 3.8), ("resnet152", 11.3)],
)
def test_multiplications_are_as_many_as_the_paper_of_resnets_says(name, printed):
    """In milliards, table 1, which cuts or rounds after a digit; of parameters it says none."""
    assert architecture(name).multiplications() / 1e9 == pytest.approx(printed, abs=0.1)


def test_googlenet_against_the_parameter_column_of_its_table_1():
    """The column says K = 1024 weights, without biases."""
    network = architecture("googlenet")
    params, _ = network.init(None)
    assert weights_and_rest(params) == (6_990_272, 8_280)
    rows = [weights_and_rest([layer])[0] / 1024 for layer in params if layer]
    conv7, reduce, conv3, *modules, linear = rows
    assert (reduce + conv3, linear) == (112, 1000)
    printed = [159, 380, 364, 437, 463, 580, 840, 1072, 1388]
    column = 2.7 + 112 + sum(printed) + 1000
    assert f"{column / 1000:.1f}" == f"{sum(rows) / 1000:.1f}" == "6.8"  # as the whole is quoted
    np.testing.assert_allclose(modules, printed, rtol=0.08)
    exact = [0, 1, 3]  # 3a, 3b and 4b, to the rounding of the column
    np.testing.assert_allclose(np.take(modules, exact), np.take(printed, exact), atol=1)
    assert conv7 == 7 * 7 * 3 * 64 / 1024  # 9.2; printed is 2.7


def test_squeeze_and_excitation_costs_what_its_paper_says():
    """Two dense layers of C^2/16 weights in a block of C channels, for 3, 4, 6 and 3 blocks."""
    blocks = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    weights = sum(2 * c * c // 16 for c in blocks)
    assert weights == 2_514_944  # "about 2.5 million"
    biases = sum(c + c // 16 for c in blocks)
    more = architecture("se_resnet50").count() - architecture("resnet50").count()
    assert more == weights + biases


@pytest.mark.parametrize(
    ("name", "depth"),
    [("vgg16", 16), ("resnet18", 18), ("resnet34", 34), ("resnet50", 50), ("resnet152", 152)],
)
def test_the_number_in_a_name_counts_the_layers_with_weights(name, depth):
    """Along the main path: those of the shortcuts do not count."""
    weighing = 0
    for layer in architecture(name).layers:
        inner = layer.layers if isinstance(layer, Residual) else (layer,)
        weighing += sum(isinstance(each, (Conv, Dense)) for each in inner)
    assert weighing == depth


def test_googlenet_is_22_layers_deep():
    """The second branch of a module is the longest: two convolutions."""
    layers = architecture("googlenet").layers
    plain = sum(isinstance(layer, (Conv, Dense)) for layer in layers)
    assert plain + 2 * sum(isinstance(layer, Concat) for layer in layers) == 22


# Structure.


@pytest.mark.parametrize("name", ["googlenet", "resnet18", "resnet50", "se_resnet50", "senet154"])
def test_images_of_224_pixels_leave_maps_of_7(name):
    layers = architecture(name).layers
    last = max(n for n, layer in enumerate(layers) if isinstance(layer, (Concat, Residual)))
    assert Network(*layers[: last + 1], shape=(224, 224, 3)).output_shape()[:2] == (7, 7)


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "se_resnet50", "senet154"])
def test_a_convolution_before_a_normalisation_has_no_bias(name):
    layers = architecture(name).layers
    chains = [layers]
    for layer in layers:
        if isinstance(layer, Residual):
            chains += [layer.layers, layer.shortcut]
    convolutions = 0
    for chain in chains:
        for layer, following in pairwise(chain):
            if isinstance(layer, Conv):
                convolutions += 1
                assert isinstance(following, BatchNorm)
                assert not layer.bias
                assert layer.weight_init == "he_normal"
    assert convolutions == sum(isinstance(x, Conv) for chain in chains for x in chain) > 30


def test_nielsens_order_of_things():
    """Pooling before the activation; dropout before every dense layer, the last one too."""
    network = architecture("nielsen_conv", maps=(20,), units=(1000, 1000), dropout=0.5)
    kinds = [type(layer).__name__ for layer in network.layers]
    dense = ["Dropout", "Dense", "Activation"]
    assert kinds == ["Conv", "MaxPool", "Activation", "Flatten", *dense * 3]
    assert all(layer.rate == 0.5 for layer in network.layers if isinstance(layer, Dropout))
    assert network.layers[2] == Activation("sigmoid")
    plain = architecture("nielsen_conv")
    assert not any(isinstance(layer, Dropout) for layer in plain.layers)
    params, _ = plain.init(np.random.default_rng(0))
    assert not params[-2]["w"].any()


def test_every_neuron_of_cireşan_2010_is_a_scaled_tanh():
    network = architecture("ciresan2010")
    assert set(network.layers[1::2]) == {Activation("lecun_tanh")}
    assert network.output == "lecun_tanh"
    params, _ = architecture("ciresan2010", number=1).init(np.random.default_rng(0))
    drawn = np.concatenate([array.ravel() for layer in params for array in layer.values()])
    assert 0.0499 < np.abs(drawn).max() <= 0.05


def test_the_column_of_2012_pools_by_two_and_by_three():
    layers = architecture("mcdnn_column").layers
    assert [layer.window for layer in layers if isinstance(layer, MaxPool)] == [(2, 2), (3, 3)]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_classes_are_the_outputs(name):
    network = architecture(name, classes=7)
    assert network.output_shape() == (7,)
    assert network.output == ("lecun_tanh" if name == "ciresan2010" else "softmax")
    assert architecture(name) == architecture(name)  # values


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_description_builds_it_again(name):
    network = architecture(name)
    assert Network.from_description(network.describe(), network.shape) == network


# One step.


# Compiling is nearly all of the time. These options more than halve it.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


@partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICK)
def forward(chosen, part, params, state, x, key):
    """Return the outputs of ``part``, and what turns their gradients into those of its inputs."""
    with using(chosen):
        return jax.vjp(lambda p, x: part.apply(p, state, x, key=key, train=True)[0], params, x)


@partial(jax.jit, compiler_options=QUICK)
def backward(pull, slopes):
    return pull(slopes)


def parts(network):
    """Cut ``network`` before every residual block: blocks that are alike compile once."""
    layers = network.layers[:-1]  # logits
    cuts = [n for n, layer in enumerate(layers) if isinstance(layer, Residual) and n]
    for start, stop in zip([0, *cuts], [*cuts, len(layers)], strict=True):
        yield Network(*layers[start:stop]), slice(start, stop)


def drawn(network):
    """Draw parameters; a last layer that starts at zero sends nothing back, so it starts apart."""
    rng = np.random.default_rng(1)
    arrays = network.init(rng)
    last = arrays[0][-2]
    if not last["w"].any():
        last["w"] = rng.standard_normal(last["w"].shape)
    return jax.tree.map(lambda a: jax.device_put(a.astype(np.float32)), arrays)


def ahead(chosen, network, params, state, x, labels):
    """Return the logits, their mean cross-entropy, its slopes, and what turns them round."""
    key, pulls = jax.random.key(0), []
    for part, where in parts(network):
        x, pull = forward(chosen, part, params[where], state[where], x, key)
        pulls.append(pull)
    wanted = jax.nn.one_hot(labels, x.shape[-1])
    cost = -(wanted * jax.nn.log_softmax(x)).sum() / len(x)
    return x, cost, (jax.nn.softmax(x) - wanted) / len(x), pulls


def slopes_of(pulls, slopes):
    """Return the gradient for the parameters of each layer but the last activation."""
    gradient = []
    for pull in reversed(pulls):
        found, slopes = backward(pull, slopes)
        gradient = [*found, *gradient]
    return gradient


@pytest.mark.parametrize(("name", "options"), SMALL)
@pytest.mark.parametrize(
    "chosen", [Kernels("backend", "plain"), usual("float32", "cpu")], ids=["backend", "cpu"]
)
def test_one_step_reaches_every_parameter_and_lowers_the_cost(chosen, name, options):
    network = architecture(name, **options)
    params, state = drawn(network)
    x = np.random.default_rng(2).standard_normal((2, *network.shape), np.float32)
    here = chosen, network, params, state, x, np.array([3, 7])
    z, cost, slopes, pulls = ahead(*here)
    assert z.shape == (2, 10)
    assert np.isfinite(z).all()
    gradient = slopes_of(pulls, slopes)
    assert params[-1] == {}  # of the softmax
    for layer, (slopes, values) in enumerate(zip(gradient, params[:-1], strict=True)):
        assert slopes.keys() == values.keys()
        for path, slope in slopes.items():
            assert np.isfinite(slope).all(), f"layer {layer}, {path}"
            assert np.any(slope != 0), f"layer {layer}, {path}"
    # so short a step that the cost should fall by a hundredth of itself
    length = 0.01 * cost / sum(jnp.vdot(each, each) for each in jax.tree.leaves(gradient))
    after = jax.tree.map(lambda w, g: w - length * g, params[:-1], tuple(gradient))
    lower = ahead(chosen, network, (*after, {}), *here[3:])[1]
    assert cost - lower == pytest.approx(0.01 * cost, rel=0.5)


# Names.


def test_a_name_that_is_not_there():
    with pytest.raises(ValueError, match=r"architecture must be one of lenet5, .*'resnet50'\?"):
        architecture("resnet5O")


def test_an_option_that_is_not_there():
    with pytest.raises(ValueError, match=r"lenet5 must be among classes, shape; got width\."):
        architecture("lenet5", width=8)
    with pytest.raises(ValueError, match=r"table 1, 1 to 5; got 6\."):
        architecture("ciresan2010", number=6)


@pytest.mark.parametrize("build", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_each_says_paper_and_count(build):
    assert re.search(r"\b(1998|2003|201\d|2020)\b", build.__doc__)
    assert ".count()" in build.__doc__
    assert {"classes", "shape"} <= set(inspect.signature(build).parameters)


def test_the_page_gives_these_counts():
    row = re.compile(r"^\| `(\w+)(?:\(number=(\d)\))?` \|.*?\| \d{4} \| ([\d,]+) \| (.*?) \|", re.M)
    rows = row.findall(PAGE.read_text("utf-8"))
    assert len(rows) == len(ARCHITECTURES) + 4  # five of Cireşan
    assert {name for name, *_ in rows} == set(ARCHITECTURES)
    published = {(name, options.get("number")): text for name, options, text in PRINTED}
    for name, number, count, text in rows:
        options = {"number": int(number)} if number else {}
        assert architecture(name, **options).count() == int(count.replace(",", ""))
        usual_number = 4 if name == "ciresan2010" else None
        wanted = published.pop((name, options.get("number", usual_number)), text)
        assert text == wanted
    assert published == {}
