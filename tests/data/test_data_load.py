"""``load``: which files a name or a folder leads to, and how they are divided."""

import gzip
import hashlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from idx_files import small_set, write_idx, write_set

from deltarule.data import load, load_inputs, mnist, open_source, sources
from deltarule.data.idx import read_idx
from deltarule.errors import DataError, DownloadError


@pytest.fixture(autouse=True)
def _no_data_no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("DELTARULE_OFFLINE", "1")
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DELTARULE_DATA", raising=False)


def rows(dataset):
    return [image.tobytes() for image in dataset.x]


def parts(splits):
    return splits.train, splits.validation, splits.test


# ---- importing


def test_importing_loads_no_library_that_is_used_later():
    program = """if True:
        import sys
        import deltarule.data
        late = {"sklearn", "scipy", "pooch", "requests", "urllib3", "jax"}
        assert not late & set(sys.modules), late & set(sys.modules)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)


# ---- digits


def test_digits_are_the_bundled_ones():
    from sklearn.datasets import load_digits

    splits = load("digits")
    assert [len(part) for part in parts(splits)] == [1257, 180, 360]
    images = load_digits().images
    assert splits.test.x.dtype == np.uint8
    assert (splits.test.shape, splits.test.scale) == ((8, 8), 1 / 16)
    assert splits.test.classes == tuple("0123456789")
    found = sorted(row for part in parts(splits) for row in rows(part))
    assert found == sorted(image.astype(np.uint8).tobytes() for image in images)
    assert images.max() * splits.test.scale == 1


def test_digits_keep_image_and_label_together():
    from sklearn.datasets import load_digits

    bundled = load_digits()
    label = dict(zip(rows_of(bundled.images), bundled.target, strict=True))
    assert len(label) == 1797  # no image twice, so the pairs can be looked up
    for part in parts(load("digits")):
        assert [label[row] for row in rows(part)] == part.y.tolist()


def rows_of(images):
    return [image.astype(np.uint8).tobytes() for image in images]


def test_digits_are_divided_as_they_always_were():
    # A change of this line means that accuracies published before are not comparable any more.
    assert [part.fingerprint() for part in parts(load("digits"))] == [
        "201fe8075409b8e6",
        "97a27a0fd17a5a93",
        "e1742bc8c26c833a",
    ]


def test_digits_have_each_class_in_its_proportion():
    whole = sum(np.bincount(part.y, minlength=10) for part in parts(load("digits")))
    for part in parts(load("digits")):
        expected = whole * len(part) / 1797
        assert np.abs(np.bincount(part.y, minlength=10) - expected).max() < 1.5


@pytest.mark.parametrize(("validation", "size"), [(0, 0), (10, 10), (0.5, 718), (1427, 1427)])
def test_digits_have_one_test_set_whatever_is_held_out(validation, size):
    splits = load("digits", validation=validation)
    assert splits.test.fingerprint() == load("digits").test.fingerprint()
    assert (len(splits.validation), len(splits.train)) == (size, 1437 - size)


@pytest.mark.parametrize("validation", [9, 1428, 1437, -1, 1.0, 0.001, True, "half"])
def test_digits_refuse_a_validation_without_every_class(validation):
    with pytest.raises(DataError, match="validation must be"):
        load("digits", validation=validation)


# ---- names


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("mnits", "a known set nor a folder or file .did you mean 'mnist'..; the sets are digits"),
        ("MNIST", "did you mean 'mnist'"),
        ("fashion_mnist", "did you mean 'fashion-mnist'"),
        ("digit", "did you mean 'digits'"),
        ("quite/another/thing", "thing' is neither a known set nor a folder or file; the sets are"),
        ("", "neither"),
        ("/dev/zero", "must be one of digits"),
        ("a\0b", "cannot be read: embedded null"),
        ("long" * 100, "cannot be read: File name too long"),
        (None, "cannot be read"),
        (7, "cannot be read"),
    ],
)
def test_a_source_that_is_none(source, sentence):
    with pytest.raises(DataError, match=sentence):
        load(source)


def test_a_source_that_is_no_folder(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(b"")
    for name, sentence in {
        "fifo": "must be one of digits",
        "file": "must be one of digits",
        "loop": "Too many levels of symbolic links",
    }.items():
        with pytest.raises(DataError, match=sentence):
            load(tmp_path / name)


# ---- a folder of IDX files


@pytest.mark.parametrize("ending", ["-ubyte.gz", "-ubyte"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_folder_with_each_spelling(tmp_path, ending, dot):
    arrays = small_set()
    write_set(tmp_path, arrays, ending=ending)
    for path in tmp_path.iterdir():
        path.rename(path.with_name(path.name.replace("-idx", f"{dot}idx")))
    splits = load(str(tmp_path))
    assert [len(part) for part in parts(splits)] == [50, 10, 10]
    np.testing.assert_array_equal(splits.train.x, arrays[0][:50])
    np.testing.assert_array_equal(splits.validation.x, arrays[0][50:])  # the last sixth
    np.testing.assert_array_equal(splits.validation.y, arrays[1][50:])
    np.testing.assert_array_equal(splits.test.x, arrays[2])
    np.testing.assert_array_equal(splits.test.y, arrays[3])
    assert splits.train.classes == ("0", "1", "2")
    assert (splits.train.scale, splits.train.name) == (1 / 255, tmp_path.name)
    assert splits.train.x.dtype == np.uint8
    assert splits.train.y.dtype == np.int32


def test_folder_with_folders_named_like_the_files(tmp_path):
    # So unpack some archives: a folder train-images-idx3-ubyte beside train-images.idx3-ubyte.
    write_set(tmp_path, ending="-ubyte")
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
        path.mkdir()
    assert len(load(tmp_path).test) == 10


@pytest.mark.parametrize(("validation", "size"), [(0, 0), (1, 1), (0.1, 6), (57, 57)])
def test_folder_with_another_validation(tmp_path, validation, size):
    splits = load(write_set(tmp_path), validation=validation)
    assert (len(splits.validation), len(splits.train)) == (size, 60 - size)
    assert rows(splits.train) + rows(splits.validation) == rows(load(tmp_path, validation=0).train)


def test_folder_without_a_file(tmp_path):
    write_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"it lacks train-labels-idx1-ubyte\.gz; add"):
        load(tmp_path)


def test_folder_with_a_pipe_for_a_file(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    os.mkfifo(tmp_path / "t10k-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match="is a device, pipe or socket"):
        load(tmp_path)


def test_folder_with_unequal_counts(tmp_path):
    images, labels, *test = small_set()
    write_set(tmp_path, [images, labels[:-1], *test])
    with pytest.raises(DataError, match=r"60 images, but .*train-labels.* 59 labels"):
        load(tmp_path)


def test_folder_with_labels_for_images(tmp_path):
    write_set(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes((tmp_path / "train-images-idx3-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match=r"is not an IDX label file \(magic 0x00000803 is an image"):
        load(tmp_path)


def test_folder_with_a_test_label_that_was_never_trained(tmp_path):
    arrays = small_set()
    arrays[3][4] = 7
    with pytest.raises(DataError, match=r"from 0 to 2, but y\[4\] is 7"):
        load(write_set(tmp_path, arrays))


def test_folder_with_test_images_of_another_size(tmp_path):
    arrays = small_set()
    arrays[2] = arrays[2][:, :3]
    with pytest.raises(DataError, match=r"test must have the shape of train, \(4, 4\)"):
        load(write_set(tmp_path, arrays))


def test_folder_sorted_by_class(tmp_path):
    # 20 of each class in order; the last sixth is 10 of class 2, the last 20 are all of class 2
    arrays = small_set()
    arrays[1].sort()
    write_set(tmp_path, arrays)
    assert len(load(tmp_path).validation) == 10
    with pytest.raises(DataError, match="all of class '2'; shuffle the files or pass validation=0"):
        load(tmp_path, validation=20)


def test_load_inputs(tmp_path):
    images, labels, *_ = small_set()
    path = write_idx(tmp_path / "some.gz", images)
    np.testing.assert_array_equal(load_inputs(path), images)
    with pytest.raises(DataError, match="is not an IDX image file"):
        load_inputs(write_idx(tmp_path / "labels", labels))


# ---- published sets, with small ones in their place


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small set that takes the place of MNIST, with the MD5 of its unpacked files."""
    arrays = small_set(classes=10)
    folder = write_set(tmp_path / "data" / "mnist", arrays)
    md5 = tuple(
        hashlib.md5(gzip.decompress((folder / f"{stem}-ubyte.gz").read_bytes())).hexdigest()
        for stem in (
            "train-images-idx3",
            "train-labels-idx1",
            "t10k-images-idx3",
            "t10k-labels-idx1",
        )
    )
    for name, constant in {"mnist": mnist.MNIST, "fashion-mnist": mnist.FASHION_MNIST}.items():
        small = mnist.Published(
            constant.collection,
            constant.classes,
            md5=md5 if constant.md5 else (),
            bare=constant.bare,
        )
        monkeypatch.setitem(sources.KNOWN, name, partial(mnist.read_published, small))
    return folder


