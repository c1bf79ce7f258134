"""Illnesses of the data: inputs out of scale, and the same examples on both sides of a split."""

import itertools
from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from deltarule.data import Dataset
from deltarule.data.unread import in_parts
from deltarule.learning.health.case import ILL, SUSPICIOUS, Finding, percent

INPUTS, SHARING = "inputs not scaled", "shared examples"

# Weights start so that inputs of mean square 1 fit ("Efficient BackProp", section 4.6); a factor
# of ten saturates sigmoids or makes the steepest direction a hundred times steeper.
TOO_LARGE, TOO_SMALL = 10.0, 0.01  # root mean square of the inputs
OFF_CENTRE = 3.0  # means in spreads; then one direction is about ten times as steep as the others
UNEVEN = 100.0  # between spreads; the ratio of curvatures is its square
SHARED = 0.01  # of a part: less may be chance or a few slips, more moves the accuracy

STANDARDIZE = (
    "Subtract the mean of each input and divide by its spread, both of the training set, or let "
    "a Standardize() layer in front of the network do it."
)


def inputs(x: np.ndarray, image: bool) -> list[Finding]:
    """Judge the inputs x [n, ...] as they reach the first layer with weights.

    The pixels of an ``image`` have one unit, so that their spreads may differ.
    """
    rows = x.reshape(len(x), -1).astype(np.float64)
    size = float(np.sqrt(np.square(rows).mean()))
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    varies = spread > 1e-9 * np.abs(rows).max(initial=0)
    if not varies.any():
        sentence = f"All {len(x):,} inputs that were looked at are the same."
        return [Finding(INPUTS, ILL, sentence, "Look at how the data were read.")]
    off = float(np.median(np.abs(mean[varies]) / spread[varies]))
    uneven = 1.0 if image else float(spread[varies].max() / spread[varies].min())
    if not TOO_SMALL < size < TOO_LARGE:
        severity = ILL
        sentence = (
            f"The inputs have a root mean square of {size:.3g}, and mean {rows.mean():.3g}; "
            "weights start for about 1."
        )
    elif off > OFF_CENTRE:
        severity = SUSPICIOUS
        sentence = (
            f"The inputs are off centre: half of them have a mean of at least {off:.3g} times "
            "their spread."
        )
    elif uneven > UNEVEN:
        severity = SUSPICIOUS
        sentence = (
            f"The inputs have spreads from {spread[varies].min():.3g} to {spread.max():.3g}, a "
            f"ratio of {uneven:.3g}."
        )
    else:
        return []
    return [Finding(INPUTS, severity, sentence, STANDARDIZE)]


def shared(parts: Mapping[str, Dataset]) -> list[Finding]:
    """Find examples that are in two of the ``parts``; their inputs are compared bit for bit."""
    there = {name: _digests(data) for name, data in parts.items()}
    found = []
    for (one, ours), (other, theirs) in itertools.combinations(there.items(), 2):
        common = set(ours)
        count = sum(digest in common for digest in theirs)
        if not count:
            continue
        share = count / len(theirs)
        found.append(
            Finding(
                SHARING,
                ILL if share >= SHARED else SUSPICIOUS,
                f"Of the {len(theirs):,} {other} examples {count:,} ({percent(share)}) are "
                f"{one} examples too.",
                f"Remove them from the {one if one != 'validation' else other} data: accuracy on "
                "examples that were learned by heart says nothing about new ones.",
            )
        )
    return found


def _digests(data: Dataset) -> list[bytes]:
    return [blake2b(row.tobytes(), digest_size=16).digest() for x in in_parts(data.x) for row in x]
