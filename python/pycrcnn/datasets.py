"""Fashion-MNIST and MNIST as NumPy arrays.

The files are the originals in IDX format, compressed with gzip or not. They are looked for, in this order, in

1. the directory that the environment variable ``PYCRCNN_DATA`` names,
2. ``../shared/data`` next to the current directory, then next to the source tree,
3. the user's cache, ``~/.cache/pycrcnn`` (or ``$XDG_CACHE_HOME/pycrcnn``),

each time in a sub-directory with the name of the data set. Nothing is downloaded unless asked for, by
``load(name, split, download=True)`` or on the command line by ``pycrcnn datasets download NAME``.

>>> images, labels = load("fashion-mnist", "test")
>>> images.shape, images.dtype, labels.shape
((10000, 28, 28), dtype('uint8'), (10000,))
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import logging
import math
import os
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import FormatError, InvalidValueError, PyCrCNNError

__all__ = [
    "ChecksumError",
    "DatasetNotFoundError",
    "Split",
    "class_names",
    "download",
    "find",
    "load",
    "names",
    "read_idx",
    "search_path",
]

_log = logging.getLogger("pycrcnn.datasets")

Split = Literal["train", "test"]


class DatasetNotFoundError(PyCrCNNError, FileNotFoundError):
    """The files of a data set are nowhere on the search path."""

    default_code = "dataset-not-found"


class ChecksumError(FormatError):
    """A downloaded file is not the original."""

    default_code = "checksum"


@dataclass(frozen=True)
class _File:
    """One IDX file: its name without ``.gz``, its shape, and the SHA-256 of its uncompressed bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of the uncompressed file: a magic number, one 32-bit length for each axis, one byte for each value."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


@dataclass(frozen=True)
class _Dataset:
    title: str
    url: str
    files: dict[Split, tuple[_File, _File]]
    classes: tuple[str, ...]


