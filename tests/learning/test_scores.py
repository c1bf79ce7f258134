"""Log loss, ROC AUC, precision, recall; RMSE, MAE, R2: by hand, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from deltarule import Evaluation
from deltarule.learning.scores import class_scores, deviations


def evaluation(labels, outputs, names=None):
    outputs = np.asarray(outputs, float)
    names = names or tuple("abcdefgh"[: outputs.shape[1]])
    labels = np.asarray(labels)
    return Evaluation(len(labels), 0.0, names, labels, outputs.argmax(axis=1), outputs)


def test_by_hand():
    # two of class a are told as a, one as b; the b is told as b; nobody is told as c
    outputs = [[0.5, 0.25, 0.25], [0.8, 0.1, 0.1], [0.25, 0.5, 0.25], [0.1, 0.8, 0.1]]
    scores = class_scores(evaluation([0, 0, 0, 1], outputs))
    a, b, c = scores.classes
    assert (a.precision, a.recall, a.examples) == (1, pytest.approx(2 / 3), 3)
    assert (b.precision, b.recall, b.examples) == (0.5, 1, 1)
    assert (c.precision, c.recall, c.examples) == (None, None, 0)
    assert scores.roc_auc is None  # there is no c to tell from the others
    assert scores.log_loss == pytest.approx(-np.log(0.5 * 0.8 * 0.25 * 0.8) / 4)


@st.composite
def told(draw):
    k = draw(st.integers(2, 4))
    n = draw(st.integers(k, 12))
    labels = [*range(k), *draw(st.lists(st.integers(0, k - 1), min_size=n - k, max_size=n - k))]
    number = st.floats(0.01, 1)
    rows = draw(st.lists(st.lists(number, min_size=k, max_size=k), min_size=n, max_size=n))
    return labels, np.array(rows) / np.sum(rows, axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(told())
def test_as_scikit_learn_has_them(case):
    labels, outputs = case
    k = outputs.shape[1]
    result = evaluation(labels, outputs)
    scores = class_scores(result)
    assert scores.log_loss == pytest.approx(metrics.log_loss(labels, outputs, labels=range(k)))
    of = outputs[:, 1] if k == 2 else outputs
    how = {} if k == 2 else {"multi_class": "ovr"}
    assert scores.roc_auc == pytest.approx(metrics.roc_auc_score(labels, of, **how))
    precision, recall, _, examples = metrics.precision_recall_fscore_support(
        labels, result.predictions, labels=range(k), zero_division=np.nan
    )
    for i, each in enumerate(scores.classes):
        assert each.examples == examples[i]
        assert each.precision == pytest.approx(precision[i], nan_ok=True) or (
            each.precision is None and np.isnan(precision[i])
        )
        assert each.recall == pytest.approx(recall[i])


def test_outputs_that_are_no_probabilities():
    halves = class_scores(evaluation([0, 1], [[0.9, 0.9], [0.2, 0.2]]))  # sigmoids: of their sum
    assert halves.log_loss == pytest.approx(np.log(2))
    assert class_scores(evaluation([0, 1], [[0, 0], [0, 0]])).log_loss == pytest.approx(np.log(2))
    assert np.isfinite(class_scores(evaluation([0, 1], [[0, 1], [1, 0]])).log_loss)
    assert np.isfinite(class_scores(evaluation([0, 1], [[np.nan, np.inf], [1, 0]])).log_loss)


def test_deviations_by_hand():
    found = deviations([[1.0, 5.0], [3.0, 5.0]], [[2.0, 5.0], [3.0, 6.0]])
    assert found.rmse == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))
    assert found.mae == pytest.approx((0.5, 0.5))
    assert found.r2 == (0.5, None)  # 1 - 1/2; and answers that are all the same
    assert deviations([2.0], [1.0]).r2 == (None,)