@pytest.mark.parametrize("bare", [False, True], ids=["DATA/mnist", "DATA"])
def test_a_name_is_looked_for_where_the_variable_says(published, monkeypatch, bare):
    monkeypatch.setenv("DELTARULE_DATA", str(published if bare else published.parent))
    splits = load("mnist")
    assert splits.train.name == "mnist"
    assert splits.train.fingerprint() == load(published).train.fingerprint()


def test_content_counts_and_not_its_packing(published, monkeypatch):
    monkeypatch.setenv("DELTARULE_DATA", str(published))
    for path in published.iterdir():
        (published / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert len(load("mnist").test) == 10


@pytest.mark.parametrize("stem", ["train-images-idx3", "t10k-labels-idx1"])
def test_another_set_under_the_name_is_refused(published, monkeypatch, stem):
    monkeypatch.setenv("DELTARULE_DATA", str(published.parent))
    path = published / f"{stem}-ubyte.gz"
    array = read_idx(path)
    array.flat[3] ^= 1
    write_idx(path, array)
    with pytest.raises(DataError, match=f"{stem}-ubyte.gz is not the file published as mnist"):
        load("mnist")
    assert len(load(published).test) == 10  # by its path it is just a folder


def test_a_set_with_a_file_missing_is_not_replaced_by_a_download(published, monkeypatch):
    monkeypatch.setenv("DELTARULE_DATA", str(published.parent))
    (published / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match="it lacks t10k-images"):
        load("mnist")


def test_the_files_of_mnist_are_not_taken_for_fashion(published, monkeypatch):
    monkeypatch.setenv("DELTARULE_DATA", str(published))  # no folder fashion-mnist in there
    with pytest.raises(DownloadError, match="fashion-mnist is not in the cache"):
        load("fashion-mnist")
    published.rename(published.with_name("fashion-mnist"))
    monkeypatch.setenv("DELTARULE_DATA", str(published.parent))
    assert load("fashion-mnist").test.classes[9] == "Ankle boot"


@pytest.mark.parametrize("variable", [None, "", "empty", "nowhere"])
def test_without_files_the_cache_and_the_mirrors_are_asked(
    published, monkeypatch, tmp_path, variable
):
    (tmp_path / "empty").mkdir()
    if variable is not None:
        monkeypatch.setenv("DELTARULE_DATA", variable and str(tmp_path / variable))
    with pytest.raises(DownloadError, match="DELTARULE_OFFLINE"):
        load("mnist")
    asked = []
    monkeypatch.setattr(mnist, "fetch", lambda collection: asked.append(collection) or published)
    assert len(load("mnist").test) == 10
    assert asked == [mnist.MNIST.collection]


@pytest.mark.parametrize("source", [mnist.MNIST, mnist.FASHION_MNIST], ids=["mnist", "fashion"])
def test_the_tables_are_complete(source):
    assert len(source.classes) == 10
    names = [file.name for file in source.collection.files]
    assert names == [f"{s}-{e}.gz" for s, e in zip(mnist.STEMS, mnist.ENDINGS * 2, strict=True)]
    assert len({file.sha256 for file in source.collection.files}) == 4
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in source.collection.files)
    assert len(source.collection.mirrors) >= 2
    for mirror in source.collection.mirrors:
        assert mirror.startswith("https://")
        assert mirror.endswith("/")


