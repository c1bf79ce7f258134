"""The threshold unit: its gates, and what one unit can and cannot compute."""

from itertools import product

import pytest

from deltarule.textbook import AND, NAND, NOT, OR, McCullochPitts, xor

INPUTS = list(product((0, 1), repeat=2))


@pytest.mark.parametrize(
    ("gate", "truth"),
    [
        (AND, lambda a, b: a and b),
        (OR, lambda a, b: a or b),
        (NAND, lambda a, b: not (a and b)),
        (xor, lambda a, b: a != b),
    ],
    ids=["AND", "OR", "NAND", "xor"],
)
def test_gates_of_two_inputs(gate, truth):
    assert [gate(a, b) for a, b in INPUTS] == [int(truth(a, b)) for a, b in INPUTS]


def test_not():
    assert (NOT(0), NOT(1)) == (1, 0)


def test_the_threshold_itself_fires():
    assert McCullochPitts((0.5, 0.25), threshold=0.75)(1, 1) == 1
    assert McCullochPitts((0.5, 0.25), threshold=0.7500001)(1, 1) == 0


def test_one_unit_computes_all_but_two_of_the_sixteen_functions():
    weights, thresholds = range(-2, 3), [k + 0.5 for k in range(-4, 4)]
    computed = {
        tuple(McCullochPitts((w1, w2), threshold)(*x) for x in INPUTS)
        for w1, w2, threshold in product(weights, weights, thresholds)
    }
    xor_table = (0, 1, 1, 0)
    same_table = (1, 0, 0, 1)
    assert set(product((0, 1), repeat=4)) - computed == {xor_table, same_table}


def test_wrong_inputs_are_refused_in_words():
    with pytest.raises(ValueError, match="one input for each of the 2 weights, got 3"):
        AND(1, 1, 1)
    with pytest.raises(ValueError, match=r"only 0 and 1, got \(0.5, 1\)"):
        OR(0.5, 1)
