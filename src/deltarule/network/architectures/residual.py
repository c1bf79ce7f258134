"""Residual networks, 2015, and squeeze and excitation, 2017. Read ``imagenet.py`` first.

All are a stem, four stages of residual blocks, and the mean of each map. A stage doubles the maps
and halves the image in its first block, whose shortcut is then a convolution; "option B" of the
paper. Every convolution is followed by batch normalisation and has no bias. Counts are of what is
learned: scale and shift of the normalisations, not their running averages. Weights are of variance
2/n, as in the papers.

``width`` is the number of maps of the first stage, 64 in the papers.
"""

from collections.abc import Callable, Sequence

from deltarule.network.layers.blocks import Residual, Scale
from deltarule.network.layers.chain import Layers
from deltarule.network.layers.contract import Layer, Shape
from deltarule.network.layers.convolution import Conv
from deltarule.network.layers.dense import Activation, Dense, Dropout
from deltarule.network.layers.norms import BatchNorm
from deltarule.network.layers.pooling import GlobalAvgPool, MaxPool
from deltarule.network.network import Network

Block = Callable[[int, int], Layers]  # maps of the stage, stride -> the layers beside the shortcut

_EXPANSION = 4  # a bottleneck gives four times the maps of its stage
_REDUCTION = 16  # squeeze and excitation: channels over hidden units
_RELU = Activation("relu")


def resnet18(*, classes: int = 1000, shape: Shape = (224, 224, 3), width: int = 64) -> Network:
    """Build ResNet-18: 2, 2, 2 and 2 blocks of two 3 x 3 convolutions.

    He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, CVPR, table 1. The
    paper gives no count; its layers make 11,689,512, as in public libraries.

    >>> resnet18().count()
    11689512
    """
    return _resnet((2, 2, 2, 2), _basic, 1, classes, shape, width)


def resnet34(*, classes: int = 1000, shape: Shape = (224, 224, 3), width: int = 64) -> Network:
    """Build ResNet-34: 3, 4, 6 and 3 blocks of two 3 x 3 convolutions.

    He et al. 2016, table 1 and figure 3, with projections as shortcuts (option B). The paper gives
    no count; its layers make 21,797,672, as in public libraries.

    >>> resnet34().count()
    21797672
    """
    return _resnet((3, 4, 6, 3), _basic, 1, classes, shape, width)


def resnet50(*, classes: int = 1000, shape: Shape = (224, 224, 3), width: int = 64) -> Network:
    """Build ResNet-50: 3, 4, 6 and 3 bottlenecks of 1 x 1, 3 x 3 and 1 x 1 convolutions.

    He et al. 2016, table 1. The stride of 2 is in the first 1 x 1 convolution, as in the authors'
    release; many libraries have it in the 3 x 3. The paper gives no count; its layers make
    25,557,032, as in public libraries.

    >>> resnet50().count()
    25557032
    """
    return _resnet((3, 4, 6, 3), _bottleneck, _EXPANSION, classes, shape, width)


def resnet152(*, classes: int = 1000, shape: Shape = (224, 224, 3), width: int = 64) -> Network:
    """Build ResNet-152: 3, 8, 36 and 3 bottlenecks, the largest of the winner of 2015.

    He et al. 2016, table 1; otherwise as ``resnet50``. The paper gives no count; its layers make
    60,192,808, as in public libraries.

    >>> resnet152().count()
    60192808
    """
    return _resnet((3, 8, 36, 3), _bottleneck, _EXPANSION, classes, shape, width)


def se_resnet50(*, classes: int = 1000, shape: Shape = (224, 224, 3), width: int = 64) -> Network:
    """Build SE-ResNet-50: every bottleneck of ResNet-50 weighs its channels before it is added.

    Hu, Shen and Sun 2018, Squeeze-and-excitation networks, CVPR, table 1 and figure 3, reduction
    16. The paper says about 2.5 million more than ResNet-50, which is 2/16 of the sum of the
    squared channels of all blocks: 2,514,944. The biases of the dense layers add 16,048. All make
    28,088,024, as in public libraries.

    >>> se_resnet50().count() - resnet50().count()
    2530992
    """
    return _resnet((3, 4, 6, 3), _se_bottleneck, _EXPANSION, classes, shape, width)


