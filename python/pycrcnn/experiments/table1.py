"""Table I: t = t_c + t_t + t_s, the seconds of client, transfer and server for one image (Disabato et al. 2020).

t_c is encryption and decryption, t_s the evaluation from bytes to bytes, both on one thread; t_t is what the bytes of
request and answer take at 72.2 Mb/s. Beside it stands the same question asked of a service on loopback: everything,
HTTP and re-randomised answers included, but no distance. "Transfer learning" answers with the features after layer 4 of
the 6-layer network; what classifies them at home is not timed.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

import pycrcnn
from pycrcnn import datasets, models
from pycrcnn._quantities import bytes_text, seconds_text
from pycrcnn.bench.measuring import timed
from pycrcnn.bench.served import serving
from pycrcnn.errors import NoiseBudgetError, SecurityWarning
from pycrcnn.experiments import charts, page, theta
from pycrcnn.experiments.results import Results, Value
from pycrcnn.experiments.running import CIRCUMSTANCES, Options, Task, complete
from pycrcnn.program import Answer, FractionalParameters, Keys, Program
from pycrcnn.service import Client
from pycrcnn.service.transfer import PAPER_BANDWIDTH, Transfer

__all__ = ["run"]

_NAME = "table1"
_KEYS = ("network", "layout", "m", "p", "repeats")
_VALUES = (
    "images",
    "keygen_s",
    "client_s",
    "server_s",
    "transfer_s",
    "total_s",
    "rest_s",
    "rest_client_s",
    "rest_server_s",
    "rest_travel_s",
    "bytes_up",
    "bytes_down",
    "bytes_keys",
    "q_bits",
    "answer",
)
NETWORKS = ("5-layer", "6-layer", "transfer learning")
_FEATURES = 4
_REPEATS, _QUICK_REPEATS = 3, 1

_Result = TypeVar("_Result")
_Layout = Literal["layers", "fused", "packed", "batched"]
#: What is left of an answer.
_STATES = {"scale-out-of-range": "digits outgrow p", "noise-budget-exhausted": "noise budget exhausted"}
#: An answer is taken for right if it is that close to the clear one, as a part of the largest value.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class _Case:
    """One row: a network in a layout; the per-value ones have their Theta."""

    network: str
    layout: _Layout
    parameters: theta.Theta | None

    def key(self, repeats: int) -> dict[str, Value]:
        chosen = self.parameters
        return {
            "network": self.network,
            "layout": self.layout,
            "m": None if chosen is None else chosen.m,
            "p": None if chosen is None else chosen.p,
            "repeats": repeats,
        }

    @property
    def model(self) -> models.Model:
        if self.network == "5-layer":
            return models.load("fashion-5layer")
        whole = models.load("fashion-6layer")
        return whole if self.network == "6-layer" else replace(whole, layers=whole.layers[:_FEATURES])

    def program(self) -> Program:
        model = self.model
        examples, _ = datasets.load(model.dataset, "train")
        calibration = model.normalise(examples[:500])
        if self.parameters is None:
            layout: Literal["packed", "batched"] = "packed" if self.layout == "packed" else "batched"
            return pycrcnn.compile(model, layout=layout, calibration=calibration, threads=1)
        return pycrcnn.compile(
            model,
            layout="per-value",
            parameters=FractionalParameters(self.parameters.m, self.parameters.p),
            fused=self.layout == "fused",
            threads=1,
        )


def run(options: Options) -> Path:
    """Measure what is missing; the page."""
    repeats = _QUICK_REPEATS if options.quick else _REPEATS
    cases = list(_cases(options.quick))
    results = Results(options.out / f"{_NAME}.csv", _KEYS, (*_VALUES, *CIRCUMSTANCES))
    tasks = (Task(case.key(repeats), 4 + repeats, partial(_measure, case, repeats)) for case in cases)
    complete(_NAME, results, tasks, replace(options, threads=1))
    figure = options.out / f"{_NAME}.png"
    rows = [row for case in cases for row in results.where(**case.key(repeats))]
    _draw(rows, figure)
    return _page(results, rows, repeats, options, figure)


def _cases(quick: bool) -> Iterator[_Case]:
    """The rows: reduced, one of each layout."""
    for network in NETWORKS[-1:] if quick else NETWORKS:
        for parameters in theta.FOUR[:1] if quick else theta.FOUR:
            yield _Case(network, "layers", parameters)
        for parameters in theta.FOUR[-1:] if quick else theta.FOUR:
            yield _Case(network, "fused", parameters)
        yield _Case(network, "packed", None)
        yield _Case(network, "batched", None)


def _measure(case: _Case, repeats: int) -> dict[str, Value]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # the paper's parameters are the subject here
        program = case.program()
        pixels, _ = datasets.load(case.model.dataset, "test")
        images = case.model.normalise(pixels[: program.capacity])
        measured = _in_process(program, images, repeats)
        over_rest = _over_rest(program, images, repeats)
    return {**measured, **over_rest, "images": len(images), "q_bits": program.context.modulus_bits}


def _in_process(program: Program, images: Any, repeats: int) -> dict[str, Value]:
    clear = program.predict(images)
    keygen, keys = _timed(repeats, program.keygen)
    encrypt, question = _timed(repeats, lambda: keys.encrypt(images))
    evaluate, answer = _timed(repeats, lambda: program.run(question, keys.evaluation))
    decrypt, state = _timed(repeats, lambda: _state(keys, answer, clear))
    bytes_up, bytes_down = len(question.to_bytes()), len(answer.to_bytes())
    transfer = 8 * (bytes_up + bytes_down) / PAPER_BANDWIDTH
    return {
        "keygen_s": keygen,
        "client_s": encrypt + decrypt,
        "server_s": evaluate,
        "transfer_s": transfer,
        "total_s": encrypt + decrypt + evaluate + transfer,
        "bytes_up": bytes_up,
        "bytes_down": bytes_down,
        "bytes_keys": keys.evaluation.nbytes,
        "answer": state,
    }


def _over_rest(program: Program, images: Any, repeats: int) -> dict[str, Value]:
    """The same question to a service of one worker with one thread."""
    everything, client_s, server_s, travel_s = [], [], [], []
    with serving(_offered(program), workers="1", threads="1") as service, Client(service.url, threads=1) as client:
        _ask(client, images)  # fetches the program, makes keys and sends them
        for _ in range(repeats):
            client.transfer = Transfer()
            start = time.perf_counter()
            _ask(client, images)
            everything.append(time.perf_counter() - start)
            client_s.append(everything[-1] - client.transfer.request)
            server_s.append(sum(client.transfer.server.values()))
            travel_s.append(client.transfer.travel)
    columns = ("rest_s", "rest_client_s", "rest_server_s", "rest_travel_s")
    medians = map(statistics.median, (everything, client_s, server_s, travel_s))
    return {column: round(median, 5) for column, median in zip(columns, medians, strict=True)}


def _offered(program: Program) -> Program:
    """The program as a service can describe it: its error is a number, the largest there is where digits outgrow p."""
    error = min(program.error, sys.float_info.max)
    return replace(program, client=replace(program.client, error=error))


def _ask(client: Client, images: Any) -> None:
    """What cannot be decrypted takes its time all the same."""
    with contextlib.suppress(NoiseBudgetError):
        client.predict(images)


def _state(keys: Keys, answer: Answer, clear: NDArray[np.float64]) -> str:
    """What became of an answer."""
    try:
        values = keys.decrypt_raw(answer)
    except NoiseBudgetError as error:
        return _STATES[error.code]
    return "right" if np.abs(values - clear).max() <= _TOLERANCE * np.abs(clear).max() else "wrong"


def _timed(repeats: int, work: Callable[[], _Result]) -> tuple[float, _Result]:
    """The median of some runs, and the last one's result."""
    seconds, result = timed(repeats, work)
    return round(statistics.median(seconds), 5), result


