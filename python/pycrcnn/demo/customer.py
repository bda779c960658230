"""The client process of the demo: ``python -m pycrcnn.demo.customer ORDER``.

It has a URL and images, no network and no data set. The order is a JSON file; answers and figures come beside it.
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import SecurityWarning
from pycrcnn.program import Keys
from pycrcnn.program.encrypted import EncryptedImages
from pycrcnn.service import Client

__all__ = ["Figures", "Order", "main"]

#: Bytes of a ciphertext to look at.
_EXCERPT = 4096


@dataclass(frozen=True)
class Order:
    """What is to be asked, in the files of a directory.

    Attributes
    ----------
    url, model, layout : str
    threads : int
    """

    url: str
    model: str
    layout: str
    threads: int

    def write(self, directory: Path, images: NDArray[np.float64]) -> Path:
        """The order's file, with the images beside it."""
        np.save(directory / "images.npy", images)
        path = directory / "order.json"
        path.write_text(json.dumps(asdict(self)))
        return path


@dataclass(frozen=True)
class Figures:
    """What asking cost.

    Attributes
    ----------
    seconds : dict of str to float
        ``keygen``, ``encrypt``, ``decrypt``, and ``transfer``: what requests took and the server did not account for.
    server : tuple of float
        Seconds of the server by its own account, for each request: one run of the program.
    bytes_up, bytes_down, key_bytes : int
        What travelled.
    at_paper : float
        Seconds that the bodies would take at the bandwidth of the paper.
    budget : tuple of int or None
        BFV: bits of noise budget of the worst ciphertext, fresh and in the answer as it came.
    excerpt : str
        The beginning of the first image's ciphertexts' bytes, as they were sent, in hexadecimal digits.
    memory_mb : float or None
        The most resident memory of the process, where Linux tells it.
    """

    seconds: dict[str, float]
    server: tuple[float, ...]
    bytes_up: int
    bytes_down: int
    key_bytes: int
    at_paper: float
    budget: tuple[int, int] | None
    excerpt: str
    memory_mb: float | None

    @classmethod
    def read(cls, directory: Path) -> tuple[NDArray[np.float64], Figures]:
        """Answers and figures, as :func:`main` leaves them."""
        found = json.loads((directory / "figures.json").read_text())
        budget = None if found["budget"] is None else tuple(found["budget"])
        return np.load(directory / "answers.npy"), cls(**{**found, "server": tuple(found["server"]), "budget": budget})


def main(argv: Sequence[str]) -> int:
    """Ask for each run of the program, and write down what came and what it cost."""
    path = Path(argv[0])
    order, images = Order(**json.loads(path.read_text())), np.load(path.parent / "images.npy")
    warnings.simplefilter("ignore", SecurityWarning)  # the page says it
    seconds = {"encrypt": 0.0, "decrypt": 0.0}
    answers, server, budgets, excerpt = [], [], [], b""
    with Client(order.url, order.model, layout=order.layout, threads=order.threads, retries=1) as client:
        offer = client.offer(len(images))
        keys = client.keys(offer)
        for start in range(0, len(images), offer.capacity):
            begun = time.perf_counter()
            question = keys.encrypt(images[start : start + offer.capacity])
            seconds["encrypt"] += time.perf_counter() - begun
            before = sum(client.transfer.server.values())
            answer = client.evaluate(question, offer)
            server.append(sum(client.transfer.server.values()) - before)
            begun = time.perf_counter()
            answers.append(keys.decrypt_raw(answer))
            seconds["decrypt"] += time.perf_counter() - begun
            budgets.append(_budget(keys, question, answer))
            excerpt = excerpt or question.parts[0][:_EXCERPT]
        transfer = client.transfer
        figures = Figures(
            seconds={"keygen": transfer.keygen, **seconds, "transfer": transfer.travel},
            server=tuple(server),
            bytes_up=transfer.bytes_up,
            bytes_down=transfer.bytes_down,
            key_bytes=transfer.key_bytes,
            at_paper=transfer.travel_at(),
            budget=_worst(budgets),
            excerpt=excerpt.hex(),
            memory_mb=_memory_mb(),
        )
    np.save(path.parent / "answers.npy", np.concatenate(answers))
    (path.parent / "figures.json").write_text(json.dumps(asdict(figures)))
    return 0


def _memory_mb() -> float | None:
    # Not getrusage: its figure begins with that of the process that started this one.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return None if found is None else int(found[1]) * 1024 / 1e6


def _budget(keys: Keys, question: EncryptedImages, answer: EncryptedImages) -> tuple[int, int] | None:
    if keys.client.scheme == "ckks":
        return None
    return keys.noise_budget(question), keys.noise_budget(answer)


def _worst(budgets: Sequence[tuple[int, int] | None]) -> tuple[int, int] | None:
    known = [budget for budget in budgets if budget is not None]
    return (min(fresh for fresh, _ in known), min(left for _, left in known)) if known else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
