"""Data of one's own for the tests of the command: a table and a folder of pictures."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

QUICK = ("--quiet", "--epochs", "2")


def table(path: str = "flowers.csv", n: int = 60, seed: int = 0) -> list[dict[str, str]]:
    """Write a table in which width and colour say the kind, and length the price."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        kind = i % 3
        rows.append({
            "width": f"{kind + rng.normal(0, 0.2):.3f}",
            "length": f"{rng.uniform(1, 5):.3f}",
            "colour": ["red", "blue", "white"][kind] if rng.random() < 0.9 else "green",
            "kind": ["rose", "iris", "lily"][kind],
        })  # fmt: skip
    for row in rows:
        row["price"] = f"{10 * float(row['length']) + rng.normal(0, 0.5):.2f}"
    write(path, rows)
    return rows


def write(path: str, rows: list[dict[str, str]], delimiter: str = ",") -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def photos(folder: str = "photos", n: int = 20) -> None:
    """Write dark and bright pictures of 6 x 5 pixels."""
    rng = np.random.default_rng(0)
    for label, base in (("dark", 40), ("light", 200)):
        for i in range(n):
            path = Path(folder, label, f"{i:02d}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(rng.normal(base, 20, (6, 5)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)
