"""The steps of a program over what is left of the modulus."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from pycrcnn.program.explanation import Explanation, Step
from pycrcnn.viz.canvas import BLUE, GREY, ORANGE, TEAL, canvas, tidy, wrapped

__all__ = ["plan"]

_COLOURS = {"square": ORANGE, "sum": TEAL}


def plan(explanation: Explanation, ax: Axes | None = None) -> Any:
    """The steps of a program: a column each, as high as the modulus of its input, prime on prime.

    Every division by a prime lowers the modulus, and with it the work of the steps that follow. Below each column stand
    the layers that it computes, its rotations (those that share a decomposition + those that do not) and its plaintext
    products.

    Parameters
    ----------
    explanation : Explanation
        Of :meth:`pycrcnn.Program.explain`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Figure
    """
    steps = explanation.steps
    figure, ax = canvas(ax, max(5.0, 1.25 * len(steps) + 1.5), 3.8)
    for place, step in enumerate(steps):
        bottom = 0
        # A step that does not change the modulus says nothing of it: it has all of it.
        for bits in explanation.prime_bits[: step.primes or None]:
            ax.bar(place, bits, 0.75, bottom, color=_colour(step), edgecolor="white", linewidth=1.5)
            ax.text(place, bottom + bits / 2, str(bits), ha="center", va="center", color="white", fontsize=8)
            bottom += bits
    ax.axhline(explanation.limit_bits, color=GREY, linestyle=":")
    limit = f"{explanation.limit_bits} bits: limit at {explanation.security}-bit security, N = {explanation.degree}"
    ax.annotate(limit, (1, 1), xycoords="axes fraction", ha="right", va="bottom", color=GREY, fontsize=8)
    ax.set_xticks(range(len(steps)), [_label(step) for step in steps], fontsize=8)
    ax.set_xlim(-0.6, len(steps) - 0.4)
    ax.set_ylabel("bits of the modulus")
    ax.set_title(f"{explanation.layout} {explanation.scheme}: {len(steps)} steps", loc="left")
    tidy(ax)
    return figure


def _colour(step: Step) -> str:
    return next((colour for kind, colour in _COLOURS.items() if kind in step.kind), BLUE)


def _label(step: Step) -> str:
    lines = [wrapped(step.kind.replace("+", " + "), 18)]
    if step.layers:
        lines.append(wrapped(step.layers, 18))
    if step.hoisted_rotations or step.giant_rotations:
        lines.append(f"{step.hoisted_rotations}+{step.giant_rotations} rotations")
    if step.diagonals:
        lines.append(f"{step.diagonals} product{'s' * (step.diagonals > 1)}")
    return "\n".join(lines)
