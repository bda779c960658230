"""A progress bar of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pycrcnn._bars import bar

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
    with bar("client", total=images, unit="image") as shown_bar:

        def tell(done: float) -> None:
            shown_bar.update(int(done) - shown_bar.n)

        yield tell
