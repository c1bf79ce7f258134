"""Networks that read handwritten digits, 1998 to 2015. Read ``layers/`` first."""

from collections.abc import Sequence

from deltarule.network.layers.contract import Layer, Shape
from deltarule.network.layers.convolution import Conv
from deltarule.network.layers.dense import Activation, Dense, Dropout, Flatten
from deltarule.network.layers.pooling import AvgPool, MaxPool
from deltarule.network.network import Network

_CIRESAN = {  # table 1 of the paper: the hidden layers of each network
    1: (1000, 500),
    2: (1500, 1000, 500),
    3: (2000, 1500, 1000, 500),
    4: (2500, 2000, 1500, 1000, 500),
    5: (1000,) * 9,
}


def lenet5(*, classes: int = 10, shape: Shape = (28, 28, 1)) -> Network:
    """Build LeNet-5: 6C5 - mean 2 - 16C5 - mean 2 - 120 - 84 - 10, scaled tanh throughout.

    LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition,
    Proc. IEEE 86(11), section II.B. The first convolution pads the 28 x 28 digit to the 32 x 32
    field of the paper.

    The paper counts 60,000 trainable parameters; ours are 61,706. Pooling has no coefficient and
    bias for each map (- 12 - 32); C3 sees all six maps instead of chosen ones (2,416 - 1,516 =
    + 900); the last layer is dense and softmax instead of radial functions with fixed centres
    (+ 850). Weights are of variance 1/n, the paper's are uniform in +-2.4/n.

    >>> lenet5().count()
    61706
    """
    init, squash = "lecun_uniform", Activation("lecun_tanh")
    return Network(
        Conv(6, 5, padding=2, weight_init=init), squash, AvgPool(2),
        Conv(16, 5, weight_init=init), squash, AvgPool(2), Flatten(),
        Dense(120, init), squash,
        Dense(84, init), squash,
        Dense(classes, init), Activation("softmax"),
        shape=shape,
    )  # fmt: skip


def simard2003(*, classes: int = 10, shape: Shape = (29, 29, 1)) -> Network:
    """Build Simard's network: 5C5/2 - 50C5/2 - 100 - 10, convolutions of stride 2 and no pooling.

    Simard, Steinkraus and Platt 2003, Best practices for convolutional neural networks applied to
    visual document analysis, ICDAR. 29 x 29 pixels leave maps of 13 x 13 and of 5 x 5.

    The paper gives no count; by its layers 130 + 6,300 + 125,100 + 1,010 = 132,540, all of them
    here. Weights are of variance 1/n, and hidden neurons have the scaled tanh.

    >>> simard2003().count()
    132540
    """
    squash = Activation("lecun_tanh")
    return Network(
        Conv(5, 5, stride=2), squash, Conv(50, 5, stride=2), squash, Flatten(),
        Dense(100), squash,
        Dense(classes), Activation("softmax"),
        shape=shape,
    )  # fmt: skip


def ciresan2010(number: int = 4, *, classes: int = 10, shape: Shape = (841,)) -> Network:
    """Build a plain network of Cireşan 2010, by its ``number`` in the paper's table, 1 to 5.

    Cireşan, Meier, Gambardella and Schmidhuber 2010, Deep, big, simple neural nets for handwritten
    digit recognition, Neural Computation 22(12), table 1. The fourth, 2500 - 2000 - 1500 - 1000 -
    500 - 10, had 0.35 % errors. Inputs are the digits at 29 x 29 pixels, one after another; every
    neuron, those of the last layer too, has the scaled tanh (B = 0.6666 there, 2/3 here).

    The paper counts 1.34, 3.26, 6.69, 12.11 and 8.86 million weights; ours are the same with their
    last digits. Weights and biases start uniform in +-0.05, as there.

    >>> [ciresan2010(number).count() for number in range(1, 6)]
    [1347510, 3269510, 6692010, 12115010, 8860010]
    """
    if number not in _CIRESAN:
        raise ValueError(f"number must be a row of the paper's table 1, 1 to 5; got {number!r}.")
    init, squash = "small_uniform", Activation("lecun_tanh")
    layers: list[Layer] = []
    for units in (*_CIRESAN[number], classes):
        layers += [Dense(units, init, init), squash]
    return Network(*layers, shape=shape)


def mcdnn_column(*, classes: int = 10, shape: Shape = (29, 29, 1)) -> Network:
    """Build one column of the committee of 2012: 20C4 - MP2 - 40C5 - MP3 - 150N - 10N.

    Cireşan, Meier and Schmidhuber 2012, Multi-column deep neural networks for image classification,
    CVPR, section 3.1 (arXiv 1202.2745). Five such columns for each of seven widths of the digits
    had 0.23 % errors.

    The paper gives no count; by its layers 340 + 20,040 + 54,150 + 1,510 = 76,040, all of them
    here. Weights and biases start uniform in +-0.05, as there.

    >>> mcdnn_column().count()
    76040
    """
    init, squash = "small_uniform", Activation("lecun_tanh")
    return Network(
        Conv(20, 4, weight_init=init, bias_init=init), squash, MaxPool(2),
        Conv(40, 5, weight_init=init, bias_init=init), squash, MaxPool(3), Flatten(),
        Dense(150, init, init), squash,
        Dense(classes, init, init), Activation("softmax"),
        shape=shape,
    )  # fmt: skip


def nielsen_conv(
    *,
    maps: Sequence[int] = (20, 40),
    units: Sequence[int] = (100,),
    activation: str = "sigmoid",
    dropout: float = 0.0,
    weight_init: str = "scaled_normal",
    classes: int = 10,
    shape: Shape = (28, 28, 1),
) -> Network:
    """Build a network of Nielsen's sixth chapter: 20C5 - MP2 - 40C5 - MP2 - 100 - 10 by default.

    Nielsen 2015, Neural Networks and Deep Learning, chapter 6 and network3.py. ``maps`` says the
    convolutions, ``units`` the fully connected layers after them.

        98.78 %   maps=(20,)
        99.06 %   (the defaults)
        99.23 %   activation="relu"
        99.60 %   activation="relu", units=(1000, 1000), dropout=0.5, and shifted digits

    As there, pooling comes before the activation, each dense layer drops a share of its inputs,
    the softmax layer starts at zero and biases are standard normal. The weights of the others are
    of variance 1/n_out there and ``weight_init`` here; what is kept at dropout is divided by
    1 - dropout while training here, multiplied by it at prediction there.

    The book gives no counts; by its layers 520 + 20,040 + 64,100 + 1,010 = 85,670.

    >>> nielsen_conv().count(), nielsen_conv(maps=(20,)).count()
    (85670, 289630)
    """
    act, biases = Activation(activation), "standard_normal"
    dropped: list[Layer] = [Dropout(dropout)] if dropout else []
    layers: list[Layer] = []
    for filters in maps:
        layers += [Conv(filters, 5, weight_init=weight_init, bias_init=biases), MaxPool(2), act]
    layers.append(Flatten())
    for count in units:
        layers += [*dropped, Dense(count, weight_init, biases), act]
    return Network(*layers, *dropped, Dense(classes, "zeros"), Activation("softmax"), shape=shape)
