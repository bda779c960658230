"""Where time goes, and what travels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from pycrcnn._quantities import bytes_text, seconds_text
from pycrcnn.program.explanation import Explanation
from pycrcnn.viz.canvas import BLUE, GREY, ORANGE, TEAL, bars, canvas

__all__ = ["seconds", "traffic"]

#: What a run spends outside of its steps.
_REST = "messages"


def seconds(durations: Explanation | Mapping[str, float], ax: Axes | None = None) -> Any:
    """Where time goes: a bar for each step.

    Parameters
    ----------
    durations : Explanation, or mapping of str to float
        A plan, whose predicted seconds on one core are drawn: of its steps where it has them, and of what is around
        them (unpacking, packing); or seconds by name, as they were measured.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Figure
    """
    title = "measured"
    if isinstance(durations, Explanation):
        title = f"predicted, one core: {seconds_text(durations.seconds)} a run"
        pairs = _predicted(durations)
    else:
        pairs = list(durations.items())
    figure, ax = canvas(ax, 6.0, 0.35 * len(pairs) + 1.2)
    names, values = [name for name, _ in pairs], [value for _, value in pairs]
    colours = [
        GREY if name == _REST else ORANGE if "square" in name else TEAL if name == "sum" else BLUE for name in names
    ]
    unit, size = ("s", 1.0) if max(values, default=0.0) >= 1 else ("ms", 1e-3)
    bars(ax, names, [value / size for value in values], [seconds_text(value) for value in values], colours)
    ax.set_xlabel(unit)
    ax.set_title(title)
    return figure


def _predicted(plan: Explanation) -> list[tuple[str, float]]:
    steps = [(f"{step.kind}", step.seconds) for step in plan.steps if step.seconds]
    if not steps:
        return [("a run", plan.seconds)]
    rest = plan.seconds - sum(value for _, value in steps)
    return [*steps, (_REST, rest)] if rest > 0 else steps


def traffic(sizes: Explanation | Mapping[str, float], ax: Axes | None = None) -> Any:
    """What travels between client and server, on a logarithmic axis.

    Parameters
    ----------
    sizes : Explanation, or mapping of str to float
        A plan: its key set, which is sent once, and the bytes of a run up and down; or bytes by name.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Figure
    """
    title = "bytes"
    if isinstance(sizes, Explanation):
        title = f"bytes; a run takes {sizes.images} image{'s' if sizes.images > 1 else ''}"
        sizes = {"keys, sent once": sizes.key_bytes, "a run, up": sizes.bytes_up, "a run, down": sizes.bytes_down}
    figure, ax = canvas(ax, 6.0, 0.35 * len(sizes) + 1.2)
    values = [float(value) for value in sizes.values()]
    colours = [TEAL if "key" in name else BLUE for name in sizes]
    bars(ax, list(sizes), values, [bytes_text(value) for value in values], colours)
    ax.set_xscale("log")
    ax.set_xlim(left=min((value for value in values if value > 0), default=1.0) / 4)
    ax.set_xlabel("bytes")
    ax.set_title(title)
    return figure
