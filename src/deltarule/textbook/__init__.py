"""The textbook: from the first neuron to backpropagation, in NumPy and nothing else.

Read the files in the order of their years; each is one sitting or less:

1. ``neuron.py``      a threshold unit computes logic, one layer at a time      (1943)
2. ``perceptron.py``  a neuron learns from its mistakes                         (1957)
3. ``adaline.py``     a neuron learns from its error: the delta rule            (1960)
4. ``network.py``     layers of neurons learn by backpropagation                (1986)
5. ``gradcheck.py``   how to know that a gradient is right

The code keeps the book's symbols (``docs/notation.md`` lists them): w, b, z, a, delta, eta. "The
book" is Nielsen's *Neural Networks and Deep Learning* (2015, neuralnetworksanddeeplearning.com);
"the talk" is the lecture notebook that ``deltarule reproduce talk`` runs again.

Leaves out: speed. The engine (``deltarule.network``, ``deltarule.learning``) computes the same
networks fast, and is tested against these pages.
"""

from deltarule.textbook.adaline import Adaline, largest_learning_rate
from deltarule.textbook.gradcheck import GradientCheck, gradcheck
from deltarule.textbook.network import CrossEntropyCost, Network, QuadraticCost, sigmoid
from deltarule.textbook.neuron import AND, NAND, NOT, OR, McCullochPitts, xor
from deltarule.textbook.perceptron import Perceptron, mistake_bound

__all__ = [
    "AND",
    "NAND",
    "NOT",
    "OR",
    "Adaline",
    "CrossEntropyCost",
    "GradientCheck",
    "McCullochPitts",
    "Network",
    "Perceptron",
    "QuadraticCost",
    "gradcheck",
    "largest_learning_rate",
    "mistake_bound",
    "sigmoid",
    "xor",
]
