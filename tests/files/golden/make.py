"""Make the golden model files: run once for each format version, and never again for that version.

python tests/files/golden/make.py

Each file is kept beside the inputs it was asked with and the outputs it gave, so that every later
version of deltarule can be held against them.
"""

import json
from pathlib import Path

import numpy as np

from deltarule.files import FORMAT, save_model
from deltarule.network import Activation, Dense, Dropout, Flatten, Model, Network

HERE = Path(__file__).parent

LAYERS = Network(
    Flatten(),
    Dense(5, "he_uniform", "standard_normal"),
    Activation("lecun_tanh"),
    Dropout(0.25),
    Dense(3, "glorot_normal"),
    Activation("softmax"),
)
SIZES = Network([4, 3, 2])


def golden_models() -> dict[str, Model]:
    """Return one model of layers with classes, in float32, and one of sizes without, in float64."""
    classes = ("null", "eins, <b>zwei</b>", "שלוש \x1b[31m\u202e")
    return {
        "layers": _model(LAYERS, (2, 3, 1), np.float32, classes, 1 / 255),
        "sizes": _model(SIZES, (4,), np.float64, (), 1 / 64),
    }


def _model(network, shape, dtype, classes, scale) -> Model:
    drawn, state = network.init(np.random.default_rng(20), shape)
    params = tuple({name: array.astype(dtype) for name, array in p.items()} for p in drawn)
    provenance = {"seed": 20, "source": "golden", "history": [{"epoch": 1, "train_cost": 0.5}]}
    return Model(network, params, state, shape, classes, scale, provenance)


def main() -> None:
    for name, model in golden_models().items():
        path = HERE / f"v{FORMAT.version}-{name}.safetensors"
        if path.exists():
            raise SystemExit(f"{path.name} exists: a golden file is never made again.")
        x = np.random.default_rng(21).integers(0, 256, (8, *model.shape)).astype(np.uint8)
        save_model(model, path)
        answers = {"x": x.tolist(), "outputs": model.outputs(x).tolist()}
        path.with_suffix(".json").write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
