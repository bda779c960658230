"""What came of a run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

__all__ = ["Failure", "Report"]

#: Failures that the printed table names; the JSON has all of them.
_SHOWN = 10


@dataclass(frozen=True)
class Failure:
    """A question that has no answer: its path, and the code and message of what was wrong."""

    file: str
    code: str
    detail: str


@dataclass
class Report:
    """What a run found and did.

    Attributes
    ----------
    model, input, output, engine : str
        As they were asked for.
    files : int
        Questions under the input's prefix.
    done_before : int
        Those that had an answer.
    answered, images : int
        Questions that were answered now, and the images in them.
    failures : list of Failure
    stopped : Failure, optional
        Why the run ended before it had tried all.
    seconds : float
    """

    model: str
    input: str
    output: str
    engine: str
    files: int = 0
    done_before: int = 0
    answered: int = 0
    images: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    failures: list[Failure] = field(default_factory=list)
    stopped: Failure | None = None
    seconds: float = 0.0

    @property
    def images_per_s(self) -> float:
        """Over the whole run, reading and writing included."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def by_code(self) -> dict[str, int]:
        """Failures by code, the most frequent first."""
        return dict(Counter(failure.code for failure in self.failures).most_common())

    @property
    def left(self) -> int:
        """Questions that were not tried."""
        return self.files - self.done_before - self.answered - len(self.failures)

    @property
    def status(self) -> int:
        """The command's exit status: 0 all have answers, 1 the run ended early, 3 some questions failed."""
        if self.stopped is not None:
            return 1
        return 3 if self.failures else 0

    def to_json(self) -> bytes:
        """All of it."""
        computed = {"images_per_s": self.images_per_s, "failures_by_code": self.by_code, "left": self.left}
        return (json.dumps({**asdict(self), **computed}, indent=1) + "\n").encode()

    def table(self) -> str:
        """For people."""
        rows = {
            "files": f"{self.files:,}",
            "done before": f"{self.done_before:,}",
            "answered": f"{self.answered:,}",
            "failed": f"{len(self.failures):,}",
            "left": f"{self.left:,}",
            "images": f"{self.images:,}",
            "seconds": f"{self.seconds:.2f}",
            "images/s": f"{self.images_per_s:.1f}",
            "bytes in, out": f"{self.bytes_in:,}, {self.bytes_out:,}",
        }
        lines = [f"{name:>14}  {value}" for name, value in rows.items()]
        lines += [f"{code:>14}  {count:,} failed" for code, count in self.by_code.items()]
        lines += [f"{failure.file}: {failure.code}: {failure.detail}" for failure in self.failures[:_SHOWN]]
        if len(self.failures) > _SHOWN:
            lines.append(f"... and {len(self.failures) - _SHOWN:,} more in the report")
        if self.stopped is not None:
            lines.append(f"stopped: {self.stopped.code}: {self.stopped.detail}; run it again to go on")
        return "\n".join(lines)