# ---- the real MNIST

REAL = os.environ.get("DELTARULE_DATA")
with_mnist = pytest.mark.skipif(
    not REAL or not any(any(Path(REAL, sub).glob("train-images*")) for sub in ("mnist", "")),
    reason="needs the files of MNIST: set DELTARULE_DATA to the folder that holds them",
)


@with_mnist
def test_mnist_is_the_set_of_the_book(monkeypatch):
    monkeypatch.setenv("DELTARULE_DATA", REAL)
    splits = load("mnist")
    assert [part.x.shape for part in parts(splits)] == [
        (50_000, 28, 28),
        (10_000, 28, 28),
        (10_000, 28, 28),
    ]
    assert splits.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert splits.train.x.dtype == np.uint8
    assert (splits.train.x.max(), splits.train.scale) == (255, 1 / 255)
    # The mean of all pixels in [0, 1] is 0.1307, as is written everywhere.
    pixels = np.mean([part.x.mean() for part in (*[splits.train] * 5, splits.validation)])
    assert pixels / 255 == pytest.approx(0.1307, abs=5e-5)


@with_mnist
def test_mnist_without_validation_has_the_same_examples_in_the_same_order(monkeypatch):
    monkeypatch.setenv("DELTARULE_DATA", REAL)
    whole, divided = load("mnist", validation=0), load("mnist")
    assert (len(whole.train), len(whole.validation)) == (60_000, 0)
    assert whole.train[:50_000].fingerprint() == divided.train.fingerprint()
    assert whole.train[50_000:].fingerprint() == divided.validation.fingerprint()
    # known counts of the 60 000: 5923 zeros, 6742 ones, ..., 5949 nines
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(whole.train.y).tolist() == counts


def test_the_record_of_a_published_set_has_its_files(published, monkeypatch):
    monkeypatch.setenv("DELTARULE_DATA", str(published))
    record = open_source("mnist").record
    assert record["files"] == open_source(published).record["files"]
    assert record["rows"]["validation"] == {"start": 50, "stop": 60}
