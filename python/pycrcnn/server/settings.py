"""The service's settings: arguments of the command line, or environment variables ``PYCRCNN_*``."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pycrcnn.server.plane.memory import machine_memory

__all__ = ["Settings"]

_MB = 1_000_000


def _state_directory() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "pycrcnn"


def _most_memory() -> int:
    """Three quarters of the machine's, or of the container's."""
    return machine_memory() * 3 // 4


class Settings(BaseSettings):
    """Settings of one service.

    Every field can be given as an environment variable with the prefix ``PYCRCNN_``, lists as JSON.

    Examples
    --------
    >>> Settings(port=8080).host
    '127.0.0.1'
    """

    model_config = SettingsConfigDict(env_prefix="PYCRCNN_", extra="forbid", frozen=True)

    # Where it listens
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    server: Literal["granian", "uvicorn"] = "granian"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    #: Listen beyond loopback without TLS: for a reverse proxy that brings it, or a container's own network.
    allow_insecure_listen: bool = False
    #: Bearer keys, one of which every call under /v1 and /compute must bring; none: everybody may call.
    api_keys: tuple[SecretStr, ...] = ()

    # What it serves
    models: Path | None = None
    shipped_models: bool = True
    #: Keys, jobs and compiled programs: what survives a restart.
    state: Path = Field(default_factory=_state_directory)
    #: An object store for keys, as ``s3://bucket/prefix``; credentials come from the environment (``AWS_*``).
    key_store: str | None = None
    #: The bucket that payloads may be given by reference to, as ``s3://bucket``.
    exchange: str | None = None

    #: Noise that hides the weights in replies of the CKKS layouts: its deviation, in units of a program's error.
    flooding: float = Field(default=1.0, gt=0, le=1e6)
    #: Refuse requests of PyCrCNN's protocol without a public key, such as those of PyCrCNN's own clients: nothing hides
    #: the noise of their answers.
    public_key_required: bool = False
    programs_bytes: int = Field(default=2_000 * _MB, ge=0, description="Programs made ready, in memory of each process")

    # Work
    workers: int = Field(default=0, ge=0, le=256, description="Evaluations side by side; 0: one a core")
    threads: int = Field(default=0, ge=0, le=256, description="Threads of an evaluation; 0: what idle workers leave")
    #: Of evaluations, as they are predicted. What needs more is not offered; what runs side by side fits into it.
    memory_bytes: int = Field(default_factory=_most_memory, ge=1)
    queue: int = Field(default=256, ge=1, description="Evaluations that may wait")
    queue_per_client: int = Field(default=64, ge=1, description="Evaluations of one client that may wait")
    #: A prediction that takes longer becomes a job, where the client sent an Idempotency-Key.
    predict_seconds: float = Field(default=45.0, gt=0)
    grace_seconds: float = Field(default=20.0, ge=0, description="What a shutdown leaves running work")

    # Where it evaluates
    engine: Literal["process", "ray"] = Field(default="process", description="In this process, or on a Ray cluster")
    #: Of the cluster that this machine is a node of; ``auto``: the one that runs here.
    ray_address: str = "auto"
    #: The name of the evaluators' application: services with one name and the same settings share them.
    ray_app: str = "pycrcnn"
    ray_min_replicas: int = Field(default=1, ge=1, description="Processes that evaluate, at least")
    ray_max_replicas: int = Field(default=8, ge=1, description="... and at most")
    ray_threads: int = Field(default=1, ge=1, le=256, description="Threads of an evaluation")
    ray_slots: int = Field(default=1, ge=1, le=256, description="Evaluations side by side in one replica")
    ray_keys: int | None = Field(default=None, ge=1, description="Key sets that a replica keeps ready, at most")
    ray_object_bytes: int = Field(default=1_000 * _MB, ge=0, description="Programs and keys in the object store")
    #: Whether nodes read keys from `key_store` themselves, with credentials of their own.
    ray_shared_keys: bool = False
    #: Seconds without a replica after which requests are refused and not kept waiting.
    ray_patience: float = Field(default=30.0, ge=0)
    #: Seconds that the head may be away before the service ends, to be started again; Ray's nodes wait for it for 60.
    ray_silence: float = Field(default=60.0, ge=1)

    # Limits
    max_body_bytes: int = Field(default=1_000 * _MB, ge=1)
    max_json_bytes: int = Field(default=200 * _MB, ge=1)
    max_images: int = Field(default=16_384, ge=1)
    max_ciphertexts: int = Field(default=65_536, ge=1, description="Of a request of PyCrCNN's protocol")
    max_compute_bytes: int = Field(default=4_000 * _MB, ge=1, description="Memory of a request of PyCrCNN's protocol")
    max_bodies_bytes: int = Field(default=4_000 * _MB, ge=1, description="Of all bodies that are being read")
    #: A body that does not bring its next piece in this time is given up.
    body_seconds: float = Field(default=30.0, gt=0)
    #: ... and so is one that comes slower than this, after the first seconds.
    body_bytes_per_second: int = Field(default=10_000, ge=0)

    # Keys
    key_days: float = Field(default=30.0, gt=0, description="After their last use")
    keys_bytes: int = Field(default=20_000 * _MB, ge=1, description="Of all clients, on disk")
    keys_per_client: int = Field(default=64, ge=1)
    prepared_bytes: int = Field(default=4_000 * _MB, ge=0, description="Keys made ready, in memory of each process")

    # Jobs
    result_hours: float = Field(default=24.0, gt=0)
    jobs: int = Field(default=10_000, ge=1, description="That are kept, done or not")
    jobs_bytes: int = Field(default=20_000 * _MB, ge=1, description="Of all jobs, on disk")

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _listens_safely(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if not (self.tls_certificate or self.allow_insecure_listen or self.loopback):
            raise ValueError(
                f"host {self.host}: without TLS the service listens on loopback only; give tls_certificate and "
                "tls_key, or allow_insecure_listen where something in front of it brings TLS"
            )
        return self

    @model_validator(mode="after")
    def _scales(self) -> Settings:
        if self.ray_max_replicas < self.ray_min_replicas:
            raise ValueError("ray_max_replicas must be at least ray_min_replicas")
        if self.ray_shared_keys and self.key_store is None:
            raise ValueError("ray_shared_keys needs key_store, as s3://bucket/prefix")
        return self

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
