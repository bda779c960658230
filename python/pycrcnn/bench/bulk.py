"""Files of images in batches as large as ciphertexts have slots, on a cluster of one-core nodes that share a folder.

Nodes read questions and write answers themselves, as with ``pycrcnn batch --engine ray --shared``. They are warm:
programs and keys are ready. Every answer is decrypted and compared with that of the clear network.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn import datasets
from pycrcnn.bench.measuring import circumstances, network, summary
from pycrcnn.bulk.customer import ask, read_answers
from pycrcnn.bulk.evaluate import Evaluator, InProcess, KeySets, Places
from pycrcnn.bulk.layout import Question, questions_in
from pycrcnn.bulk.prefix import open_prefix
from pycrcnn.bulk.tasks import RayTasks
from pycrcnn.cluster.local import LocalCluster
from pycrcnn.cluster.node import NodeLimits
from pycrcnn.program import Keys, Program, compile  # noqa: A004

__all__ = ["measure"]

#: Rounds; files that each core is given in one, and before it; and bytes of one at most.
_ROUNDS, _FILES, _WARM, _LIMIT = 3, 6, 3, 1 << 30


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One node and two in turn, of one cluster; and what bare processes get out of the machine that do the same."""
    with _asked(arguments.network) as folder:
        one, two = _nodes(folder)
        bare = _bare(folder)
    ratios = [b / a for a, b in zip(one, two, strict=True)]
    return {
        "name": "cluster, shared files",
        "network": arguments.network,
        **circumstances(1),
        "images": folder.images,
        "bytes_up": folder.bytes_up,
        **summary("one_node_per_s", one),
        **summary("two_nodes_per_s", two),
        **summary("ratio", ratios),
        **summary("bare_ratio", bare),
        "ratio_of_bare": statistics.median(ratios) / statistics.median(bare),
        "answers": len(folder.right),
        "right": sum(folder.right),
    }


@dataclass
class _Folder:
    """A directory with a program, a key set and questions, which are one file; and what the answers should be."""

    directory: str
    keys: Keys
    clear: NDArray[np.float64]
    error: float
    images: int
    bytes_up: int
    right: list[bool] = field(default_factory=list)

    def rate(self, *processes: ProcessPoolExecutor, address: str | None, cores: int, files: int) -> float:
        """Files a second of some processes on some cores, each of which gets so many."""
        each, lanes = cores * files // len(processes), cores // len(processes)
        shares = [slice(i * each, (i + 1) * each) for i in range(len(processes))]
        asking = [
            process.submit(_answered, self.directory, address, share, lanes)
            for process, share in zip(processes, shares, strict=True)
        ]
        found = sum(one.result() for one in asking)
        self._check()
        return found

    def _check(self) -> None:
        """Look at the answers, and make room for those to come."""
        out = Path(self.directory, "out")
        for _, answer in read_answers(open_prefix(str(out)), self.keys):
            self.right.append(isinstance(answer, np.ndarray) and bool(np.abs(answer - self.clear).max() <= self.error))
        for path in out.glob("*/*.answer"):
            path.unlink()


@contextmanager
def _asked(name: str) -> Iterator[_Folder]:
    model = network(name)
    examples, _ = datasets.load(model.dataset, "train")
    program = compile(model, layout="batched", calibration=model.normalise(examples[:2000]))
    pixels, _ = datasets.load(model.dataset, "test")
    count = len(pixels) // program.capacity * program.capacity
    images, keys = model.normalise(pixels[:count]), program.keygen()
    with tempfile.TemporaryDirectory() as directory:
        asked, answers = (open_prefix(str(Path(directory, name))) for name in ("in", "out"))
        program.save(Path(directory, "program"))
        (question,) = ask(asked, keys, images, "x", count)
        file = Path(asked.url, question.path)
        for i in range(1, 2 * _FILES):
            os.link(file, file.with_name(f"x-{i:06d}.images"))
        with answers.held():
            error = program.flooded_error(1.0)
            yield _Folder(directory, keys, program.predict(images), error, count, file.stat().st_size)


def _nodes(folder: _Folder) -> tuple[list[float], list[float]]:
    """Files a second of one node and of two: in each round one is added and the older one killed."""
    one, two = [], []
    with LocalCluster(1) as cluster, ProcessPoolExecutor(1, get_context("spawn"), _quiet) as run:
        rate = functools.partial(folder.rate, run, address=cluster.address)
        for _ in range(_ROUNDS):
            rate(cores=1, files=_WARM)
            one.append(rate(cores=1, files=_FILES))
            cluster.add()
            rate(cores=2, files=_WARM)
            two.append(rate(cores=2, files=_FILES))
            cluster.kill()
    return one, two


def _bare(folder: _Folder) -> list[float]:
    """How many times as much two processes answer as one, round by round."""
    with ProcessPoolExecutor(1, get_context("spawn")) as here, ProcessPoolExecutor(1, get_context("spawn")) as there:
        folder.rate(here, there, address=None, cores=2, files=_WARM)
        return [
            1
            / folder.rate(here, address=None, cores=1, files=_FILES)
            * folder.rate(here, there, address=None, cores=2, files=_FILES)
            for _ in range(_ROUNDS)
        ]


def _quiet() -> None:
    """Ray tells at length of a node that was killed, on a process's standard error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _answered(directory: str, address: str | None, which: slice, lanes: int) -> float:
    """Files a second of a cluster or of this process, from the first answers until the last questions are asked."""
    evaluator, questions = _evaluator(directory, address)
    answered = []

    def answer(question: Question) -> None:
        evaluator.answer(question)
        answered.append(time.perf_counter())

    with ThreadPoolExecutor(lanes) as pool:
        for _ in pool.map(answer, questions[which]):
            pass
    return (len(answered) - 2 * lanes) / (answered[-1 - lanes] - answered[lanes - 1])


@functools.cache
def _evaluator(directory: str, address: str | None) -> tuple[Evaluator, list[Question]]:
    asked, answers = (open_prefix(str(Path(directory, name))) for name in ("in", "out"))
    program = Path(directory, "program")
    programs = {Program.load(program).program_id: program}
    key_sets, places = KeySets(asked, programs, _LIMIT), Places(asked, answers, _LIMIT)
    if address is None:
        return InProcess(programs, key_sets, places, 1.0, 1, 1, NodeLimits()), questions_in(asked.listed())
    return RayTasks(address, programs, key_sets, places, 1.0, 0, 1, NodeLimits(), True), questions_in(asked.listed())
