"""Progress bars, of tqdm, which is imported when one is asked for."""

from __future__ import annotations

from typing import Any

from pycrcnn.errors import MissingPackageError

__all__ = ["bar"]


def bar(extra: str, *args: Any, **options: Any) -> Any:
    """A progress bar.

    Parameters
    ----------
    extra : str
        The extra of this package that brings tqdm.
    *args, **options
        Of ``tqdm.auto.tqdm``.

    Raises
    ------
    MissingPackageError
        tqdm is not installed.
    """
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingPackageError(f"a progress bar needs tqdm: pip install 'pycrcnn[{extra}]'") from None
    return tqdm(*args, **options)
