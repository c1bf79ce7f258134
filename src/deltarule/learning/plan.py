"""How a run is executed: how much work one compiled call does.

A call should last long enough that Python does not count, and short enough that a progress bar
moves, Ctrl-C answers and a checkpoint is never far. The result does not depend on it.
"""

from dataclasses import dataclass

CALL_SECONDS = 0.5  # what one call should take
EPOCHS_PER_CALL = 32  # of tiny data, where one epoch takes less than a call from Python costs
_OPERATIONS_A_SECOND = 2e10  # a cautious guess for one small matrix product after another
_STEP_SECONDS = 3e-6  # the least a step takes


@dataclass(frozen=True)
class Plan:
    """The shape of the calls of a run.

    Args:
        steps: steps of an epoch.
        epochs_per_call: more than 1 only where a whole epoch is very short.
        steps_per_call: a first guess; it follows what is measured.
    """

    steps: int
    epochs_per_call: int
    steps_per_call: int

    def after(self, steps: int, seconds: float) -> int:
        """Return how many steps the next call should run, now that ``steps`` took ``seconds``."""
        measured = steps * CALL_SECONDS / max(seconds, 1e-9)
        return max(1, min(self.steps, int(measured), 4 * max(steps, self.steps_per_call)))


def make_plan(examples: int, batch_size: int, parameters: int, *, every_epoch: bool) -> Plan:
    """Plan the calls of a run on ``examples`` examples.

    ``every_epoch`` says that something must happen in Python after each epoch, such as a decision
    to stop early.

    >>> make_plan(150, 10, 1_000, every_epoch=False)
    Plan(steps=15, epochs_per_call=32, steps_per_call=15)
    """
    steps = -(-examples // batch_size)
    # forward, backward to the inputs and to the weights: a multiply and an add each
    seconds_a_step = _STEP_SECONDS + 6 * parameters * batch_size / _OPERATIONS_A_SECOND
    short = steps * seconds_a_step * EPOCHS_PER_CALL < CALL_SECONDS / 2
    return Plan(
        steps=steps,
        epochs_per_call=1 if every_epoch or not short else EPOCHS_PER_CALL,
        steps_per_call=max(1, min(steps, int(CALL_SECONDS / seconds_a_step))),
    )
