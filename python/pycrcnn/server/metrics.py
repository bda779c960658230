"""What Prometheus sees: requests, bytes, seconds by phase, queue, keys, jobs. Never anything of a user's data."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pycrcnn.server.plane.job import Status
from pycrcnn.server.plane.service import DataPlane

__all__ = ["Metrics"]

#: What is said of every figure of an engine.
_FIGURE = "Of the engine that evaluates elsewhere: counts and seconds in all, or what is there now"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counters of one service; each service has its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "pycrcnn_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.received = Counter("pycrcnn_received_bytes", "Bytes of request bodies", ["route"], registry=self.registry)
        self.sent = Counter("pycrcnn_sent_bytes", "Bytes of answers", ["route"], registry=self.registry)
        self.phases = Histogram(
            "pycrcnn_phase_seconds",
            "Seconds of a prediction by phase",
            ["phase"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._evaluations = Histogram(
            "pycrcnn_evaluation_seconds",
            "Seconds of evaluations by model",
            ["model", "layout"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def evaluated(self, model: str, layout: str, seconds: float) -> None:
        """Count an evaluation."""
        self._evaluations.labels(model, layout).observe(seconds)

    def watch(self, plane: DataPlane) -> None:
        """Show the state of a data plane when it is asked for."""

        def gauge(name: str, text: str, value: Callable[[], float]) -> None:
            Gauge(f"pycrcnn_{name}", text, registry=self.registry).set_function(value)

        gauge("queue_depth", "Evaluations that wait", lambda: plane.queue.depth)
        gauge("evaluations_running", "Evaluations that run", lambda: plane.queue.running)
        gauge("key_sets", "Key sets that are kept", lambda: plane.keys.count)
        gauge("key_bytes", "Bytes of key sets that are kept", lambda: plane.keys.nbytes)
        for name in plane.engine.figures():
            gauge(f"engine_{name}", _FIGURE, lambda name=name: plane.engine.figures()[name])  # type: ignore[misc]
        gauge("key_sets_ready", "Key sets that are ready in memory", lambda: plane.keys.prepared_count)
        jobs = Gauge("pycrcnn_jobs", "Jobs that are kept, by status", ["status"], registry=self.registry)

        def count_of(status: Status) -> Callable[[], float]:
            return lambda: dict(plane.jobs.counts())[status]

        for status, _ in plane.jobs.counts():
            jobs.labels(status).set_function(count_of(status))

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
