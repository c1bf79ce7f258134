"""How a network learns: costs, penalties, optimizers, and the loop that runs them."""

from deltarule.learning.callbacks import Callback, EarlyStopping
from deltarule.learning.evaluate import Evaluation, evaluate
from deltarule.learning.fit import Run, fit
from deltarule.learning.recipe import Recipe
from deltarule.learning.state import TrainState

__all__ = [
    "Callback",
    "EarlyStopping",
    "Evaluation",
    "Recipe",
    "Run",
    "TrainState",
    "evaluate",
    "fit",
]
