"""All test images of Fashion-MNIST, truly encrypted, end to end: the batched layout of CKKS.

One ciphertext holds one value of as many images as it has slots. Each full set of slots is a run with bytes in and
bytes out and keys of its own, as a client would have them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

import numpy as np

import pycrcnn
from pycrcnn import datasets, models
from pycrcnn.bench.measuring import peak_rss_mb
from pycrcnn.experiments import charts, page
from pycrcnn.experiments.results import Results, Value
from pycrcnn.experiments.running import CIRCUMSTANCES, Options, Task, complete
from pycrcnn.program import Program

__all__ = ["run"]

_NAME = "all-images"
_KEYS = ("network", "first", "images")
_VALUES = (
    "correct",
    "correct_clear",
    "same_class",
    "largest_error",
    "keygen_s",
    "encrypt_s",
    "evaluate_s",
    "decrypt_s",
    "bytes_up",
    "bytes_down",
    "bytes_keys",
    "peak_rss_mb",
    "n",
    "q_bits",
    "predicted_error",
)
NETWORKS = ("fashion-5layer", "fashion-6layer")
_ALL, _QUICK = 10_000, 300


def run(options: Options) -> Path:
    """Compute what is missing; the page."""
    count = _QUICK if options.quick else _ALL
    results = Results(options.out / f"{_NAME}.csv", _KEYS, (*_VALUES, *CIRCUMSTANCES))
    subjects = [_Subject(name, count, options.threads) for name in NETWORKS]
    complete(_NAME, results, (task for subject in subjects for task in subject.tasks()), options)
    totals = [_Total(subject.name, results, subject.parts) for subject in subjects]
    figure = options.out / f"{_NAME}.png"
    _draw(totals, figure)
    return _page(results, totals, count, options, figure)


class _Subject:
    """A network, its program, and the test images in parts that fill the slots."""

    def __init__(self, name: str, count: int, threads: int) -> None:
        self.name, self.threads = name, threads
        self.model = models.load(name)
        pixels, labels = datasets.load(self.model.dataset, "test")
        self.pixels, self.labels = pixels[:count], labels[:count]

    @cached_property
    def program(self) -> Program:
        examples, _ = datasets.load(self.model.dataset, "train")
        calibration = self.model.normalise(examples[:2000])
        return pycrcnn.compile(self.model, layout="batched", calibration=calibration, threads=self.threads)

    @property
    def parts(self) -> list[dict[str, Value]]:
        capacity, count = self.program.capacity, len(self.pixels)
        return [
            {"network": self.name, "first": first, "images": min(capacity, count - first)}
            for first in range(0, count, capacity)
        ]

    def tasks(self) -> Iterator[Task]:
        for part in self.parts:
            first, images = int(part["first"] or 0), int(part["images"] or 0)
            yield Task(part, 0.2 + images / 5000, partial(self.classify, first, images))

    def classify(self, first: int, count: int) -> dict[str, Value]:
        """Encrypt, evaluate and decrypt one part."""
        images, labels = self.model.normalise(self.pixels[first : first + count]), self.labels[first : first + count]
        clock = [time.perf_counter()]
        keys = self.program.keygen()
        clock.append(time.perf_counter())
        question = keys.encrypt(images)
        clock.append(time.perf_counter())
        answer = self.program.run(question, keys.evaluation)
        clock.append(time.perf_counter())
        logits = keys.decrypt(answer)
        clock.append(time.perf_counter())
        clear = self.program.predict(images)
        phases = ("keygen_s", "encrypt_s", "evaluate_s", "decrypt_s")
        return {
            "correct": int((logits.argmax(1) == labels).sum()),
            "correct_clear": int((clear.argmax(1) == labels).sum()),
            "same_class": int((logits.argmax(1) == clear.argmax(1)).sum()),
            "largest_error": float(np.abs(keys.decrypt_raw(answer) - clear).max()),
            **dict(zip(phases, np.diff(clock).round(4).tolist(), strict=True)),
            "bytes_up": question.nbytes,
            "bytes_down": answer.nbytes,
            "bytes_keys": keys.evaluation.nbytes,
            "peak_rss_mb": round(peak_rss_mb()),
            "n": self.program.context.degree,
            "q_bits": self.program.context.modulus_bits,
            "predicted_error": self.program.error,
        }


class _Total:
    """The parts of one network, added up."""

    def __init__(self, network: str, results: Results, parts: list[dict[str, Value]]) -> None:
        self.network = network
        self.rows = [row for part in parts for row in results.where(**part)]

    def sum(self, column: str) -> float:
        return sum(float(row[column] or 0) for row in self.rows)

    def largest(self, column: str) -> float:
        return max(float(row[column] or 0) for row in self.rows)

    def per_second(self, *phases: str) -> float:
        return self.sum("images") / sum(self.sum(phase) for phase in phases)


_PHASES = {"encrypt_s": "encrypt (client)", "evaluate_s": "evaluate (server)", "decrypt_s": "decrypt (client)"}


def _draw(totals: list[_Total], path: Path) -> None:
    figure, axes = charts.subplots(1, 2, (9.0, 2.4))
    names = [total.network for total in totals]
    left = np.zeros(len(totals))
    for (phase, label), colour in zip(_PHASES.items(), charts.COLOURS, strict=False):
        milliseconds = np.array([1e3 * total.sum(phase) / total.sum("images") for total in totals])
        axes[0][0].barh(names, milliseconds, left=left, label=label, color=colour)
        left += milliseconds
    axes[0][0].set_xlabel("milliseconds an image")
    left = np.zeros(len(totals))
    for (column, label), colour in zip({"bytes_up": "up", "bytes_down": "down"}.items(), charts.COLOURS, strict=False):
        kilobytes = np.array([total.sum(column) / total.sum("images") / 1e3 for total in totals])
        axes[0][1].barh(names, kilobytes, left=left, label=label, color=colour)
        left += kilobytes
    axes[0][1].set_xlabel("kilobytes an image")
    for ax in axes[0]:
        ax.grid(axis="y", visible=False)
        ax.locator_params(axis="x", nbins=5)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8)
    charts.save(figure, path)


def _page(results: Results, totals: list[_Total], count: int, options: Options, figure: Path) -> Path:
    header = ["", *(total.network for total in totals)]
    rows = [
        ["accuracy, encrypted", *(f"{total.sum('correct') / total.sum('images'):.2%}" for total in totals)],
        ["accuracy, clear", *(f"{total.sum('correct_clear') / total.sum('images'):.2%}" for total in totals)],
        [
            "same class as in clear",
            *(f"{total.sum('same_class'):,.0f} of {total.sum('images'):,.0f}" for total in totals),
        ],
        ["largest error of a logit", *(f"{total.largest('largest_error'):.2g}" for total in totals)],
        ["largest error, predicted", *(f"{total.largest('predicted_error'):.2g}" for total in totals)],
        ["evaluated, images/s", *(f"{total.per_second('evaluate_s'):,.0f}" for total in totals)],
        ["end to end, images/s", *(f"{total.per_second(*_PHASES):,.0f}" for total in totals)],
        [
            "seconds: keys, encrypt, evaluate, decrypt",
            *(", ".join(f"{total.sum(p):.2f}" for p in ("keygen_s", *_PHASES)) for total in totals),
        ],
        [
            "megabytes: keys, up, down",
            *(
                ", ".join(f"{total.sum(c) / 1e6:.1f}" for c in ("bytes_keys", "bytes_up", "bytes_down"))
                for total in totals
            ),
        ],
        ["runs", *(f"{len(total.rows)}, N = {total.largest('n'):.0f}" for total in totals)],
    ]
    path = options.out / f"{_NAME}.md"
    page.write(
        path,
        "All test images of Fashion-MNIST, encrypted",
        f"pycrcnn experiment {_NAME}{' --quick' * options.quick} --threads {options.threads}",
        results,
        [
            f"{count:,} test images, every one encrypted, evaluated and decrypted; client and server take turns in one "
            "process. A run fills the slots of its ciphertexts as far as images are left, and the last one costs as "
            "much as a full one.",
            page.table(header, rows),
            f"![Time and bytes an image]({figure.name})",
        ],
    )
    return path
