"""What a model is asked about has the shape of what it learned from, or lies in rows."""

from collections.abc import Callable

import numpy as np
import pytest
from cli_commands import Run

import deltarule
from deltarule.data import load

DIGITS = load("digits")


def learned(x: np.ndarray, network: deltarule.Network) -> None:
    data = deltarule.Dataset(x, DIGITS.test.y, DIGITS.test.classes, scale=1 / 16)
    run = deltarule.fit(network, data, recipe=deltarule.Recipe(epochs=1))
    deltarule.save_model(run.model, "model")


def dense() -> deltarule.Network:
    return deltarule.Network([64, 10])


def convolutional() -> deltarule.Network:
    layers = (deltarule.Conv(2, 3), deltarule.Flatten(), deltarule.Dense(10))
    return deltarule.Network(*layers, deltarule.Activation("softmax"), shape=(8, 8, 1))


@pytest.mark.parametrize("network", [dense, convolutional])
def test_images_of_another_shape_are_refused(
    run: Run, network: Callable[[], deltarule.Network]
) -> None:
    x = DIGITS.test.x
    learned(x, network())
    np.save("images.npy", x[:5])
    expected = run("predict", "model", "images.npy")
    assert expected.code == 0
    for shape in ((8, 8, 1), (1, 8, 8), (64,), (64, 1)):  # the same images
        np.save("same.npy", x[:5].reshape(5, *shape))
        assert run("predict", "model", "same.npy").out == expected.out
    for shape in ((4, 16), (16, 4), (2, 4, 8), (4, 4, 4), (8, 9), (63,), (1,)):
        np.save("other.npy", np.zeros((5, *shape)))
        done = run("predict", "model", "other.npy")
        assert (done.code, done.out) == (3, "")
        said = f"other.npy must have examples of shape (8, 8), as the model takes, got {shape}"
        assert said in done.err


def test_evaluate_refuses_them_too(run: Run) -> None:
    learned(DIGITS.test.x, dense())
    classes = np.arange(50) % 10
    for shape, code in (((4, 16), 3), ((64,), 0)):
        np.savez("set.npz", x=np.zeros((50, *shape)), y=classes)
        assert run("evaluate", "model", "set.npz").code == code


def test_a_model_of_rows_takes_images(run: Run) -> None:
    learned(DIGITS.test.x.reshape(-1, 64), dense())
    assert run("evaluate", "model", "digits").code == 0
