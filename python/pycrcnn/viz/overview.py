"""A program on one page."""

from __future__ import annotations

from typing import Any

from pycrcnn.program.explanation import Explanation
from pycrcnn.viz.canvas import Picture
from pycrcnn.viz.costs import seconds, traffic
from pycrcnn.viz.noise import noise_budget
from pycrcnn.viz.plan import plan

__all__ = ["overview"]


def overview(explanation: Explanation) -> Any:
    """A program on one page: its steps, where time goes, what travels, and the noise budget where one is predicted.

    Parameters
    ----------
    explanation : Explanation
        Of :meth:`pycrcnn.Program.explain`.

    Returns
    -------
    Figure
    """
    exact = bool(explanation.plain_moduli)
    steps = len(explanation.steps)
    heights = [3.6, 1.6 + 0.2 * steps, *([2.8] if exact else [])]
    picture = Picture(min(16.0, max(9.0, 1.0 * steps + 1.5)), sum(heights))
    rows = picture.add_gridspec(len(heights), 2, height_ratios=heights)
    plan(explanation, picture.add_subplot(rows[0, :]))
    seconds(explanation, picture.add_subplot(rows[1, 0]))
    traffic(explanation, picture.add_subplot(rows[1, 1]))
    if exact:
        noise_budget(explanation, picture.add_subplot(rows[2, :]))
    primes = "+".join(map(str, explanation.prime_bits))
    picture.suptitle(
        f"{explanation.scheme}, N = {explanation.degree}, primes of {primes} = {explanation.modulus_bits} bits, "
        f"error to be expected {explanation.error:.2g}",
        fontsize=11,
    )
    return picture