def senet154(
    *,
    classes: int = 1000,
    shape: Shape = (224, 224, 3),
    width: int = 64,
    groups: int = 64,
) -> Network:
    """Build SENet-154, of the winner of the last ILSVRC, 2017.

    Hu, Shen, Albanie, Sun and Wu 2020, Squeeze-and-excitation networks, IEEE TPAMI 42(8), appendix
    (arXiv 1709.01507). ResNet-152 with 64 ``groups`` in the 3 x 3 convolutions, which are twice as
    wide as in a bottleneck of that width, and: squeeze and excitation; half as many maps in the
    first 1 x 1 convolution; three 3 x 3 convolutions as the stem; projections of 3 x 3 where the
    image is halved; dropout of 0.2 before the last layer. The paper gives no count; its layers make
    115,088,984, as in public libraries.

    >>> senet154().count()
    115088984
    """

    def block(maps: int, stride: int) -> Layers:
        out = _EXPANSION * maps
        return (
            *_conv(2 * maps, 1), _RELU,
            *_conv(out, 3, stride, groups), _RELU,
            *_conv(out, 1), _excitation(out),
        )  # fmt: skip

    stem = (
        *_conv(width, 3, 2), _RELU, *_conv(width, 3), _RELU, *_conv(2 * width, 3), _RELU,
        MaxPool(3, 2, padding="same"),
    )  # fmt: skip
    stages = _stages((3, 8, 36, 3), block, width, 2 * width, _EXPANSION, projection=3)
    return Network(*stem, *stages, *_head(classes, dropout=0.2), shape=shape)


def _resnet(
    blocks: Sequence[int], block: Block, expansion: int, classes: int, shape: Shape, width: int
) -> Network:
    stem = (*_conv(width, 7, 2), _RELU, MaxPool(3, 2, padding=1))
    stages = _stages(blocks, block, width, width, expansion)
    return Network(*stem, *stages, *_head(classes), shape=shape)


def _stages(
    blocks: Sequence[int],
    block: Block,
    width: int,
    channels: int,
    expansion: int,
    projection: int = 1,
) -> list[Layer]:
    """Return so many blocks a stage for images of ``channels``.

    ``projection`` is the kernel of the shortcuts that halve the image.
    """
    layers: list[Layer] = []
    for stage, count in enumerate(blocks):
        maps = width * 2**stage
        out = expansion * maps
        for position in range(count):
            stride = 2 if stage > 0 and position == 0 else 1
            same = stride == 1 and channels == out
            kernel = 1 if stride == 1 else projection
            shortcut = () if same else _conv(out, kernel, stride)
            layers += [Residual(block(maps, stride), shortcut), _RELU]
            channels = out
    return layers


def _basic(maps: int, stride: int) -> Layers:
    return *_conv(maps, 3, stride), _RELU, *_conv(maps, 3)


def _bottleneck(maps: int, stride: int) -> Layers:
    narrow = (*_conv(maps, 1, stride), _RELU, *_conv(maps, 3), _RELU)
    return *narrow, *_conv(_EXPANSION * maps, 1)


def _se_bottleneck(maps: int, stride: int) -> Layers:
    return *_bottleneck(maps, stride), _excitation(_EXPANSION * maps)


def _excitation(channels: int) -> Scale:
    """Return a factor for each channel, worked out from the means of all of them."""
    squeeze = (GlobalAvgPool(), Dense(channels // _REDUCTION, "he_normal"), _RELU)
    return Scale((*squeeze, Dense(channels), Activation("sigmoid")))


def _conv(maps: int, kernel: int, stride: int = 1, groups: int = 1) -> Layers:
    """Return a convolution and its normalisation; as many zeros on every side as keep the size."""
    conv = Conv(
        maps, kernel, stride, padding=kernel // 2, groups=groups, bias=False,
        weight_init="he_normal",
    )  # fmt: skip
    return conv, BatchNorm()


def _head(classes: int, dropout: float = 0.0) -> Layers:
    dropped = (Dropout(dropout),) if dropout else ()
    return GlobalAvgPool(), *dropped, Dense(classes), Activation("softmax")
