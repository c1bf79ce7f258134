"""The convolutional networks of Nielsen's book, chapter 6, from 98.78 % to the vote of five.

The book's program (network3.py) steps by the mean of a batch's gradients, so eta is the learning
rate. Its L2 term is lambda/2 |w|^2 over the number of mini-batches, so that l2 here is lambda over
5 000, and over 25 000 where the digits are shifted. It reports the test accuracy at the epoch of
best validation accuracy, of the best of three runs. What it does otherwise: it never shuffles, and
starts weights from N(0, 1/n_out); here every epoch is shuffled and weights are N(0, 1/n_in), or
N(0, 2/n_in) before relu. His dropout leaves what is kept as it is and halves the weights at
prediction; ours doubles what is kept. With W = 2W' in the dense layers both networks are the same,
and since dC/dW' = 2 dC/dW, a step of eta on W is one of eta/4 on W'. At 0.03 itself, four times his
pace, a seed of the two tried stayed at chance. Kernels and biases have the same gradients in both
programs, so at the one rate of eta/4 they learn at a quarter of his pace.

Read ``experiment.py`` first; the fully connected networks are in ``nielsen.py``.
"""

from collections.abc import Sequence

from deltarule import Recipe
from deltarule.network.architectures.digits import nielsen_conv
from deltarule.papers.experiment import Experiment, Study, Vote

BATCHES = 5_000  # of ten images in an epoch; five times as many where they are shifted

KEPT = 0.5  # the share of its inputs that a dense layer sees where there is dropout

_NOTES = (
    "The claim is the one of the author's three runs that was best on the validation set. His "
    "program never shuffles and starts weights from N(0, 1/n_out)."
)
_SCALED = (
    "His dropout scales by a half at prediction, ours by two while training, so that his dense "
    "weights are twice ours, and a step of his rate, 0.03, moves ours as far as a quarter of it, "
    "0.0075. Kernels and biases have that rate too, a quarter of his."
)


def _recipe(learning_rate: float, lmbda: float = 0.0, *, epochs: int = 60, batches: int) -> Recipe:
    """Return the recipe of ``network3.py``; early stopping keeps the best epoch and never stops."""
    return Recipe(
        learning_rate=learning_rate, l2=lmbda / batches, batch_size=10, epochs=epochs,
        early_stopping=epochs, monitor="validation_accuracy",
    )  # fmt: skip


def _sigmoid(name: str, maps: Sequence[int], claimed: float) -> Experiment:
    layers = "-".join(f"{count}C5-MP2" for count in maps)
    return Experiment(
        name=f"nielsen-ch6-{name}",
        title=f"{layers}-100-10, sigmoid",
        source="chapter 6",
        network=nielsen_conv(maps=maps),
        recipe=_recipe(0.1, batches=BATCHES),
        claimed=claimed,
        report="test",
        watched="validation",
        notes=_NOTES,
    )


def _relu(name: str, units: Sequence[int], claimed: float, *, shifted: bool = True) -> Experiment:
    dense = "-".join(map(str, units))
    return Experiment(
        name=f"nielsen-ch6-{name}",
        title=f"20C5-MP2-40C5-MP2-{dense}-10, relu, L2{', shifts' if shifted else ''}",
        source="chapter 6",
        network=nielsen_conv(units=units, activation="relu", weight_init="he_normal"),
        recipe=_recipe(0.03, 0.1, batches=5 * BATCHES if shifted else BATCHES),
        claimed=claimed,
        report="test",
        watched="validation",
        shifted=shifted,
        notes=_NOTES,
    )


_DROPOUT = Experiment(
    name="nielsen-ch6-dropout",
    title="20C5-MP2-40C5-MP2-1000-1000-10, relu, dropout 0.5, shifts",
    source="chapter 6",
    network=nielsen_conv(
        units=(1000, 1000), activation="relu", dropout=1 - KEPT, weight_init="he_normal"
    ),
    recipe=_recipe(0.03 * KEPT**2, epochs=40, batches=5 * BATCHES),
    claimed=99.60,
    report="test",
    watched="validation",
    shifted=True,
    notes=f"{_NOTES} {_SCALED}",
)

STUDY = Study(
    name="nielsen-ch6",
    citation=(
        "M. A. Nielsen, Neural Networks and Deep Learning, Determination Press 2015, chapter 6, "
        "neuralnetworksanddeeplearning.com"
    ),
    experiments=(
        _sigmoid("conv1", (20,), 98.78),
        _sigmoid("conv2", (20, 40), 99.06),
        _relu("relu", (100,), 99.23, shifted=False),
        _relu("shifts", (100,), 99.37),
        _relu("shifts-300", (300,), 99.46),
        _relu("shifts-1000", (1000,), 99.43),
        _relu("shifts-100-100", (100, 100), 99.43),
        _relu("shifts-300-300", (300, 300), 99.48),
        _relu("shifts-1000-1000", (1000, 1000), 99.47),
        _DROPOUT,
        Vote(
            name="nielsen-ch6-vote",
            title="vote of five such networks",
            source="chapter 6",
            claimed=99.67,
            of=_DROPOUT,
            notes=f"{_NOTES} {_SCALED}",
        ),
    ),
)
