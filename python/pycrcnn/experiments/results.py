"""Results as rows of a CSV file, keyed by configuration: what is there is not computed again."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pycrcnn.errors import FormatError

__all__ = ["Results", "Value"]

#: What a cell holds; None is an empty one.
Value = str | int | float | bool | None


class Results:
    """A table on disk that grows by whole rows, so that an interrupted experiment goes on where it stood.

    Parameters
    ----------
    path : Path
        Of the CSV file; made with the first row. A last line that was cut off is dropped.
    keys : sequence of str
        Columns that say what was computed. No two rows have the same.
    values : sequence of str
        Columns that say what came out.

    Raises
    ------
    FormatError
        The file has other columns, or a row has too many or too few cells.
    """

    def __init__(self, path: Path, keys: Sequence[str], values: Sequence[str]) -> None:
        self.path = path
        self.keys = tuple(keys)
        self.columns = (*keys, *values)
        self._rows: dict[tuple[Value, ...], dict[str, Value]] = {}
        if path.exists():
            self._read()

    def __contains__(self, key: Mapping[str, Value]) -> bool:
        return self._identity(key) in self._rows

    @property
    def rows(self) -> list[dict[str, Value]]:
        """All rows, in the order in which they were added."""
        return list(self._rows.values())

    def where(self, **cells: Value) -> list[dict[str, Value]]:
        """The rows that have these cells."""
        return [row for row in self.rows if all(row[name] == value for name, value in cells.items())]

    def append(self, row: Mapping[str, Value]) -> None:
        """Add a row and have it on disk before anything else is computed."""
        if set(row) != set(self.columns):
            raise ValueError(f"a row has the columns {', '.join(self.columns)}, not {', '.join(row)}")
        if row in self:
            raise ValueError(f"there is a row for {self._identity(row)} already")
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            writer.writerow(self.columns)
        writer.writerow([_written(row[name]) for name in self.columns])
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(line.getvalue())
            file.flush()
            os.fsync(file.fileno())
        self._rows[self._identity(row)] = {name: _read(_written(row[name])) for name in self.columns}

    def _identity(self, row: Mapping[str, Value]) -> tuple[Value, ...]:
        return tuple(_read(_written(row[name])) for name in self.keys)

    def _read(self) -> None:
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole, encoding="utf-8")
        if not whole:
            self.path.unlink()
            return
        header, *lines = csv.reader(io.StringIO(whole))
        if tuple(header) != self.columns:
            raise FormatError(f"{self.path}: the columns are those of another version; move the file away")
        for number, cells in enumerate(lines, start=2):
            if len(cells) != len(header):
                raise FormatError(f"{self.path}, line {number}: {len(cells)} cells in place of {len(header)}")
            row = dict(zip(header, map(_read, cells), strict=True))
            self._rows[self._identity(row)] = row


def _written(value: Value) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _read(cell: str) -> Value:
    """The value that :func:`_written` wrote."""
    if cell in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[cell]
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell
