"""IDX files: what is written is read; whatever is broken is refused in a sentence, and cheaply."""

import gzip
import os
import struct
import tempfile
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from idx_files import CODES, idx_bytes, write_idx

from deltarule.data import idx, load_inputs
from deltarule.data.idx import read_idx
from deltarule.errors import DataError

IMAGES = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
HUGE = 2**31


def refuse(path, match, **options):
    """Assert that reading fails with one sentence that names the file."""
    with pytest.raises(DataError, match=match) as caught:
        read_idx(path, **options)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def refuse_content(tmp_path, content, match, **options):
    path = tmp_path / "file"
    path.write_bytes(content)
    refuse(path, match, **options)


def test_a_file_written_by_hand(tmp_path):
    # two zeros, 0x08 unsigned bytes, 0x02 axes, 2 rows, 3 columns, then the six numbers
    path = tmp_path / "hand"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255]))
    array = read_idx(path)
    assert array.dtype == np.uint8
    assert array.tolist() == [[1, 2, 3], [4, 5, 255]]
    # 0x0b is a big-endian 16-bit integer: 0x0102 = 258, 0xfffe = -2
    path.write_bytes(bytes([0, 0, 11, 1, 0, 0, 0, 2, 1, 2, 255, 254]))
    assert read_idx(path).tolist() == [258, -2]


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda code: hnp.arrays(code, hnp.array_shapes(max_dims=4, max_side=7))
    ),
    st.booleans(),
    st.sampled_from([1, 2, 7, 64]),
)
def test_what_is_written_is_read(array, packed, block):
    # However the packed bytes are cut into blocks.
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(idx, "BLOCK", block)
        found = read_idx(write_idx(Path(folder, "file"), array, packed=packed))
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


def test_a_large_packed_file_crosses_blocks(tmp_path):
    array = np.random.default_rng(0).integers(0, 4, (300, 28, 28), dtype=np.uint8)
    path = write_idx(tmp_path / "images.gz", array)
    assert path.stat().st_size > idx.BLOCK
    np.testing.assert_array_equal(load_inputs(path), array)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_truncated_at_every_byte(tmp_path, packed):
    whole = gzip.compress(idx_bytes(IMAGES)) if packed else idx_bytes(IMAGES)
    for cut in range(len(whole)):
        refuse_content(tmp_path, whole[:cut], "is truncated: expected [0-9]+ bytes .* got ")


