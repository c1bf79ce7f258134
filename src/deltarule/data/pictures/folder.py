"""What lies in a folder of pictures: which files, of which class, in which part.

Either ``photos/cat/*.png`` or ``photos/train/cat/*.png`` beside ``val`` (or ``validation``) and
``test``. A class takes in all folders below its own. Nothing is opened here.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltarule.data.pictures.decode import shown
from deltarule.errors import DataError

PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
CLUTTER = {"thumbs.db", "desktop.ini"}  # left by systems; what begins with a dot is passed over too


@dataclass(frozen=True)
class PictureFile:
    """A file as it was listed.

    Attributes:
        name: path below the folder, with "/".
        label: index of its class.
        part: "train", "validation" or "test"; "" where the folder does not say.
        bytes, modified: its size and the time of its last change in ns, to notice a change.
    """

    name: str
    label: int
    part: str
    bytes: int
    modified: int

    @property
    def seen(self) -> tuple[int, int]:
        """Size and time of change."""
        return self.bytes, self.modified


@dataclass(frozen=True)
class Listing:
    """The files of a folder in the order of their names, and the names of their classes."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[PictureFile, ...]
    notes: tuple[str, ...] = ()

    def path(self, file: PictureFile) -> Path:
        """Return where ``file`` lies."""
        return self.folder / file.name


def list_folder(folder: str | os.PathLike[str]) -> Listing:
    """Return the files of ``folder``, by class and part.

    Raises ``DataError`` unless there are two classes and every class has files to learn from.
    """
    root = _existing(folder)
    roots = _parts(root)
    found, loose = [], 0
    for part, top in roots.items():
        for entry in _entries(top):
            if not entry.is_dir():
                loose += 1
                continue
            if not (paths := list(_below(Path(entry.path)))):
                raise DataError(
                    f"class {shown(entry.name)!r} of {shown(top)} holds no files; put pictures "
                    "into its folder or remove it."
                )
            found += [(part, entry.name, path) for path in paths]
    classes = _classes(root, [(part, name) for part, name, _ in found])
    number = {name: index for index, name in enumerate(classes)}
    files = [
        _file(path.relative_to(root).as_posix(), path, number[name], part)
        for part, name, path in found
    ]
    notes = [f"{loose} files beside the folders of the classes are not read"] if loose else []
    if deep := sum(f.name.count("/") > (2 if f.part else 1) for f in files):
        notes.append(f"{deep:,} files in folders below those of the classes belong to these")
    return Listing(root, classes, tuple(sorted(files, key=lambda f: f.name)), tuple(notes))


def list_pictures(path: str | os.PathLike[str]) -> list[Path]:
    """Return the picture file ``path``, or the files in the folder ``path`` and below, sorted.

    For prediction, where there are no classes. Raises ``DataError`` if there are none.
    """
    path = _existing(path, folder=False)
    files = sorted(_below(path)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"folder {shown(path)} holds no files; give pictures or their folder.")
    return files


def as_listed(paths: Sequence[Path]) -> Listing:
    """Return picture files as a listing without classes; each is called by its whole path."""
    return Listing(Path(), (), tuple(_file(str(path), path, 0, "") for path in paths))


def _existing(path: str | os.PathLike[str], *, folder: bool = True) -> Path:
    try:
        found = Path(path)
        is_folder = stat.S_ISDIR(os.stat(found).st_mode)
    except (OSError, TypeError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shown(path)!r} cannot be read: {reason}; check the path.") from None
    if folder and not is_folder:
        raise DataError(
            f"folder {shown(path)!r} must hold a folder of pictures for each class; this is a file."
        )
    return found


def _parts(root: Path) -> dict[str, Path]:
    """Return the folder of each part; ``root`` itself for "" if it holds the classes."""
    names = [entry.name for entry in _entries(root) if entry.is_dir()]
    if not names:
        raise DataError(
            f"folder {shown(root)} must hold a folder of pictures for each class, or train, val "
            "and test with such folders; it holds no folders."
        )
    if "train" not in names or not set(names) <= set(PARTS):
        return {"": root}
    if {"val", "validation"} <= set(names):
        raise DataError(f"folder {shown(root)} holds both val and validation; keep one of them.")
    return {PARTS[name]: root / name for name in sorted(names)}


def _classes(root: Path, found: list[tuple[str, str]]) -> tuple[str, ...]:
    learned = {name for part, name in found if part in ("", "train")}
    if unknown := {name for _, name in found} - learned:
        raise DataError(
            f"class {shown(min(unknown))!r} of {shown(root)} is to be recognised but has no "
            "pictures in train; add some or remove it."
        )
    for name in learned:
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise DataError(f"the name of class {shown(name)!r} is not UTF-8; rename its folder.")
    if len(learned) < 2:
        raise DataError(
            f"folder {shown(root)} must hold a folder for each of at least two classes, got "
            f"{len(learned)}: {', '.join(map(shown, learned)) or 'none'}."
        )
    return tuple(sorted(learned))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what lies in ``folder`` and is not hidden, sorted."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not _hidden(e.name)), key=lambda e: e.name)
    except OSError as error:
        raise DataError(f"folder {shown(folder)} cannot be read: {error.strerror}.") from None


def _below(folder: Path) -> Iterator[Path]:
    """Yield every file in ``folder`` and below; links to folders are not followed into loops."""
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))
        elif not entry.is_dir():
            yield Path(entry.path)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in CLUTTER


def _file(name: str, path: Path, label: int, part: str) -> PictureFile:
    try:
        status = os.stat(path)
    except OSError:  # a link that leads nowhere, a file just removed: told when it is opened
        return PictureFile(name, label, part, 0, 0)
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return PictureFile(name, label, part, size, status.st_mtime_ns)
