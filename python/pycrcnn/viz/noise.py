"""Noise budgets and errors, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from pycrcnn.errors import InvalidValueError, ShapeError
from pycrcnn.program.explanation import Explanation
from pycrcnn.viz.canvas import BLUE, ORANGE, RED, TEAL, canvas, tidy, wrapped

__all__ = ["errors", "noise_budget"]


def noise_budget(budgets: Explanation | Sequence[tuple[str, float]], ax: Axes | None = None) -> Any:
    """Bits of noise budget that are left after each step (BFV). At 0 an answer cannot be decrypted any more.

    Parameters
    ----------
    budgets : Explanation, or sequence of (str, float)
        The plan of a packed BFV program, which predicts the least that is left; or names of steps with bits, as they
        were measured, the fresh ciphertext first.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Figure

    Raises
    ------
    InvalidValueError
        The plan is not one of packed BFV, or there are no steps.
    """
    title = "noise budget, measured"
    if isinstance(budgets, Explanation):
        if not budgets.fresh_noise_budget:
            raise InvalidValueError("budgets: only plans of packed BFV predict them; give names and bits of steps")
        title = "noise budget, the least that is predicted"
        steps = [(step.kind, float(step.noise_budget)) for step in budgets.steps]
        budgets = [("fresh", float(budgets.fresh_noise_budget)), *steps]
    if not budgets:
        raise InvalidValueError("budgets: at least one step is needed")
    names, bits = [name for name, _ in budgets], [value for _, value in budgets]
    figure, ax = canvas(ax, max(4.0, 1.1 * len(names) + 1.0), 3.2)
    places = range(len(names))
    drawn = ax.bar(places, bits, 0.65, color=[RED if value <= 0 else BLUE for value in bits])
    ax.bar_label(drawn, [f"{value:.0f}" for value in bits], padding=2, fontsize=9)
    ax.axhline(0, color=RED, linewidth=1.2)
    ax.set_xticks(places, [wrapped(name.replace("+", " + ")) for name in names], fontsize=8)
    ax.set_ylabel("bits left")
    ax.set_title(title)
    ax.margins(y=0.12)
    tidy(ax, "y")
    return figure


def errors(names: Sequence[str], ax: Axes | None = None, **series: Sequence[float]) -> Any:
    """Errors layer by layer on a logarithmic axis, such as those that were predicted and those that were measured.

    Parameters
    ----------
    names : sequence of str
        Of the layers.
    ax : Axes, optional
        Where to draw.
    **series : sequence of float
        The errors of each layer, by the name that the legend has for them. Zeros are left out.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        A series has another length than the names.
    """
    for name, values in series.items():
        if len(values) != len(names):
            raise ShapeError(f"{name}: {len(values)} errors for {len(names)} layers")
    figure, ax = canvas(ax, max(4.0, 1.1 * len(names) + 1.0), 3.2)
    for (name, values), colour in zip(series.items(), _cycled(len(series)), strict=True):
        shown: Mapping[int, float] = {place: value for place, value in enumerate(values) if value > 0}
        ax.plot(list(shown), list(shown.values()), "o-", color=colour, label=name)
    ax.set_yscale("log")
    ax.set_xticks(range(len(names)), [wrapped(name) for name in names], fontsize=8)
    ax.set_ylabel("error")
    ax.set_title("errors layer by layer")
    if series:
        ax.legend(frameon=False)
    tidy(ax, "y")
    return figure


def _cycled(number: int) -> list[str]:
    colours = (BLUE, ORANGE, TEAL, RED)
    return [colours[i % len(colours)] for i in range(number)]
