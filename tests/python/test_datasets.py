import gzip
import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pycrcnn import datasets
from pycrcnn.errors import FormatError, InvalidValueError


def idx(array):
    """`array` as the bytes of an IDX file."""
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return b"\x00\x00\x08" + bytes([array.ndim]) + lengths + array.tobytes()


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A search path with nothing on it; returns its directories for PYCRCNN_DATA and the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYCRCNN_DATA", str(tmp_path / "chosen"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "a" / "b" / "datasets.py"))
    return tmp_path / "chosen", tmp_path / "cache" / "pycrcnn"


@pytest.fixture
def origin(monkeypatch, tmp_path):
    """A stand-in for the place that the originals come from: small files with their own checksums."""
    directory = tmp_path / "origin"
    directory.mkdir()
    files = {}
    for split, count in (("train", 6), ("test", 4)):
        images = np.arange(count * 28 * 28, dtype=np.uint8).reshape(count, 28, 28)
        arrays = zip(datasets._DATASETS["mnist"].files[split], (images, np.arange(count, dtype=np.uint8)), strict=True)
        files[split] = []
        for file, array in arrays:
            content = idx(array)
            (directory / f"{file.name}.gz").write_bytes(gzip.compress(content))
            files[split].append(replace(file, shape=array.shape, sha256=hashlib.sha256(content).hexdigest()))
    changed = replace(datasets._DATASETS["mnist"], url=f"{directory.as_uri()}/", files=files)
    monkeypatch.setitem(datasets._DATASETS, "mnist", changed)
    return directory


@pytest.mark.parametrize("name", datasets.names())
@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
def test_the_originals(name, split, count):
    images, labels = datasets.load(name, split)
    assert images.shape == (count, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert np.bincount(labels).size == len(datasets.class_names(name)) == 10
    for array, file in zip((images, labels), datasets._DATASETS[name].files[split], strict=True):
        assert hashlib.sha256(idx(array)).hexdigest() == file.sha256


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=4, max_side=5), elements=st.integers(0, 255)), st.booleans())
def test_idx_round_trip(tmp_path_factory, array, compressed):
    path = tmp_path_factory.mktemp("idx") / ("file.gz" if compressed else "file")
    path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    np.testing.assert_array_equal(datasets.read_idx(path), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not start with the magic number"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "does not start with the magic number"),
        (b"\x00\x00\x08\x00", "ends within the header"),
        (b"\x00\x00\x08\x03\x00\x00", "ends within the header"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"announces 6 values \(shape \(2, 3\)\) and 5 follow"),
        (idx(np.zeros((2, 3), np.uint8)) + b"\x00", "and 7 follow"),
        (b"\x00\x00\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", "and 0 follow"),
    ],
)
def test_malformed_idx(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        datasets.read_idx(path)


def test_malformed_gzip(tmp_path):
    whole = gzip.compress(idx(np.arange(200, dtype=np.uint8)))
    path = tmp_path / "file.gz"
    for content in (b"not gzip", whole[:-9], whole[:30], whole[:40] + b"\xff" * 8 + whole[48:]):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="not a complete gzip file"):
            datasets.read_idx(path)


def test_a_decompression_bomb_is_not_expanded(tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24)))
    with pytest.raises(FormatError, match="more than the 1000 bytes"):
        datasets.read_idx(path, max_bytes=1000)


def test_unknown_names():
    with pytest.raises(InvalidValueError, match="unknown data set 'cifar': choose one of fashion-mnist, mnist"):
        datasets.load("cifar")
    with pytest.raises(InvalidValueError, match="unknown split 'dev': choose one of train, test"):
        datasets.load("mnist", "dev")


def test_what_is_not_there_is_explained(nowhere):
    with pytest.raises(datasets.DatasetNotFoundError) as raised:
        datasets.load("fashion-mnist", "test")
    message = str(raised.value)
    assert "Fashion-MNIST was not found (looked for t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz" in message
    assert str(nowhere[0] / "fashion-mnist") in message
    assert "run `pycrcnn datasets download fashion-mnist`" in message
    assert isinstance(raised.value, FileNotFoundError)
    assert raised.value.code == "dataset-not-found"


def test_search_order(nowhere, origin):
    chosen, cache = nowhere
    for directory in (cache, chosen):
        (directory / "mnist").mkdir(parents=True)
        for path in origin.iterdir():
            (directory / "mnist" / path.name).write_bytes(path.read_bytes())
        assert datasets.find("mnist") == directory / "mnist"
    (chosen / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert datasets.find("mnist", "test") == cache / "mnist"
    assert datasets.find("mnist", "train") == chosen / "mnist"


def test_uncompressed_files_are_read_too(nowhere, origin):
    directory = nowhere[0] / "mnist"
    directory.mkdir(parents=True)
    for path in origin.iterdir():
        (directory / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    assert datasets.load("mnist")[0].shape == (4, 28, 28)


def test_a_file_of_another_shape_is_refused(nowhere, origin):
    directory = nowhere[0] / "mnist"
    directory.mkdir(parents=True)
    for path in origin.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    (directory / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(3, np.uint8))))
    with pytest.raises(FormatError, match=r"has shape \(3,\), expected \(4,\)"):
        datasets.load("mnist")


def test_download(nowhere, origin):
    with pytest.raises(datasets.DatasetNotFoundError):
        datasets.load("mnist")
    assert datasets.load("mnist", download=True)[1].tolist() == [0, 1, 2, 3]
    assert datasets.download("mnist") == nowhere[1] / "mnist"
    assert sorted(path.name for path in (nowhere[1] / "mnist").iterdir()) == sorted(p.name for p in origin.iterdir())
    for path in origin.iterdir():
        path.unlink()
    assert datasets.load("mnist", "train")[1].size == 6


@pytest.mark.parametrize("content", [gzip.compress(b"something else"), b"<html>", gzip.compress(bytes(1 << 20))])
def test_a_download_that_is_not_the_original_is_not_kept(nowhere, origin, content):
    (origin / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(datasets.ChecksumError, match="not kept"):
        datasets.load("mnist", download=True)
    assert list((nowhere[1] / "mnist").iterdir()) == []


def test_import_opens_no_connection():
    code = (
        "import socket\n"
        "def refuse(*arguments): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\n"
        "import pycrcnn, pycrcnn.datasets, pycrcnn.models, pycrcnn.cli\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
