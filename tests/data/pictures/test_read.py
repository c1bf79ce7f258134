"""Folders: classes and parts, the rule, the split, bad files, the cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deltarule.data.pictures.read as reading
from deltarule.data.pictures import Pictures, list_pictures, read_images, survey_images
from deltarule.errors import DataError

SRC = Path(__file__).parents[3] / "src"


def value(label, number):
    return 50 * label + number


def picture(path, fill, size=(4, 4), colour=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if colour else size
    Image.fromarray(np.full(shape, fill, np.uint8)).save(path)


def folder_of(root, classes=("cat", "dog"), n=10, **options):
    for label, name in enumerate(classes):
        for number in range(n):
            picture(root / name / f"{number}.png", value(label, number), **options)
    return root


@pytest.fixture
def photos(tmp_path):
    return folder_of(tmp_path / "photos")


def all_values(picture_set):
    """Return {value of the pixels: label} over all parts; every picture is of one value."""
    parts = picture_set.splits
    pairs = [(x, y) for d in (parts.train, parts.validation, parts.test)
             for x, y in zip(d.x, d.y, strict=True)]  # fmt: skip
    assert all(x.min() == x.max() for x, _ in pairs)
    return {int(x.max()): int(y) for x, y in pairs}


# ---- classes, parts, split


def test_every_picture_keeps_its_label(photos):
    made = read_images(photos)
    assert all_values(made) == {value(c, i): c for c in (0, 1) for i in range(10)}
    assert made.splits.train.classes == ("cat", "dog")
    assert made.splits.train.shape == (4, 4, 1)
    assert made.splits.train.scale == 1 / 255
    # a fifth and a tenth of 20 pictures, in the proportions of the classes
    assert [len(made.indices[p]) for p in reading.PARTS] == [14, 2, 4]
    assert np.bincount(made.splits.test.y).tolist() == [2, 2]


@pytest.mark.parametrize("size", [4, 6, 8, 10, 12])
def test_drawn_parts_keep_the_proportions(photos, size):
    found = survey_images(photos, test=size, validation=4)
    for part, count in (("test", size), ("validation", 4)):
        labels = [found.listing.files[i].label for i in found.parts[part]]
        assert np.bincount(labels).tolist() == [count // 2] * 2


def test_indices_and_sums_say_which_file_is_which(photos):
    import hashlib

    made = read_images(photos)
    for part in reading.PARTS:
        data = getattr(made.splits, part)
        for x, index in zip(data.x, made.indices[part], strict=True):
            path = photos / made.files[index].name
            assert np.asarray(Image.open(path)).max() == x.max()
            assert hashlib.sha256(path.read_bytes()).hexdigest() == made.sha256[index]
    taken = np.concatenate([made.indices[p] for p in reading.PARTS])
    assert sorted(taken) == list(range(20))
    assert json.loads(json.dumps(made.record()))["indices"]["test"] == list(made.indices["test"])


def test_the_split_is_the_same_each_time_and_as_large_as_asked(photos):
    first, second = survey_images(photos), survey_images(photos)
    for part in reading.PARTS:
        np.testing.assert_array_equal(first.parts[part], second.parts[part])
    asked = survey_images(photos, test=0.3, validation=0)
    assert [len(asked.parts[p]) for p in reading.PARTS] == [14, 0, 6]
    with pytest.raises(DataError, match="test must not be 0"):
        survey_images(photos, test=0)


def test_parts_of_the_folder_are_taken_as_they_are(tmp_path):
    for number, part in enumerate(("train", "val", "test")):
        for label, name in enumerate(("cat", "dog")):
            picture(tmp_path / part / name / "0.png", 60 * number + 10 * label)
    made = read_images(tmp_path)
    for number, part in enumerate(reading.PARTS):
        data = getattr(made.splits, part)
        got = {int(x.max()): int(y) for x, y in zip(data.x, data.y, strict=True)}
        assert got == {60 * number: 0, 60 * number + 10: 1}
    assert "as the folders say" in " ".join(made.report)
    with pytest.raises(DataError, match="validation is a folder of its own"):
        read_images(tmp_path, validation=0.1)
    (tmp_path / "validation").mkdir()
    with pytest.raises(DataError, match="both val and validation"):
        read_images(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    folder_of(tmp_path, ("train", "bus"))
    assert read_images(tmp_path).splits.train.classes == ("bus", "train")


def test_a_class_that_is_only_tested_is_refused(tmp_path):
    folder_of(tmp_path / "train", n=2)
    folder_of(tmp_path / "test", ("cat", "cow"), n=2)
    with pytest.raises(DataError, match=r"'cow' .* has no pictures in train"):
        read_images(tmp_path)


def test_hidden_files_are_passed_over_and_nested_ones_are_not(photos):
    (photos / "cat" / ".DS_Store").write_bytes(b"x")
    (photos / "cat" / "Thumbs.db").write_bytes(b"x")
    (photos / ".git").mkdir()
    (photos / "labels.csv").write_text("x")
    picture(photos / "cat" / "2020" / "may" / "new.png", 77)
    (photos / "cat" / "loop").symlink_to(photos / "cat")
    made = read_images(photos)
    assert all_values(made)[77] == 0
    assert len(made.files) == 21
    notes = "\n".join(made.report)
    assert "1 files beside the folders" in notes
    assert "1 files in folders below" in notes


NAMES = ("a b", "line\nbreak", "<script>alert(1)<b>", "\N{CAT FACE}", "\x1b[31mred")


def test_any_name_works_and_is_shown_escaped(tmp_path):
    folder_of(tmp_path, NAMES, n=2)
    (tmp_path / NAMES[1] / "bad\n\x1b.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        read_images(tmp_path, test=5, validation=0)
    assert r"line\nbreak/bad\n\x1b.png is empty" in str(error.value)
    made = read_images(tmp_path, test=5, validation=0, skip_bad=True)
    assert set(made.splits.train.classes) == set(NAMES)
    assert all(line.isprintable() for line in made.report)


def test_folders_that_cannot_be_learned_from(tmp_path, photos):
    (photos / "empty").mkdir()
    with pytest.raises(DataError, match=r"class 'empty' .* holds no files"):
        read_images(photos)
    folder_of(tmp_path / "one", ("cat",))
    with pytest.raises(DataError, match="at least two classes, got 1: cat"):
        read_images(tmp_path / "one")
    with pytest.raises(DataError, match="holds no folders"):
        read_images(photos / "cat")
    with pytest.raises(DataError, match="this is a file"):
        read_images(photos / "cat" / "0.png")
    for wrong in (tmp_path / "gone", "a\0b", 3.5):
        with pytest.raises(DataError, match="cannot be read"):
            read_images(wrong)
    folder_of(tmp_path / "few", n=1)
    with pytest.raises(DataError, match="add pictures, or give folders"):
        read_images(tmp_path / "few")


def test_copies_across_parts_are_told(tmp_path):
    folder_of(tmp_path / "train")
    folder_of(tmp_path / "test", n=2)
    assert "copies: 4 files of test" in "\n".join(read_images(tmp_path).report)


# ---- size and colour


def test_different_sizes_become_the_median_square(tmp_path):
    for number, size in enumerate([(10, 40), (20, 30), (60, 30), (90, 80)]):
        picture(tmp_path / "cat" / f"{number}.png", 1, size)
        picture(tmp_path / "dog" / f"{number}.png", 2, size)
    # short sides 10, 20, 30, 80: the median is 25
    found = survey_images(tmp_path, test=2, validation=0)
    assert (found.pictures.height, found.pictures.width) == (25, 25)
    assert "fit: crop: 8 pictures of other sizes (10 x 40 to 90 x 80)" in "\n".join(found.report)
    assert read_images(tmp_path, test=2, validation=0).splits.train.shape == (25, 25, 1)
    asked = read_images(tmp_path, size=(6, 9), fit="pad", colour=True, test=2, validation=0)
    assert asked.splits.train.shape == (6, 9, 3)
    with pytest.raises(DataError, match="8 of 8 files cannot be used"):
        read_images(tmp_path, size=7, fit="exact", test=2, validation=0)


def test_large_pictures_are_bounded(tmp_path):
    folder_of(tmp_path, size=(600, 520), n=2)
    found = survey_images(tmp_path, test=2, validation=0)
    assert (found.pictures.height, found.pictures.width) == (128, 128)
    assert "which is 520, at most 128" in "\n".join(found.report)


def test_one_coloured_picture_makes_all_coloured(photos):
    assert survey_images(photos).pictures.channels == 1
    picture(photos / "dog" / "c.png", 3, colour=True)
    found = survey_images(photos)
    assert found.pictures.channels == 3
    assert "as 1 of 21 pictures are" in "\n".join(found.report)
    assert survey_images(photos, colour=False).pictures.channels == 1


@pytest.mark.parametrize(
    "options",
    [{"size": 0}, {"size": (4, 4, 4)}, {"size": True}, {"size": 2.0}, {"fit": "squeeze"},
     {"limit_pixels": 0}, {"limit_pixels": 10**9}, {"workers": 0}],
)  # fmt: skip
def test_wrong_arguments_are_named(photos, options):
    with pytest.raises(DataError, match=next(iter(options))):
        read_images(photos, **options)


# ---- bad files


def spoil(photos, count):
    for number in range(count):
        (photos / "cat" / f"bad{number:02}.jpg").write_text("not a picture")


def test_bad_files_stop_the_reading_with_a_list(photos):
    spoil(photos, 13)
    data = (photos / "dog" / "0.png").read_bytes()
    (photos / "dog" / "cut.png").write_bytes(data[:-30])  # its header is whole
    with pytest.raises(DataError) as error:
        read_images(photos)
    text = str(error.value)
    assert text.startswith("14 of 34 files cannot be used: cat/bad00.jpg is not a PNG")
    assert text.count("is not a PNG") == 10
    assert "and 4 more; mend or remove them" in text


def test_skip_bad_goes_on_and_says_how_many(photos):
    spoil(photos, 3)
    data = (photos / "dog" / "0.png").read_bytes()
    (photos / "dog" / "cut.png").write_bytes(data[:-30])
    made = read_images(photos, skip_bad=True)
    assert all_values(made) == {value(c, i): c for c in (0, 1) for i in range(10)}
    assert set(made.skipped) == {"cat/bad00.jpg", "cat/bad01.jpg", "cat/bad02.jpg", "dog/cut.png"}
    assert any(line.startswith("skipped: 4 of 24 files") for line in made.report)
    assert made.record()["skipped"] == made.skipped


def test_a_class_without_one_good_picture_is_refused(photos):
    for path in (photos / "cat").iterdir():
        path.write_text("x")
    with pytest.raises(DataError, match="class 'cat' has no usable picture"):
        read_images(photos, skip_bad=True)


def test_a_file_that_shrinks_after_it_was_listed(photos, monkeypatch):
    listed = reading.list_folder

    def then_shrunk(folder):
        listing = listed(folder)
        path = photos / "cat" / "0.png"
        path.write_bytes(path.read_bytes()[:-10])
        return listing

    monkeypatch.setattr("deltarule.data.pictures.survey.list_folder", then_shrunk)
    with pytest.raises(DataError, match=r"cat/0.png was changed while it was read"):
        read_images(photos)


# ---- the cache


@pytest.fixture
def decodes(monkeypatch):
    """Count the files that are decoded."""
    count = []
    real = reading.decode
    monkeypatch.setattr(reading, "decode", lambda job: count.extend(job.paths) or real(job))
    return count


def same(a, b):
    return all(
        getattr(a.splits, p).fingerprint() == getattr(b.splits, p).fingerprint()
        for p in reading.PARTS
    ) and a.record() == b.record()  # fmt: skip


def test_decoded_once_and_mapped(photos, tmp_path, decodes):
    kept = read_images(photos, cache=tmp_path / "cache")
    assert len(decodes) == 20
    again = read_images(photos, cache=tmp_path / "cache")
    assert len(decodes) == 20
    assert same(kept, again)
    assert same(kept, read_images(photos, cache=False))
    for part in reading.PARTS:
        x = getattr(again.splits, part).x
        assert isinstance(x.base, np.memmap)
        assert not x.flags.writeable
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".json", ".npy"]


def touch(photos):
    os.utime(photos / "cat" / "0.png", ns=(1, 1))


def grow(photos):
    picture(photos / "cat" / "z.png", 9)


def drop(photos):
    (photos / "dog" / "9.png").unlink()


def move(photos):
    (photos / "dog" / "9.png").rename(photos / "cat" / "99.png")


@pytest.mark.parametrize("change", [touch, grow, drop, move])
def test_a_stale_cache_is_rebuilt(photos, tmp_path, decodes, change):
    read_images(photos, cache=tmp_path / "cache")
    change(photos)
    decodes.clear()
    made = read_images(photos, cache=tmp_path / "cache")
    assert len(decodes) == len(made.files)
    assert same(made, read_images(photos, cache=False))


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("ending", ["npy", "json"])
@pytest.mark.parametrize("damage", ["cut", "first", "middle", "last", "gone", "empty"])
def test_a_damaged_cache_is_rebuilt(photos, tmp_path, decodes, ending, damage):
    read_images(photos, cache=tmp_path / "cache")
    whole = read_images(photos, cache=False)  # the other one is mapped: damage would reach it
    (path,) = (tmp_path / "cache").glob(f"*.{ending}")
    size = path.stat().st_size
    if damage == "gone":
        path.unlink()
    elif damage in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: size // 2 if damage == "cut" else 0])
    else:
        flip(path, {"first": 0, "middle": size // 2, "last": size - 1}[damage])
    decodes.clear()
    assert same(whole, read_images(photos, cache=tmp_path / "cache"))
    assert len(decodes) == 20


def test_other_choices_are_another_cache(photos, tmp_path, decodes):
    for options in ({}, {"size": 3}, {"colour": True}, {"fit": "pad"}, {"test": 0.5}):
        decodes.clear()
        read_images(photos, cache=tmp_path / "cache", **options)
        assert len(decodes) == 20


def test_a_cache_without_the_bad_ones_does_not_hide_them(photos, tmp_path):
    spoil(photos, 1)
    read_images(photos, cache=tmp_path / "cache", skip_bad=True)
    again = read_images(photos, cache=tmp_path / "cache", skip_bad=True)
    assert list(again.skipped) == ["cat/bad00.jpg"]
    with pytest.raises(DataError, match=r"1 of 21 files cannot be used: cat/bad00.jpg"):
        read_images(photos, cache=tmp_path / "cache")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_reading_that_ends_early_leaves_nothing(photos, tmp_path, monkeypatch, error):
    def interrupted(job):
        raise error

    monkeypatch.setattr(reading, "decode", interrupted)
    with pytest.raises(error if isinstance(error, type) else OSError):
        read_images(photos, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_by_default_much_goes_to_the_users_cache(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path / "own"))
    assert "in memory" in read_images(photos).report[-1]
    monkeypatch.setattr(reading, "KEPT_IN_MEMORY", 10)
    assert str(tmp_path / "own" / "pictures") in read_images(photos).report[-1]
    assert "found in" in read_images(photos).report[-1]


def test_no_room_on_the_disk_is_said_before(photos, tmp_path, monkeypatch):
    full = lambda path: type("Usage", (), {"free": 100})()  # noqa: E731
    monkeypatch.setattr(reading.shutil, "disk_usage", full)
    with pytest.raises(DataError, match="or stream=True"):
        read_images(photos, cache=tmp_path / "cache")


# ---- prediction


def test_encode_does_what_reading_did(photos):
    made = read_images(photos)
    pictures = Pictures.from_description(json.loads(json.dumps(made.pictures.describe())))
    assert pictures == made.pictures
    files = list_pictures(photos)
    assert len(files) == 20
    np.testing.assert_array_equal(pictures.encode(photos), pictures.encode(files))
    assert pictures.encode(photos / "cat" / "7.png").shape == (1, 4, 4, 1)
    assert pictures.encode(photos / "cat" / "7.png").max() == 7
    assert pictures.encode([]).shape == (0, 4, 4, 1)
    with pytest.raises(DataError, match=r"1 of 2 files cannot be used.*gone.png cannot be read"):
        pictures.encode([photos / "cat" / "7.png", photos / "gone.png"])


GOOD = Pictures(4, 5, 1, ("a", "b")).describe()


@pytest.mark.parametrize(
    "change",
    [{"height": 0}, {"height": 4.0}, {"width": "5"}, {"width": True}, {"height": 10**6},
     {"channels": 2}, {"channels": True}, {"classes": "ab"}, {"classes": ["a", "a"]},
     {"classes": [1, 2]}, {"fit": "none"}, {"fit": None}, {"fit": []}, {"kind": "table"},
     {"more": 1}],
)  # fmt: skip
def test_a_description_is_checked(change):
    with pytest.raises(DataError):
        Pictures.from_description(GOOD | change)


@pytest.mark.parametrize("wrong", [None, [], "x", {}, {k: GOOD[k] for k in list(GOOD)[1:]}])
def test_what_is_no_description_is_refused(wrong):
    with pytest.raises(DataError, match="damaged or of another kind"):
        Pictures.from_description(wrong)


# ---- imports


def test_pillow_waits_and_its_lack_is_explained(tmp_path):
    code = (
        "import sys, deltarule, deltarule.data.pictures as p\n"
        "assert not {'PIL', 'sklearn', 'jax'} & set(sys.modules)\n"
        "sys.modules['PIL'] = None\n"
        "try: p.read_images('.')\n"
        "except ImportError as e: print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": str(SRC)}, timeout=60,
    )  # fmt: skip
    assert "pip install deltarule[images]" in done.stdout, done.stderr
