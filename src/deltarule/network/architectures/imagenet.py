"""Deep chains for photographs: AlexNet 2012, VGG-16 and GoogLeNet 2014. Read ``digits.py`` first.

Their papers draw weights from N(0, 0.01^2), or do not say; here they are of variance 2/n (He et al.
2015), which needs no pre-training. ``classes`` and ``shape`` are those of ImageNet.
"""

from deltarule.network.layers.blocks import Concat
from deltarule.network.layers.chain import Layers
from deltarule.network.layers.contract import Layer, Shape
from deltarule.network.layers.convolution import Conv, Padding
from deltarule.network.layers.dense import Activation, Dense, Dropout, Flatten
from deltarule.network.layers.norms import LocalResponseNorm
from deltarule.network.layers.pooling import GlobalAvgPool, MaxPool
from deltarule.network.network import Network

_RELU = Activation("relu")

_VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # column D: convolutions, maps

# Table 1 of the GoogLeNet paper: maps of 1 x 1; 3 x 3 reduce, 3 x 3; 5 x 5 reduce, 5 x 5; pool.
_INCEPTION_3 = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))
_INCEPTION_4 = (
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
)  # fmt: skip
_INCEPTION_5 = ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))


def alexnet(*, classes: int = 1000, shape: Shape = (224, 224, 3), units: int = 4096) -> Network:
    """Build AlexNet: five convolutions, two dense layers of 4096, and a softmax of 1000.

    Krizhevsky, Sutskever and Hinton 2012, ImageNet classification with deep convolutional neural
    networks, NIPS, section 3.5. The second, fourth and fifth convolution have two groups, one for
    each of the two GPUs of the time. The paper's 55 x 55 maps need two zeros around its 224 x 224
    pixels. ``units`` is the width of the dense layers.

    The paper says 60 million parameters; its layers make 60,965,224, all of them here. Biases start
    at 0; the paper starts those of some layers at 1.

    >>> alexnet().count()
    60965224
    """
    return Network(
        *_conv(96, 11, stride=4, padding=2), LocalResponseNorm(), MaxPool(3, 2),
        *_conv(256, 5, groups=2), LocalResponseNorm(), MaxPool(3, 2),
        *_conv(384, 3), *_conv(384, 3, groups=2), *_conv(256, 3, groups=2), MaxPool(3, 2),
        *_dense_head(units, classes),
        shape=shape,
    )  # fmt: skip


def vgg16(*, classes: int = 1000, shape: Shape = (224, 224, 3), units: int = 4096) -> Network:
    """Build VGG-16: thirteen convolutions of 3 x 3, halved by pooling five times, and three dense.

    Simonyan and Zisserman 2015, Very deep convolutional networks for large-scale image recognition,
    ICLR, table 1, column D. ``units`` is the width of the dense layers.

    The paper says 138 million parameters (table 2); its layers make 138,357,544, all of them here.

    >>> vgg16().count()
    138357544
    """
    layers: list[Layer] = []
    for convolutions, maps in _VGG16:
        layers += [*_conv(maps, 3) * convolutions, MaxPool(2)]
    return Network(*layers, *_dense_head(units, classes), shape=shape)


def googlenet(*, classes: int = 1000, shape: Shape = (224, 224, 3)) -> Network:
    """Build GoogLeNet: three convolutions, nine inception modules, and the mean of each map.

    Szegedy et al. 2015, Going deeper with convolutions, CVPR, table 1 and figure 3. The two
    auxiliary outputs, which help training and are dropped at prediction, are left out. Pooling is
    3 x 3 of stride 2, "same" as in the figure.

    The layers make 6,990,272 weights and 8,280 biases: 6,998,552, as in public libraries. The
    paper's table gives weights in units of 1024: the rows of the second convolution and of the last
    layer agree, those of 3a, 3b and 4b to the rounding; other modules differ by up to 8 %, and the
    first convolution has 9.2, not 2.7.

    >>> googlenet().count()
    6998552
    """
    shrink = MaxPool(3, 2, padding="same")
    return Network(
        *_conv(64, 7, stride=2), shrink, LocalResponseNorm(),
        *_conv(64, 1), *_conv(192, 3), LocalResponseNorm(), shrink,
        *(_inception(*maps) for maps in _INCEPTION_3), shrink,
        *(_inception(*maps) for maps in _INCEPTION_4), shrink,
        *(_inception(*maps) for maps in _INCEPTION_5), GlobalAvgPool(),
        Dropout(0.4), Dense(classes), Activation("softmax"),
        shape=shape,
    )  # fmt: skip


def _inception(one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> Concat:
    """What a 1 x 1, a 3 x 3 and a 5 x 5 convolution see, and the largest neighbours; figure 2b."""
    return Concat(
        (
            _conv(one, 1),
            (*_conv(reduce3, 1), *_conv(three, 3)),
            (*_conv(reduce5, 1), *_conv(five, 5)),
            (MaxPool(3, 1, padding="same"), *_conv(pool, 1)),
        )
    )


def _conv(
    maps: int, kernel: int, *, stride: int = 1, padding: Padding = "same", groups: int = 1
) -> Layers:
    conv = Conv(maps, kernel, stride, padding, groups=groups, weight_init="he_normal")
    return conv, _RELU


def _dense_head(units: int, classes: int) -> Layers:
    """Two dense layers of which training drops one half, and a softmax (AlexNet and VGG)."""
    hidden = (Dense(units, "he_normal"), _RELU, Dropout(0.5))
    return Flatten(), *hidden, *hidden, Dense(classes), Activation("softmax")
