"""Files of as many images as a ciphertext has slots, on clusters of one-core nodes that share a folder.

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
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pycrcnn import datasets
from pycrcnn.bench.measuring import circumstances, network, summary
from pycrcnn.bulk.customer import ask, read_answers
from pycrcnn.bulk.evaluate import Evaluator, InProcess, KeySets, Places
from pycrcnn.bulk.layout import Question, questions_in
from pycrcnn.bulk.prefix import open_prefix
from pycrcnn.bulk.tasks import RayTasks
from pycrcnn.cluster.local import LocalCluster
from pycrcnn.cluster.node import NodeLimits
from pycrcnn.program import Program, compile  # noqa: A004

__all__ = ["measure"]

#: Rounds; files that each core is given in one, and before it; different ones among all; and bytes of one at most.
_ROUNDS, _FILES, _WARM, _DIFFERENT, _LIMIT = 3, 10, 3, 2, 1 << 30


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One node and two in turn, of one cluster; and what bare processes get out of the machine that do the same."""
    model = network(arguments.network)
    examples, _ = datasets.load(model.dataset, "train")
    program = compile(model, layout="batched", calibration=model.normalise(examples[:2000]))
    pixels, _ = datasets.load(model.dataset, "test")
    count = min(program.capacity, len(pixels) // _DIFFERENT)
    images = model.normalise(pixels[: _DIFFERENT * count])
    keys, clear, error = program.keygen(), program.predict(images), program.flooded_error(1.0)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        asked, answers = (open_prefix(str(Path(directory, name))) for name in ("in", "out"))
        stack.enter_context(answers.held())
        program.save(Path(directory, "program"))
        different = [Path(asked.url, question.path) for question in ask(asked, keys, images, "x", count)]
        for i in range(_DIFFERENT, 2 * _FILES):
            os.link(different[i % _DIFFERENT], different[0].with_name(f"x-{i:06d}.images"))
        right: list[bool] = []

        def rate(*processes: ProcessPoolExecutor, address: str | None, cores: int, files: int = _FILES) -> float:
            """Files a second of some processes on some cores."""
            each, lanes = cores * files // len(processes), cores // len(processes)
            asking = [
                pool.submit(_answered, directory, address, slice(i * each, (i + 1) * each), lanes)
                for i, pool in enumerate(processes)
            ]
            found = sum(one.result() for one in asking)
            for name, answer in read_answers(answers, keys):
                i = int(name.removeprefix("x-")) % _DIFFERENT
                expected = clear[i * count : (i + 1) * count]
                right.append(isinstance(answer, np.ndarray) and bool(np.abs(answer - expected).max() <= error))
            for path in Path(answers.url).glob("*/*.answer"):
                path.unlink()
            return found

        one, two = [], []
        here, there = (stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for _ in range(2))
        with LocalCluster(1) as cluster, ProcessPoolExecutor(1, get_context("spawn"), _quiet) as run:
            address = cluster.address
            rate(run, address=address, cores=1, files=_WARM)
            for _ in range(_ROUNDS):
                one.append(rate(run, address=address, cores=1))
                cluster.add()
                rate(run, address=address, cores=2, files=_WARM)
                two.append(rate(run, address=address, cores=2))
                cluster.kill()
        rate(here, there, address=None, cores=2, files=_WARM)
        bare = [
            1 / rate(here, address=None, cores=1) * rate(here, there, address=None, cores=2) for _ in range(_ROUNDS)
        ]
        bytes_up = different[0].stat().st_size
    ratios = [b / a for a, b in zip(one, two, strict=True)]
    return {
        "name": "cluster, shared files",
        "network": arguments.network,
        **circumstances(1),
        "images": count,
        "bytes_up": bytes_up,
        **summary("one_node_per_s", one),
        **summary("two_nodes_per_s", two),
        **summary("ratio", ratios),
        **summary("bare_ratio", bare),
        "ratio_of_bare": statistics.median(ratios) / statistics.median(bare),
        "answers": len(right),
        "right": sum(right),
    }


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