def test_truncation_says_how_much_came(tmp_path):
    # 4 magic + 12 lengths + 12 pixels = 28 bytes
    refuse_content(tmp_path, idx_bytes(IMAGES)[:-5], r"expected 28 bytes \(2 x 3 x 2\), got .*23")
    random = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    packed = gzip.compress(idx_bytes(random))
    refuse_content(
        tmp_path, packed[:-1], "expected 7072 bytes .* got 7072 without the gzip trailer"
    )
    refuse_content(tmp_path, packed[: len(packed) // 2], "expected 7072 bytes .* got 3")


def test_a_damaged_gzip_never_gives_other_pixels(tmp_path):
    whole = bytearray(gzip.compress(idx_bytes(IMAGES), mtime=0))
    path = tmp_path / "file"
    refused = 0
    for position in range(len(whole)):
        for bit in range(8):
            whole[position] ^= 1 << bit
            path.write_bytes(whole)
            try:
                np.testing.assert_array_equal(read_idx(path), IMAGES)  # time stamp, system, ...
            except DataError:
                refused += 1
            whole[position] ^= 1 << bit
    assert refused > 8 * (len(whole) - 10)  # all but bits of the ten bytes of the gzip header


@pytest.mark.parametrize("position", range(1, 9))
def test_wrong_checksum_or_length_in_the_trailer(tmp_path, position):
    packed = bytearray(gzip.compress(idx_bytes(IMAGES)))
    packed[-position] ^= 1
    refuse_content(tmp_path, packed, "is damaged .*incorrect (data|length) check")


@pytest.mark.parametrize(
    "extra",
    [b"\0", b"\0" * 512, b"garbage", gzip.compress(b""), gzip.compress(b"more"), b"\x1f\x8b"],
    ids=["zero", "padding", "garbage", "empty member", "member", "half a header"],
)
def test_bytes_after_the_end(tmp_path, extra):
    plain = idx_bytes(IMAGES)
    refuse_content(tmp_path, gzip.compress(plain) + extra, "bytes after the end of its gzip data")
    refuse_content(tmp_path, plain + extra, "more than the 28 bytes")
    refuse_content(tmp_path, gzip.compress(plain + extra), "more than the 28 bytes")


def test_two_members_are_not_joined(tmp_path):
    plain = idx_bytes(IMAGES)
    halves = gzip.compress(plain[:20]) + gzip.compress(plain[20:])
    refuse_content(tmp_path, halves, "bytes after the end of its gzip data")


@pytest.mark.parametrize(
    ("magic", "expect", "sentence"),
    [
        (0x803, "labels", r"is not an IDX label file \(magic 0x00000803 is an image file\)"),
        (0x801, "images", r"is not an IDX image file \(magic 0x00000801 is a label file\)"),
        (0x01080000, "labels", r"magic 0x01080000 is little-endian"),
        (0x03080000, None, r"is not an IDX file \(magic 0x03080000 is little-endian"),
        (0x3C68746D, "images", r"magic 0x3c68746d is something else"),  # <htm
        (0x00000A03, None, "is not an IDX file"),  # no such type
        (0x00000800, None, "is not an IDX file"),  # no axis
        (0x000008FF, None, "is not an IDX file"),  # more axes than NumPy has
        (0x00010803, None, "is not an IDX file"),
    ],
)
def test_wrong_magic(tmp_path, magic, expect, sentence):
    content = struct.pack(">4I", magic, 1, 1, 1) + b"\0"
    refuse_content(tmp_path, content, sentence, expect=expect)


def test_gzip_packed_twice(tmp_path):
    twice = gzip.compress(gzip.compress(idx_bytes(IMAGES)))
    refuse_content(tmp_path, twice, r"magic 0x1f8b08.. is something else")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "shape",
    [
        (HUGE, 28, 28),
        (2**32 - 1, 2**32 - 1, 2**32 - 1),  # 2^96 bytes: 64-bit arithmetic would wrap
        (2**22, 2**21, 2**21),  # 2^64: wraps to exactly 0
        (0x02000000, 0x03000000, 0x02000000),  # the true lengths in little-endian order
        (3, 3, 2),
    ],
)
def test_lengths_that_lie_set_nothing_aside(tmp_path, shape, packed):
    content = struct.pack(">4I", 0x803, *shape) + bytes(12)
    content = gzip.compress(content) if packed else content
    tracemalloc.start()
    try:
        refuse_content(tmp_path, content, "is truncated: expected [0-9]+ bytes")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("shape", [(0, 28, 28), (5, 0, 28), (0, HUGE, HUGE)])
def test_no_images(tmp_path, shape):
    refuse_content(tmp_path, struct.pack(">4I", 0x803, *shape), "which holds nothing")


@pytest.mark.parametrize("declared", [1, 100])
def test_gzip_bomb_is_unpacked_no_further_than_declared(tmp_path, declared):
    # 256 MB of zeros packed into 256 kB, behind a header that declares a few images.
    bomb = gzip.compress(struct.pack(">4I", 0x803, declared, 28, 28) + bytes(1 << 28), 1)
    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb)
    tracemalloc.start()
    try:
        refuse(path, f"more than the {16 + declared * 784} bytes")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * declared * 784 + 1_000_000


def test_what_is_not_a_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    cases = {
        tmp_path: "is a folder",
        tmp_path / "fifo": "is a device, pipe or socket",
        Path("/dev/zero"): "is a device, pipe or socket",
        tmp_path / "loop": "cannot be read: Too many levels of symbolic links",
        tmp_path / "none": "cannot be read: No such file",
        tmp_path / ("long" * 100): "cannot be read: File name too long",
        "a\0b": "cannot be read: embedded null byte",
    }
    for path, sentence in cases.items():
        failures = []
        reader = threading.Thread(target=_keep_error, args=(path, failures), daemon=True)
        reader.start()
        reader.join(timeout=2)
        assert not reader.is_alive(), f"reading {path} hangs"
        assert isinstance(failures[0], DataError)
        assert sentence in str(failures[0])


def _keep_error(path, failures):
    try:
        read_idx(path)
    except Exception as error:  # noqa: BLE001 - looked at by the test
        failures.append(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_no_permission(tmp_path):
    path = write_idx(tmp_path / "images", IMAGES)
    path.chmod(0)
    refuse(path, "cannot be read: Permission denied")


def test_memory_that_is_not_there(tmp_path, monkeypatch):
    path = write_idx(tmp_path / "images", IMAGES)

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(idx.np, "empty", no_memory)
    refuse(path, "larger than the memory that is free")