_DATASETS = {
    "fashion-mnist": _Dataset(
        title="Fashion-MNIST",
        url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        files={
            "train": (
                _File(
                    "train-images-idx3-ubyte",
                    (60_000, 28, 28),
                    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                ),
                _File(
                    "train-labels-idx1-ubyte",
                    (60_000,),
                    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                ),
            ),
            "test": (
                _File(
                    "t10k-images-idx3-ubyte",
                    (10_000, 28, 28),
                    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                ),
                _File(
                    "t10k-labels-idx1-ubyte",
                    (10_000,),
                    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                ),
            ),
        },
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    "mnist": _Dataset(
        title="MNIST",
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        files={
            "train": (
                _File(
                    "train-images-idx3-ubyte",
                    (60_000, 28, 28),
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                ),
                _File(
                    "train-labels-idx1-ubyte",
                    (60_000,),
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                ),
            ),
            "test": (
                _File(
                    "t10k-images-idx3-ubyte",
                    (10_000, 28, 28),
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                ),
                _File(
                    "t10k-labels-idx1-ubyte",
                    (10_000,),
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
            ),
        },
        classes=tuple("0123456789"),
    ),
}


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> names()
    ('fashion-mnist', 'mnist')
    """
    return tuple(_DATASETS)


def class_names(name: str) -> tuple[str, ...]:
    """What the ten labels of a data set stand for.

    >>> class_names("fashion-mnist")[9]
    'Ankle boot'
    """
    return _dataset(name).classes


def load(name: str, split: Split = "test", *, download: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One split of a data set.

    Parameters
    ----------
    name : str
        ``"fashion-mnist"`` or ``"mnist"``.
    split : {"train", "test"}
        60,000 or 10,000 images.
    download : bool
        Fetch the originals into the user's cache when they are not on the search path.

    Returns
    -------
    images : ndarray of uint8, shape [n, 28, 28]
        0 is the background.
    labels : ndarray of uint8, shape [n]
        0 to 9; see `class_names`.

    Raises
    ------
    InvalidValueError
        No such data set or split.
    DatasetNotFoundError
        The files are not on the search path; the message says how to get them.
    FormatError
        A file that was found is damaged.
    """
    files = _files(name, split)
    try:
        directory = find(name, split)
    except DatasetNotFoundError:
        if not download:
            raise
        directory = _download(name, split)
    images, labels = (_read(directory, file) for file in files)
    return images, labels


def find(name: str, split: Split = "test") -> Path:
    """The directory on the search path that has both files of a split.

    Raises
    ------
    InvalidValueError
        No such data set or split.
    DatasetNotFoundError
        There is none; the message says how to get the files.
    """
    files = _files(name, split)
    for directory in search_path():
        if all(_existing(directory / name / file.name) for file in files):
            return directory / name
    raise DatasetNotFoundError(_how_to_get(name, files))


def download(name: str) -> Path:
    """Fetch the originals of a data set into the user's cache, verify them, and return the directory.

    Files that are already there are not fetched again.

    Raises
    ------
    InvalidValueError
        No such data set.
    ChecksumError
        What came is not the original; nothing is kept.
    OSError
        The network or the disk failed.
    """
    for split in _dataset(name).files:
        directory = _download(name, split)
    return directory


def search_path() -> list[Path]:
    """The directories in which `load` looks for a sub-directory with the data set's name, in order."""
    return list(dict.fromkeys(_candidates()))


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 1 << 28) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, compressed with gzip or not.

    Parameters
    ----------
    path : path
        A name that ends in ``.gz`` is decompressed.
    max_bytes : int
        The most that is read, counted after decompression.

    Returns
    -------
    ndarray of uint8
        In the shape that the file states.

    Raises
    ------
    FormatError
        The file is damaged, truncated, longer than its shape says, or larger than `max_bytes`.
    OSError
        It cannot be opened.
    """
    path = Path(path)
    data = _read_bounded(path, max_bytes)
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise FormatError(f"{path}: does not start with the magic number of an IDX file of unsigned bytes")
    header = 4 + 4 * data[3]
    if data[3] == 0 or len(data) < header:
        raise FormatError(f"{path}: ends within the header ({len(data)} bytes, rank {data[3]})")
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, header, 4))
    if len(data) - header != math.prod(shape):
        raise FormatError(
            f"{path}: the header announces {math.prod(shape)} values (shape {shape}) and {len(data) - header} follow"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _dataset(name: str) -> _Dataset:
    try:
        return _DATASETS[name]
    except KeyError:
        raise InvalidValueError(f"unknown data set {name!r}: choose one of {', '.join(names())}") from None


def _files(name: str, split: Split) -> tuple[_File, _File]:
    files = _dataset(name).files
    if split not in files:
        raise InvalidValueError(f"unknown split {split!r}: choose one of {', '.join(files)}")
    return files[split]


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("PYCRCNN_DATA"):
        yield Path(chosen).expanduser()
    yield Path.cwd().parent / "shared" / "data"
    source_tree = Path(__file__).resolve().parents[2]
    if (source_tree / "pyproject.toml").is_file():
        yield source_tree.parent / "shared" / "data"
    yield _cache()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pycrcnn"


def _existing(path: Path) -> Path | None:
    """`path` itself or `path` with ``.gz``, whichever is a file."""
    return next((p for p in (path.with_name(path.name + ".gz"), path) if p.is_file()), None)


def _how_to_get(name: str, files: tuple[_File, ...]) -> str:
    wanted = " and ".join(f"{file.name}.gz" for file in files)
    searched = ", ".join(str(directory / name) for directory in search_path())
    return (
        f"{_DATASETS[name].title} was not found (looked for {wanted} in {searched}). To get it, run "
        f"`pycrcnn datasets download {name}`, or call load({name!r}, download=True), or put the files into a "
        f"directory {name} and set PYCRCNN_DATA to the directory above it."
    )


def _read(directory: Path, file: _File) -> NDArray[np.uint8]:
    path = cast(Path, _existing(directory / file.name))
    array = read_idx(path, max_bytes=file.size)
    if array.shape != file.shape:
        raise FormatError(f"{path}: has shape {array.shape}, expected {file.shape}")
    return array


def _read_bounded(path: Path, max_bytes: int) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            data = cast(BinaryIO, stream).read(max_bytes + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: not a complete gzip file ({error})") from error
    if len(data) > max_bytes:
        raise FormatError(f"{path}: holds more than the {max_bytes} bytes that are allowed")
    return data


def _download(name: str, split: Split) -> Path:
    directory = _cache() / name
    directory.mkdir(parents=True, exist_ok=True)
    for file in _files(name, split):
        if not _existing(directory / file.name):
            _fetch(f"{_dataset(name).url}{file.name}.gz", file, directory)
    return directory


def _fetch(url: str, file: _File, directory: Path) -> None:
    """Download one file; it appears in the directory only once it is complete and verified."""
    _log.info("downloading %s", url)
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        path = Path(temporary) / f"{file.name}.gz"
        try:
            with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - a constant above
                path.write_bytes(response.read(file.size + (1 << 16)))
        except http.client.HTTPException as error:
            raise OSError(f"{url}: {error!r}") from error
        try:
            content = _read_bounded(path, file.size)
        except FormatError as error:
            raise ChecksumError(f"{url}: what came is not the original, and was not kept ({error})") from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ChecksumError(f"{url}: the SHA-256 of the uncompressed file is not {file.sha256}; it was not kept")
        path.replace(directory / path.name)
