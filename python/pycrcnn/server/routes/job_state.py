"""A job as its owner sees it."""

from __future__ import annotations

from datetime import datetime, timezone

from pydantic import BaseModel

from pycrcnn.server.plane.job import Job, Status

__all__ = ["JobState"]


class JobState(BaseModel):
    """How far a job is."""

    id: str
    status: Status
    progress: float
    created: datetime
    expires: datetime

    @classmethod
    def of(cls, job: Job) -> JobState:
        """What is told of a job."""
        times = {"created": _time(job.created), "expires": _time(job.expires)}
        return cls(id=job.id, status=job.status, progress=job.progress, **times)

    @property
    def location(self) -> str:
        """Where to ask for it."""
        return f"/v1/jobs/{self.id}"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=0)