_PARTS = {"client_s": "client", "transfer_s": "transfer at 72.2 Mb/s", "server_s": "server"}


def _draw(rows: list[dict[str, Value]], path: Path) -> None:
    networks = list(dict.fromkeys(str(row["network"]) for row in rows))
    figure, axes = charts.subplots(1, len(networks), (3.6 * len(networks) + 1, 3.6), sharey=True)
    for ax, network in zip(axes[0], networks, strict=True):
        mine = [row for row in rows if row["network"] == network]
        labels = [_label(row) for row in mine]
        left = np.zeros(len(mine))
        for (column, label), colour in zip(_PARTS.items(), charts.COLOURS, strict=False):
            seconds = np.array([_each(row, column) for row in mine])
            ax.barh(labels, seconds, left=left, label=label, color=colour)
            left += seconds
        for place, total in enumerate(left):
            ax.text(total, place, f" {seconds_text(total)}", va="center", fontsize=7)
        ax.set_title(network)
        ax.set_xlim(0, 1.25 * max(left))
        ax.set_xlabel("seconds an image")
        ax.grid(axis="y", visible=False)
    axes[0][0].invert_yaxis()
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, fontsize=8)
    charts.save(figure, path)


def _label(row: dict[str, Value]) -> str:
    theta_text = "" if row["m"] is None else f", m = {row['m']}, p = {int(row['p'] or 0):,}"
    return f"{row['layout']}{theta_text}"


def _each(row: dict[str, Value], column: str) -> float:
    return float(row[column] or 0) / int(row["images"] or 1)


def _page(results: Results, rows: list[dict[str, Value]], repeats: int, options: Options, figure: Path) -> Path:
    header = ["network", "layout", "images", "t_c", "t_t", "t_s", "t", "over REST", "keys", "up", "down", "answer"]
    columns = ("client_s", "transfer_s", "server_s", "total_s", "rest_s")
    body = [
        [
            str(row["network"]),
            _label(row),
            f"{row['images']:,}",
            *(seconds_text(_each(row, column)) for column in columns),
            f"{seconds_text(float(row['keygen_s'] or 0))}, {bytes_text(int(row['bytes_keys'] or 0))}",
            *(bytes_text(_each(row, column)) for column in ("bytes_up", "bytes_down")),
            str(row["answer"]),
        ]
        for row in rows
    ]
    path = options.out / f"{_NAME}.md"
    page.write(
        path,
        "Table I: seconds of client, transfer and server",
        f"pycrcnn experiment {_NAME}{' --quick' * options.quick}",
        results,
        [
            f"Medians of {repeats}; seconds and bytes of one image, which in the batched layout is a part of a run of "
            "as many images as the ciphertexts have slots. t = t_c + t_t + t_s; keys are made and sent once.",
            page.table(header, body),
            f"![Seconds by network and parameters]({figure.name})",
            "`layers` computes every layer on its own, as PyCrCNN does; `fused` joins them where that is cheaper. "
            "Over REST is the wall clock of a client that asks a service on loopback, with one worker and one thread: "
            "encryption, HTTP, evaluation, re-randomised answer, decryption.",
            "The paper states 45.7 s in all for one image. The original PyCrCNN (SEAL 2.3.1) on this kind of machine "
            "took 6.3 s to encrypt an image for the 5-layer network with m = 4096, p = 100,000,007, sent 102.8 MB and "
            "took 23.8 s to evaluate it.",
        ],
    )
    return path
