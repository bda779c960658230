"""Figures that belong to nobody but their owner, and the colours and labels that all plots share."""

from __future__ import annotations

import io
import textwrap
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "ORANGE", "RED", "TEAL", "Picture", "bars", "canvas", "tidy", "wrapped"]

#: Colours that colour-blind readers can tell apart (Okabe and Ito).
BLUE, ORANGE, TEAL, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8c8c8c"

#: Dots an inch of what Jupyter shows.
_DPI = 80


class Picture(Figure):  # type: ignore[misc, unused-ignore]
    """A figure that pyplot does not know of, which Jupyter shows all the same."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), layout="constrained")

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.savefig(data, format="png", dpi=_DPI)
        return data.getvalue()


def canvas(ax: Axes | None, width: float, height: float) -> tuple[Any, Axes]:
    """The figure and the axes to draw into: those that are given, or new ones of this size in inches."""
    if ax is not None:
        return ax.figure, ax
    picture = Picture(width, height)
    return picture, picture.add_subplot()


def tidy(ax: Axes, grid: Literal["x", "y"] | None = None) -> None:
    """Leave out what carries no information; `grid` is the axis that has lines."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color="#e5e5e5", linewidth=0.8)


def bars(ax: Axes, names: list[str], values: list[float], texts: list[str], colours: list[str] | str = BLUE) -> None:
    """Bars to the right, the first on top, each with its text at the end."""
    places = range(len(names))
    drawn = ax.barh(places, values, color=colours, height=0.65)
    ax.bar_label(drawn, texts, padding=3, fontsize=9)
    ax.set_yticks(places, names)
    ax.set_ylim(max(len(names), 3) - 0.4, -0.6)
    ax.margins(x=0.2)
    tidy(ax, "x")


def wrapped(text: str, width: int = 14) -> str:
    """A label in lines of at most this many characters where words allow it."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False))
