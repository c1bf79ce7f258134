"""Illnesses of the course of training: a wrong learning rate, divergence, overfitting."""

import math

import numpy as np
from scipy.special import xlogy

from deltarule.learning.curvature import limit_of, sample, spectrum
from deltarule.learning.health.case import (
    ILL,
    NOT_JUDGED,
    SUSPICIOUS,
    Case,
    Finding,
    History,
    percent,
)

DIVERGED = "diverged"
TOO_HIGH, TOO_LOW = "learning rate too high", "learning rate too low"
OVERFITTING = "overfitting"

RISE = 0.1  # of the cost from epoch to epoch: small batches alone make it rise by a few percent
RISES = 1 / 3  # the share of epochs with such a rise, of the second half of the run
WORSE = 2.0  # times the cost of a guess: a run that has learned nothing stays at 1
BEYOND = 1.5  # times the limit: large steps themselves hold the curvature just about there
FAR_BELOW = 0.05  # of the limit: twenty times as fast would still be stable
UNFINISHED = 0.5  # of the first epoch's cost: a run that ends above it has hardly begun
FALLS = 0.01  # of the cost over the last quarter: less may be the end of what can be learned
LEAST_EPOCHS = 4  # a course needs some points
GAPS = 0.03, 0.1  # between accuracies, beyond chance: suspicious, ill
COST_RISE = 1.25  # of the validation cost over its lowest, that is no noise
LEARNED = 0.9  # of the first training cost: what has fallen by less than a tenth may only jump
CURVED_EXAMPLES = 100, 1000  # least and most whose curvature is measured
OPERATIONS = 2e9  # multiplications of one pass: some thirty products take under a minute


def diverged(history: History) -> list[Finding]:
    """Say in which epoch the cost ceased to be finite, if it did."""
    for record in history:
        costs = [record.get(name, 0.0) for name in ("train_cost", "penalty")]
        if any(cost is None or not math.isfinite(cost) for cost in costs):
            sentence = f"The cost of epoch {record.get('epoch')} is not finite."
            remedy = "Lower the learning rate, clip the gradients, or scale the inputs."
            return [Finding(DIVERGED, ILL, sentence, remedy)]
    return []


def learning_rate(case: Case) -> list[Finding]:
    """Judge the learning rate in use by the course of the cost and by the curvature."""
    recipe = case.recipe
    costs = _series(case.history, "train_cost")
    if recipe.method.learning_rate is None or recipe.method.all_data or not len(costs):
        return []  # it finds the length of its steps itself
    rate = float(case.history[-1].get("learning_rate") or recipe.rate)
    limit, unknown = _limit(case)
    high = _too_high(rate, limit, costs, _cost_of_ignorance(case))
    return [*(high or _too_low(rate, limit, costs)), *unknown]


def _limit(case: Case) -> tuple[float | None, list[Finding]]:
    """Return the largest stable rate, None if the optimizer has none or it takes too long."""
    if limit_of(1.0, case.recipe) is None:
        return None, []
    least, most = CURVED_EXAMPLES
    affordable = int(OPERATIONS / max(case.model.network.multiplications(case.model.shape), 1))
    if affordable < min(least, len(case.train)):
        sentence = "The curvature of so large a network was not measured."
        remedy = "Measure it with deltarule curvature on few examples."
        return None, [Finding("learning rate", NOT_JUDGED, sentence, remedy)]
    few = sample(case.few, min(affordable, most))
    found = spectrum(case.model, few, case.recipe, most=1, whole=0, tolerance=0.01)
    return limit_of(found.lambda_max, case.recipe), []


def _cost_of_ignorance(case: Case) -> float:
    """Return the mean cost of answering every example with the shares of the classes."""
    if not case.train.classes:
        return math.inf
    p = np.bincount(case.train.y) / len(case.train)
    p = p[p > 0]
    if case.recipe.cost == "quadratic":
        return float((p * (1 - p)).sum() / 2)
    others = 0.0 if case.model.network.output == "softmax" else xlogy(1 - p, 1 - p).sum()
    return float(-(p * np.log(p)).sum() - others)


