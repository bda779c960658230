"""Charts: one look for all experiments, and small files. The canvas is that of `pycrcnn.viz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from pycrcnn.viz.canvas import BLUE, GREY, ORANGE, RED, TEAL, Picture

__all__ = ["COLOURS", "save", "subplots"]

#: Of the members of a series.
COLOURS = (BLUE, ORANGE, TEAL, RED, GREY)

_STYLE = {
    "font.size": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def subplots(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure of a size in inches and its axes ``[rows, columns]``."""
    with matplotlib.rc_context(_STYLE):
        figure = Picture(*size)
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Any, path: Path) -> None:
    """Write a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):  # ticks and legends look there when they are drawn
        figure.savefig(path, dpi=90)
