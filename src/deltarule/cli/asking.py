"""What a stored model is asked about: its inputs from known sets, raw rows, pictures or arrays."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deltarule.choices import choose
from deltarule.cli.opening import named, reading_of
from deltarule.cli.options import AS_USUAL, SPLITS, Written, check_inputs, few
from deltarule.committee import Committee
from deltarule.data import Columns, Dataset, load, load_inputs, read_rows
from deltarule.data.again import part_again
from deltarule.data.pictures import Pictures, list_pictures
from deltarule.data.pictures.folder import list_folder
from deltarule.data.pictures.unread import unread_files
from deltarule.data.sources import Kind, kind_of
from deltarule.data.unread import Unread
from deltarule.errors import CheckpointError, DataError
from deltarule.network import Model
from deltarule.runs import CONFIG, DATA
from deltarule.storage import printable

Asked = Model | Committee
USUAL = "test"  # the part of data that are already divided


class Questions(NamedTuple):
    """Inputs [n, ...] of a model, and what each is called: its file, or its place."""

    x: np.ndarray | Unread
    names: Sequence[str] | range


def labelled(
    sources: Sequence[str], split: str | None, model: Asked, run: Path, written: Written = AS_USUAL
) -> Dataset:
    """Return examples with answers: a part of divided data, or all of a table or folder.

    With ``split``, of a table or folder the part that the run in ``run`` has divided off.
    """
    if split is not None:
        choose("--split", split, dict.fromkeys(SPLITS))
    kind = _kind(sources, model)
    _check_written(written, kind, split)
    if kind in ("table", "pictures") and split is not None:
        return _part_of_run(sources, split, model, run)
    if kind == "table":
        rows = read_rows(list(sources), model.preparation, **written._asdict())
        return rows.dataset(named(sources))
    if kind == "pictures":
        return _all_pictures(sources[0], model)
    return _part(sources, split, model, run)


def questions(
    sources: Sequence[str], split: str | None, model: Asked, run: Path, written: Written
) -> Questions:
    """Return inputs without answers: those of ``labelled``, or files that have none."""
    kind = _kind(sources, model)
    _check_written(written, kind, split)
    if split is None and kind == "table":
        x = read_rows(list(sources), model.preparation, **written._asdict()).x
        return Questions(x, range(len(x)))
    if split is None and kind == "pictures":
        files = [file for source in sources for file in list_pictures(source)]
        unread = unread_files(files, model.preparation)
        return Questions(unread, [printable(file) for file in files])
    one = len(sources) == 1 and (kind == "arrays" or Path(sources[0]).is_file())
    if one and split is None:
        x = load_inputs(sources[0])
        check_inputs(sources[0], x.shape[1:], model)
        return Questions(x, range(len(x)))
    data = labelled(sources, split, model, run, written)
    return Questions(data.x, range(len(data)))


def _kind(sources: Sequence[str], model: Asked) -> Kind | None:
    """Return what the sources are; refuse what the model was not made for."""
    made_of = model.preparation
    if isinstance(made_of, Pictures):
        return "pictures"
    if len(sources) == 1 and Path(sources[0]).is_file() and made_of is None:
        return None  # an IDX file or arrays
    kind = kind_of(sources)
    if isinstance(made_of, Columns) and kind != "table":
        raise DataError(
            f"{named(sources)} must be a table, as the model was trained on one; give CSV, TSV or "
            "Parquet."
        )
    if made_of is None and kind in ("table", "pictures"):
        raise DataError(
            f"{named(sources)} is of a kind that the model was not trained on; give arrays of "
            f"shape {model.shape}, as an .npy or IDX file."
        )
    return kind


def _check_written(written: Written, kind: Kind | None, split: str | None) -> None:
    """Refuse what would be ignored."""
    odd = [name for name, value in written._asdict().items() if value != getattr(AS_USUAL, name)]
    if odd and kind != "table":
        raise DataError(f"--{odd[0]} goes with a table, and would be ignored here; leave it out.")
    if odd and split is not None:
        raise DataError(
            f"--{odd[0]} goes with other rows; with --split they are read as they were in "
            "training: leave it out."
        )


def _part(sources: Sequence[str], split: str | None, model: Asked, run: Path) -> Dataset:
    """Return a part of divided data: that of the run in ``run`` if it learned from them."""
    stored, part, data = _stored(run), split or USUAL, None
    if stored is not None and (stored.get("kind") == "arrays" or "rows" in stored):
        data = part_again(sources, part, stored)
        others = data is None and stored.get("kind") == kind_of(sources) == "arrays"
        if others and split is not None:
            raise DataError(
                f"{named(sources)} is not what the run in {printable(run)} learned from; name the "
                "model file as MODEL to divide other arrays, or leave --split out."
            )
    if data is None:
        data = getattr(load(sources[0] if len(sources) == 1 else list(sources)), part)
    _check(named(sources), data, model)
    return data


def _check(source: str, data: Dataset, model: Asked) -> None:
    check_inputs(source, data.shape, model)
    if data.classes != model.classes:
        raise DataError(
            f"{source} must have the classes that the model knows, {few(model.classes)}; it has "
            f"{few(data.classes)}."
        )


def _part_of_run(sources: Sequence[str], split: str, model: Asked, run: Path) -> Dataset:
    """Return the part of a table or folder that training divided off, if it is still the same."""
    stored = _stored(run)
    try:
        options: dict[str, Any] = json.loads((run / CONFIG).read_text())["options"]
        reading = reading_of(options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        stored = None
    if stored is None:
        raise CheckpointError(
            f"--split asks for a part that training divided off, which only a run folder knows, "
            f"and {printable(run)} is none; name the run folder as MODEL, or leave --split out."
        )
    data = part_again(sources, split, stored, preparation=model.preparation, reading=reading)
    if data is None:
        raise DataError(
            f"{named(sources)} is not what the run in {printable(run)} learned from: its files "
            "are others by name or content; leave --split out to ask about all of them."
        )
    _check(named(sources), data, model)
    return data


def _stored(run: Path) -> dict[str, Any] | None:
    """Return what the run in ``run`` has stored of its data; None if nothing is there."""
    try:
        stored = json.loads((run / DATA).read_text())
        if isinstance(stored, dict):
            return stored
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        pass
    raise CheckpointError(
        f"{printable(run / DATA)} is damaged; put it back as it was, or name the model file as "
        "MODEL and leave --split out."
    )


def _all_pictures(folder: str, model: Asked) -> Dataset:
    listing = list_folder(folder)
    numbers = {name: number for number, name in enumerate(model.classes)}
    if unknown := set(listing.classes) - set(numbers):
        raise DataError(
            f"{printable(folder)} holds the class {printable(min(unknown))!r}, which the model "
            f"does not know; it knows {few(model.classes)}."
        )
    x: Any = unread_files([listing.path(file) for file in listing.files], model.preparation)
    y = np.array([numbers[listing.classes[file.label]] for file in listing.files], np.int32)
    return Dataset(x, y, model.classes, model.scale, Path(folder).name)
