"""A program on one page."""

from __future__ import annotations

from typing import Any

from pycrcnn.program.explanation import Explanation
from pycrcnn.program.interactive import InteractiveExplanation
from pycrcnn.viz.canvas import Picture
from pycrcnn.viz.costs import seconds, traffic
from pycrcnn.viz.noise import noise_budget
from pycrcnn.viz.plan import plan

__all__ = ["overview"]


def overview(explanation: Explanation | InteractiveExplanation) -> Any:
    """A program on one page: its steps, where time goes, what travels, and the noise budget where one is predicted.

    Parameters
    ----------
    explanation : Explanation or InteractiveExplanation
        Of :meth:`pycrcnn.Program.explain`; or of an interactive program, whose parts stand one below the other.

    Returns
    -------
    Figure
    """
    if isinstance(explanation, Explanation):
        picture = Picture(_width(explanation), sum(_heights(explanation)))
        _draw(picture, explanation)
        return picture
    stages = explanation.stages
    heights = [sum(_heights(stage)) for stage in stages]
    picture = Picture(max(map(_width, stages)), sum(heights))
    for number, (part, stage) in enumerate(
        zip(picture.subfigures(len(stages), 1, height_ratios=heights, squeeze=False)[:, 0], stages, strict=True), 1
    ):
        _draw(part, stage, f"part {number} of {len(stages)}: ")
    return picture


def _width(explanation: Explanation) -> float:
    return min(16.0, max(9.0, 1.0 * len(explanation.steps) + 1.5))


def _heights(explanation: Explanation) -> list[float]:
    """Of the rows, in inches."""
    budget = [2.8] if explanation.fresh_noise_budget else []
    return [3.6, 1.6 + 0.2 * len(explanation.steps), *budget]


def _draw(figure: Any, explanation: Explanation, title: str = "") -> None:
    heights = _heights(explanation)
    rows = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    plan(explanation, figure.add_subplot(rows[0, :]))
    seconds(explanation, figure.add_subplot(rows[1, 0]))
    traffic(explanation, figure.add_subplot(rows[1, 1]))
    if explanation.fresh_noise_budget:
        noise_budget(explanation, figure.add_subplot(rows[2, :]))
    primes = "+".join(map(str, explanation.prime_bits))
    figure.suptitle(
        f"{title}{explanation.scheme}, N = {explanation.degree}, primes of {primes} = {explanation.modulus_bits} bits, "
        f"error to be expected {explanation.error:.2g}",
        fontsize=11,
    )