def _too_high(rate: float, limit: float | None, costs: np.ndarray, guess: float) -> list[Finding]:
    half = costs[len(costs) // 2 :]
    changes = np.diff(costs)[-len(half) :] / costs[:-1][-len(half) :]
    rises = int((changes > RISE).sum())
    restless = len(costs) >= LEAST_EPOCHS and rises >= max(2, RISES * len(half))
    beyond = rate / limit if limit is not None else 0.0
    said = []
    if restless:
        said.append(
            f"the cost rose by {percent(RISE)} or more in {rises} of the last {len(half)} epochs"
        )
    elif costs[-1] > WORSE * guess:
        said.append(
            f"the cost is {costs[-1]:.3g}, and would be {guess:.3g} if nothing had been learned"
        )
    if beyond > BEYOND:
        said.append(
            f"the rate {rate:.3g} is {beyond:.2g} times the limit of stability, {limit:.3g}"
        )
    if not said:
        return []
    severity = ILL if len(said) > 1 else SUSPICIOUS
    better = rate / 3 if beyond < 1 else rate / (2 * beyond)  # half of the limit
    remedy = f"Choose a learning rate of {better:.2g} or less, or a schedule that lowers it."
    return [Finding(TOO_HIGH, severity, _sentence(said), remedy)]


def _too_low(rate: float, limit: float | None, costs: np.ndarray) -> list[Finding]:
    if len(costs) < LEAST_EPOCHS or costs[-1] < UNFINISHED * costs[0]:
        return []
    last = costs[-max(LEAST_EPOCHS, len(costs) // 4) :]
    if not (np.diff(last) < 0).all():
        return []
    falls = float(1 - last[-1] / last[0])
    if (falls < FALLS) if limit is None else (rate > FAR_BELOW * limit):
        return []
    against = "" if limit is None else (
        f", and the rate {rate:.3g} is {percent(rate / limit)} of the limit of stability, "
        f"{limit:.3g}"
    )  # fmt: skip
    remedy = (
        f"Choose a learning rate of {10 * rate:.2g}." if limit is None
        else f"Choose a learning rate up to {limit / 2:.2g}; 1 over the largest eigenvalue is best."
    )  # fmt: skip
    sentence = (
        f"The cost still falls steadily, by {percent(falls)} over the last {len(last)} epochs to "
        f"{last[-1]:.3g}{against}."
    )
    return [Finding(TOO_LOW, SUSPICIOUS if limit is None else ILL, sentence, remedy)]


def overfitting(case: Case) -> list[Finding]:
    """Compare what the model does on training and validation data, and how the latter went."""
    if case.held_out is None:
        sentence = "The run measured no validation data."
        remedy = "Hold some examples out with validation, or --validation 0.1."
        return [Finding(OVERFITTING, NOT_JUDGED, sentence, remedy)]
    seen, held = case.seen, case.held_out
    said = []
    severity = SUSPICIOUS
    if seen.classes:
        gap = seen.accuracy - held.interval[1]
        if gap > GAPS[0]:
            said.append(f"accuracy is {percent(seen.accuracy)} on training and "
                        f"{percent(held.accuracy)} on validation examples")  # fmt: skip
        severity = ILL if gap > GAPS[1] else SUSPICIOUS
    said += _rise(case)
    if not said:
        return []
    if len(said) > 1:
        severity = ILL
    remedy = "Stop early, raise l2, add dropout or augment, collect more data, or take fewer units."
    return [Finding(OVERFITTING, severity, _sentence(said), remedy)]


def _rise(case: Case) -> list[str]:
    """Say how the validation cost rose while the training cost fell."""
    costs, ours = (_series(case.history, f"{part}_cost") for part in ("validation", "train"))
    if len(costs) != len(ours) or not len(costs) or case.recipe.early_stopping is not None:
        return []  # a run that stopped early went back to before the rise
    lowest = int(costs.argmin())
    if costs[-1] <= COST_RISE * costs[lowest]:
        return []
    if ours[-1] > min(ours[lowest], LEARNED * ours[0]):
        return []  # the training cost did not fall, or so little that both may only jump
    return [
        f"the validation cost rose from {costs[lowest]:.3g} in epoch {lowest + 1} to "
        f"{costs[-1]:.3g}"
    ]


def _series(history: History, name: str) -> np.ndarray:
    values = [record.get(name) for record in history]
    return np.array([value for value in values if value is not None], float)


def _sentence(parts: list[str]) -> str:
    text = " and ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
