"""The charts and the page of the exploration of parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pycrcnn.experiments import charts, page
from pycrcnn.experiments.results import Results, Value

__all__ = ["write"]

_Rows = list[dict[str, Value]]


_FITS = ("m", "bits of q", "smallest p that fits", "largest p that fits", "error", "evaluate", "MB up")
_PRECISIONS = (
    *("network", "layout", "precision", "N", "bits of q"),
    *("largest error", "predicted", "evaluate", "MB up", "MB keys"),
)


def write(out: Path, command: str, bfv: Results, ckks: Results) -> Path:
    """Draw both figures, and write the page."""
    _draw_bfv(bfv.rows, out / "exploration-bfv.png")
    _draw_ckks([row for row in ckks.rows if row["fits"]], out / "exploration-ckks.png")
    path = out / "exploration.md"
    page.write(
        path,
        "What parameters buy and cost",
        command,
        [bfv, ckks],
        [
            "## BFV with the fractional encoding: m and p",
            "![Error, noise budget, seconds and bytes over p](exploration-bfv.png)",
            "p bounds the digits: below what the network's sums need, answers are at random. m brings the coefficient "
            "modulus, and with it the noise budget, and costs time and bytes; what a square takes of the budget grows "
            "with p. Filled marks fit: the budget lasts, and no digit outgrows p.",
            page.table(_FITS, _fits(bfv)),
            "## CKKS: bits of precision, and the scale that they set",
            "![Error, scale, seconds and bytes over the precision](exploration-ckks.png)",
            "Each bit of precision halves the error and lengthens the scale, until a larger ring has to be taken, "
            "which doubles time and bytes. Where bits of the modulus are to spare the planner gives them to the scale, "
            "so that the error does not follow every step.",
            page.table(_PRECISIONS, _ckks_rows(ckks)),
        ],
    )
    return path


def _number(row: dict[str, Value], column: str) -> float:
    return float(row[column] or 0)


def _numbers(rows: _Rows, column: str) -> Any:
    return np.array([_number(row, column) for row in rows])


def _by(rows: _Rows, *columns: str) -> dict[tuple[Value, ...], _Rows]:
    """Rows that agree in some columns."""
    groups: dict[tuple[Value, ...], _Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return groups


def _draw_bfv(rows: _Rows, path: Path) -> None:
    figure, axes = charts.subplots(2, 2, (9.0, 6.4))
    (error, budget), (seconds, megabytes) = axes
    for ((m,), mine), colour in zip(_by(rows, "m").items(), charts.COLOURS, strict=False):
        p = _numbers(mine, "p")
        fit = np.array([bool(row["fits"]) for row in mine])
        finite = np.minimum(_numbers(mine, "largest_error"), _MOST)
        for ax, values in (
            (error, finite),
            (budget, _numbers(mine, "left_bits")),
            (seconds, _numbers(mine, "evaluate_s")),
            (megabytes, (_numbers(mine, "bytes_up") + _numbers(mine, "bytes_down")) / 1e6),
        ):
            ax.plot(p, values, color=colour, linewidth=1, label=f"m = {m}")
            ax.plot(p[fit], values[fit], "o", color=colour, markersize=5)
            ax.plot(p[~fit], values[~fit], "o", color=colour, markersize=5, markerfacecolor="white")
    error.set(title="largest error of a logit, while the budget lasts", yscale="log")
    error.set_ylim(1e-9, 3 * _MOST)
    budget.set(title="noise budget left in the answer, bits")
    seconds.set(title="seconds of evaluation, one image", yscale="log")
    megabytes.set(title="megabytes up and down, one image", yscale="log")
    for ax in axes.flat:
        ax.set(xscale="log", xlabel="plaintext modulus p")
    budget.legend(fontsize=8)
    charts.save(figure, path)


#: Errors of digits that have wrapped around p are anything up to infinity; they are drawn at this.
_MOST = 1e9


def _draw_ckks(rows: _Rows, path: Path) -> None:
    figure, axes = charts.subplots(2, 2, (9.0, 6.4))
    (error, scale), (seconds, megabytes) = axes
    for ((network, layout), mine), colour in zip(_by(rows, "network", "layout").items(), charts.COLOURS, strict=False):
        precision = _numbers(mine, "precision")
        images = _numbers(mine, "images")
        name = f"{network}, {layout}"
        error.plot(precision, _numbers(mine, "largest_error"), "o-", color=colour, markersize=4, label=name)
        error.plot(precision, _numbers(mine, "predicted_error"), ":", color=colour)
        scale.plot(precision, _numbers(mine, "scale_bits"), "o-", color=colour, markersize=4, label=name)
        seconds.plot(precision, 1e3 * _numbers(mine, "evaluate_s") / images, "o-", color=colour, markersize=4)
        sent = (_numbers(mine, "bytes_up") + _numbers(mine, "bytes_down")) / images / 1e3
        megabytes.plot(precision, sent, "o-", color=colour, markersize=4)
    error.set(title="largest error of a logit (dotted: predicted)", yscale="log")
    scale.set(title="bits of the scale of images")
    seconds.set(title="milliseconds of evaluation, an image", yscale="log")
    megabytes.set(title="kilobytes up and down, an image", yscale="log")
    for ax in axes.flat:
        ax.set_xlabel("bits of precision asked for")
    scale.legend(fontsize=8)
    charts.save(figure, path)


def _fits(bfv: Results) -> list[list[str]]:
    """One row a degree."""
    body = []
    for (m,), rows in _by(bfv.rows, "m").items():
        fit = [row for row in rows if row["fits"]]
        cells = ["none", "", ""]
        if fit:
            error = min(_number(row, "largest_error") for row in fit)
            moduli = [int(_number(row, "p")) for row in fit]
            cells = [f"{min(moduli):,}", f"{max(moduli):,}", f"{error:.2g}"]
        evaluate = float(np.median(_numbers(rows, "evaluate_s")))
        body.append(
            [str(m), str(rows[0]["q_bits"]), *cells, f"{evaluate:.2f} s", f"{_number(rows[0], 'bytes_up') / 1e6:.1f}"]
        )
    return body


def _ckks_rows(ckks: Results) -> list[list[str]]:
    return [
        [
            str(row["network"]),
            str(row["layout"]),
            f"{row['precision']} bits",
            *(
                (
                    str(row["n"]),
                    str(row["q_bits"]),
                    f"{_number(row, 'largest_error'):.2g}",
                    f"{_number(row, 'predicted_error'):.2g}",
                    f"{1e3 * _number(row, 'evaluate_s') / _number(row, 'images'):.3g} ms",
                    f"{_number(row, 'bytes_up') / _number(row, 'images') / 1e6:.2g}",
                    f"{_number(row, 'bytes_keys') / 1e6:.3g}",
                )
                if row["fits"]
                else ("no room", *[""] * 6)
            ),
        ]
        for row in ckks.rows
    ]
