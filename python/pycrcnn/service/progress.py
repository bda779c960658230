"""A progress bar of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pycrcnn.errors import MissingPackageError

__all__ = ["shown"]


@contextmanager
def shown(images: int, wanted: bool) -> Iterator[Callable[[float], None]]:
    """A bar, where one is wanted; what it gives is told how many of the images are done, parts of them included.

    Raises
    ------
    MissingPackageError
        tqdm is not installed.
    """
    if not wanted:
        yield lambda done: None
        return
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingPackageError("progress: the bar needs tqdm: pip install 'pycrcnn[client]'") from None
    with tqdm(total=images, unit="image") as bar:

        def tell(done: float) -> None:
            bar.update(int(done) - bar.n)

        yield tell
