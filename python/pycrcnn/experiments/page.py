"""The Markdown page of an experiment: what came out, on which machine, when, and by which command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pycrcnn.experiments.results import Results
from pycrcnn.experiments.running import spoken

__all__ = ["table", "write"]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Examples
    --------
    >>> print(table(["p", "bits"], [["32", "98"]]))
    | p | bits |
    | --- | --- |
    | 32 | 98 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(path: Path, title: str, command: str, results: Results | Sequence[Results], sections: Iterable[str]) -> None:
    """Write the page beside the results.

    Parameters
    ----------
    path : Path
        Of the page.
    title : str
    command : str
        What computed the results.
    results : Results, or several
        They say when and where they were computed.
    sections : iterable of str
        Paragraphs, tables, figures.
    """
    tables = [results] if isinstance(results, Results) else list(results)
    rows = [row for one in tables for row in one.rows]
    finished = sorted(str(row["finished"]) for row in rows)
    duration = spoken(sum(float(row["seconds"] or 0) for row in rows))
    machines = sorted({f"{row['machine']}; kernels: {row['backend']}" for row in rows})
    threads = sorted({int(row["threads"] or 0) for row in rows})
    threads_text = ", ".join("all cores" if count == 0 else f"{count} thread{'s' * (count > 1)}" for count in threads)
    files = [f"[{one.path.name}]({one.path.name})" for one in tables]
    made = [
        f"`{command}`, {finished[0]} to {finished[-1]}, {duration} of work in all.",
        *(f"{machine}; {threads_text}." for machine in machines),
        f"Every figure on this page is computed from {' and '.join(files)}.",
    ]
    path.write_text("\n\n".join([f"# {title}", "  \n".join(made), *sections]) + "\n", encoding="utf-8")
