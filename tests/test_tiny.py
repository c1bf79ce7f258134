"""The whole library in ten seconds: one small question to each part, before the long tests.

The parts are used as a newcomer would, by their public names.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import deltarule
from deltarule import (
    Activation,
    Augment,
    Conv,
    Dataset,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Network,
    Recipe,
    data,
    evaluate,
    fit,
    load_model,
    plots,
    save_model,
    textbook,
    train,
    train_committee,
)  # fmt: skip

CORNERS = np.array(list(product([0, 1], repeat=2)))
QUICK = Recipe(optimizer="adam", learning_rate=0.01, batch_size=32, epochs=8)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def run(digits):
    layers = Flatten(), Dense(32, "he_normal"), Activation("relu"), Dropout(0.1), Dense(10)
    network = Network(*layers, Activation("softmax"))
    return fit(network, digits.train, digits.validation, QUICK)


def test_every_public_name_is_there():
    assert all(getattr(deltarule, name) is not None for name in deltarule.__all__)
    assert set(deltarule.__all__) <= set(dir(deltarule))


def test_the_first_neurons():
    assert [textbook.xor(*x) for x in CORNERS.tolist()] == [0, 1, 1, 0]
    perceptron, adaline = textbook.Perceptron([0, 0]), textbook.Adaline([0, 0])
    assert perceptron.fit(CORNERS.T, [0, 1, 1, 1])[-1] == 0
    adaline.fit(CORNERS.T, [-1, -1, -1, 1], eta=0.5, epochs=50)
    assert adaline.predict(CORNERS.T).tolist() == [-1, -1, -1, 1]


def test_the_textbooks_network_learns_xor_and_its_gradient_is_right():
    network, answers = textbook.Network([2, 4, 1], cost=textbook.CrossEntropyCost), [[0, 1, 1, 0]]
    network.SGD((CORNERS.T, answers), epochs=1000, mini_batch_size=4, eta=2.0)
    assert network.feedforward(CORNERS.T).round().tolist() == answers
    w = np.array([1.0, -2.0])
    assert textbook.gradcheck(lambda p: np.sum(p[0] ** 3), [w], [3 * w**2]).error < 1e-7


def test_the_engine_learns_digits(run, digits):
    found = evaluate(run.model, digits.test)
    assert 0.9 < found.accuracy < 1  # one without any mistake would be suspect
    assert found.confusion.sum() == len(digits.test) == found.correct + len(found.mistakes)
    assert len(run.history) == QUICK.epochs
    assert run.history[-1]["validation_accuracy"] > run.history[0]["validation_accuracy"]


def test_the_engine_learns_a_line():
    x = np.linspace(-1, 1, 40)[:, None]
    recipe = Recipe(cost="quadratic", learning_rate=0.5, batch_size=40, epochs=200)
    line = fit(Network(Dense(1)), Dataset(x, 3 * x - 2), recipe=recipe).model
    assert line.predict([[10.0]])[0, 0] == pytest.approx(28, abs=1e-3)


def test_a_model_is_stored_and_comes_back(run, digits, tmp_path):
    save_model(run.model, tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    assert model.network == run.network
    assert np.array_equal(model.outputs(digits.test.x), run.model.outputs(digits.test.x))


def test_a_run_in_a_folder_goes_on_where_it_ended(tmp_path):
    xor = Dataset(CORNERS, [0, 1, 1, 0])
    network = Network([2, 8, 2], activation="tanh", output="softmax")
    recipe = Recipe(learning_rate=0.5, batch_size=4, epochs=200)
    first = train(network, xor, None, recipe, tmp_path / "run")
    again = train(network, xor, None, recipe, tmp_path / "run", resume=True)
    assert first.model.labels(CORNERS) == ["0", "1", "1", "0"]
    assert np.array_equal(first.model.params[0]["w"], again.model.params[0]["w"])
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 200


def test_pictures_are_drawn(run, digits, tmp_path):
    found = evaluate(run.model, digits.test)
    curves = plots.learning_curves(run.history)
    for picture in (curves, plots.confusion(found.confusion, found.classes)):
        path = plots.save(picture, tmp_path / "picture.png")
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_command_trains_and_answers_in_json(tmp_path):
    source = str(Path(deltarule.__file__).parents[1])
    options = ["--network", "64,30,10", "--epochs", "2", "--json", "--quiet", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-m", "deltarule", "train", "digits", *options],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert 0.3 < json.loads(done.stdout)["test"]["accuracy"] < 1
    assert load_model(tmp_path / "run" / "model.safetensors").classes == tuple("0123456789")


def test_a_network_of_images_learns_moved_digits(digits):
    relu = Activation("relu")
    layers = Conv(8, 3, weight_init="he_normal"), MaxPool(2), relu, Flatten(), Dense(10)
    network = Network(*layers, Activation("softmax"), shape=(8, 8, 1))
    recipe = replace(QUICK, augment=Augment(shift=0.5), average=0.95)
    run = fit(network, digits.train, digits.validation, recipe)
    assert run.history[-1]["validation_accuracy"] > 0.85


def test_a_committee_answers_as_one(digits, tmp_path):
    network = Network([64, 16, 10], output="softmax")
    run = train_committee(network, digits.train, None, QUICK, tmp_path / "run", members=2)
    result = evaluate(load_model(tmp_path / "run" / "model.safetensors"), digits.test)
    assert result.accuracy >= min(result.member_accuracies)
    assert len(run.members) == 2
