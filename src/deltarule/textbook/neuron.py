"""The first neuron: McCulloch and Pitts' threshold unit (1943).

A neuron has inputs x_1 ... x_n, each 0 or 1. Each input has a weight w_i, and the neuron a
threshold θ. It fires if the weighted sum of its inputs reaches the threshold:

    output = 1   if  w_1 x_1 + ... + w_n x_n >= θ
             0   otherwise

Nothing is learned here. Somebody chooses the weights and the threshold, and the neuron is then a
logical gate. Gates feed gates, so layers of such neurons compute any logical function; one neuron
alone does not, as `xor` shows at the end of the page.

Read before: nothing, this is the first page. Read next: perceptron.py.

Source: W. S. McCulloch and W. Pitts, "A logical calculus of the ideas immanent in nervous
activity", Bulletin of Mathematical Biophysics 5 (1943), 115-133. That one unit has no XOR is made
a theory in M. Minsky and S. Papert, "Perceptrons" (1969).

Leaves out: time (the paper's neurons fire in steps, and may form loops that remember), and the
paper's inhibition, where one inhibitory input silences the neuron whatever the others say. Here,
as in everything that came later, an inhibitory input is one with a negative weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class McCullochPitts:
    """A neuron with fixed ``weights`` (one for each input) and a fixed ``threshold``.

    Call it with its inputs, each 0 or 1; it answers 1 (it fires) or 0.

    Raises ``ValueError`` if the number of inputs is not the number of weights, or an input is
    neither 0 nor 1.

    >>> majority = McCullochPitts(weights=(1, 1, 1), threshold=2)
    >>> majority(1, 0, 1), majority(0, 0, 1)
    (1, 0)
    """

    weights: Sequence[float]
    threshold: float

    def __call__(self, *x: int) -> int:
        """Return 1 if the weighted sum of the inputs ``x`` reaches the threshold, else 0."""
        if len(x) != len(self.weights):
            raise ValueError(
                f"x must hold one input for each of the {len(self.weights)} weights, "
                f"got {len(x)}; give the neuron as many inputs as weights."
            )
        if any(x_i not in (0, 1) for x_i in x):
            raise ValueError(f"x must hold only 0 and 1, got {x}; this neuron is a logical gate.")
        weighted_sum = sum(w_i * x_i for w_i, x_i in zip(self.weights, x, strict=True))
        return 1 if weighted_sum >= self.threshold else 0


AND = McCullochPitts(weights=(1, 1), threshold=2)  # both inputs are needed to reach 2
OR = McCullochPitts(weights=(1, 1), threshold=1)  # one is enough to reach 1
NOT = McCullochPitts(weights=(-1,), threshold=0)  # an active input pulls the sum below 0
NAND = McCullochPitts(weights=(-1, -1), threshold=-1)  # only both together pull it below -1


def xor(x1: int, x2: int) -> int:
    """Return 1 if exactly one of ``x1`` and ``x2`` is 1: a circuit of two layers.

    One neuron cannot do it. Suppose that weights w_1, w_2 and a threshold θ did. Then

        xor(0, 0) = 0   asks for           0 <  θ       (1)
        xor(1, 0) = 1   asks for         w_1 >= θ       (2)
        xor(0, 1) = 1   asks for         w_2 >= θ       (3)
        xor(1, 1) = 0   asks for   w_1 + w_2 <  θ       (4)

    and (2) + (3) gives w_1 + w_2 >= 2θ, which by (1) is more than θ: the opposite of (4).

    In the plane the neuron draws a straight line and fires on one side of it; no line has (0, 1)
    and (1, 0) on one side, (0, 0) and (1, 1) on the other. A first layer that draws two lines, OR
    and NAND, and a second that asks for the strip between them, AND, does it.

    >>> [xor(x1, x2) for x1, x2 in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    [0, 1, 1, 0]
    """
    either, not_both = OR(x1, x2), NAND(x1, x2)  # first layer
    return AND(either, not_both)  # second layer
