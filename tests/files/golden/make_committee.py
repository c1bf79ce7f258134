"""Make the golden committee files: run once for each format version, and never again for it.

python tests/files/golden/make_committee.py

As in ``make.py``, a file is kept beside the inputs it was asked with and the outputs it gave.
"""

import json
from pathlib import Path

import numpy as np

from deltarule.committee import Committee
from deltarule.files import COMMITTEE, save_model
from deltarule.network import Activation, Dense, Flatten, Model, Network

HERE = Path(__file__).parent / "committees"
SHAPE = (8, 8)

NETWORKS = (
    Network(Flatten(), Dense(3, "glorot_normal"), Activation("softmax")),
    Network(Flatten(), Dense(4), Activation("tanh"), Dense(3), Activation("softmax")),
    Network([64, 5, 3], activation="relu", output="softmax"),
)
VIEWS = {"mean": ("original",) * 3, "vote": ("original", "deskew", "original")}


def golden_committees() -> dict[str, Committee]:
    """Return one committee of each way to combine, of members in float32 and float64."""
    return {combine: Committee(_members(), VIEWS[combine], combine) for combine in VIEWS}


def _members() -> tuple[Model, ...]:
    members = []
    for seed, network in enumerate(NETWORKS):
        drawn, state = network.init(np.random.default_rng(seed), SHAPE)
        dtype = np.float64 if seed == 2 else np.float32
        params = tuple({name: array.astype(dtype) for name, array in p.items()} for p in drawn)
        provenance = {"source": "golden", "recipe": {"seed": seed, "cost": "cross_entropy"}}
        classes = ("null", "eins, <b>zwei</b>", "שלוש \x1b[31m\u202e")
        members.append(Model(network, params, state, SHAPE, classes, 1 / 64, provenance))
    return tuple(members)


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name, committee in golden_committees().items():
        path = HERE / f"v{COMMITTEE.version}-{name}.safetensors"
        if path.exists():
            raise SystemExit(f"{path.name} exists: a golden file is never made again.")
        x = np.random.default_rng(21).integers(0, 256, (8, *SHAPE)).astype(np.uint8)
        save_model(committee, path)
        answers = {
            "x": x.tolist(),
            "outputs": committee.outputs(x).tolist(),
            "member_predictions": committee.member_predictions(x).tolist(),
        }
        path.with_suffix(".json").write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
