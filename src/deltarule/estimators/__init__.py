"""Networks behind scikit-learn's own interface: ``MLPClassifier`` and ``MLPRegressor``.

``perceptron.py`` says what can be asked for. As long as scikit-learn knows it too, ``compiled.py``
with ``trainer.py`` and ``program.py`` computes it, to the same numbers; anything beyond is trained
by ``deltarule.fit``, through ``engine.py``.
"""

from deltarule.estimators.perceptron import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
