"""Figure 3: how much accuracy approximation and encoding cost, for four parameter sets (Disabato et al. 2020).

Plain networks compare (ReLU, max pooling); approximated ones add and multiply; encoded ones are those over the
fractional encoding of Theta = (m, p). Encoded answers to all images come from the plaintext ring, in which BFV computes
exactly while its noise budget lasts; some images are truly encrypted, layer by layer as PyCrCNN does it, and must give
the same digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn import datasets
from pycrcnn.experiments import charts, clear, page, theta
from pycrcnn.experiments.results import Results, Value
from pycrcnn.experiments.running import CIRCUMSTANCES, Options, Task, complete
from pycrcnn.experiments.trained import TRAININGS, TrainedNetworks

__all__ = ["run"]

_NAME = "figure3"
_KEYS = ("network", "training", "kind", "m", "p", "images")
_VALUES = ("accuracy", "same_class", "largest_error", "encrypted_images", "encrypted_equal_simulated", "budget_bits")
NETWORKS = ("5-layer", "6-layer")


@dataclass(frozen=True)
class _Size:
    images: int
    trainings: int
    encrypted: int
    parameters: tuple[theta.Theta, ...] = theta.FOUR


_FULL, _QUICK = _Size(10_000, TRAININGS, 2), _Size(200, 1, 1, (theta.FOUR[0], theta.FOUR[-1]))


def run(options: Options) -> Path:
    """Compute what is missing; the page."""
    size = _QUICK if options.quick else _FULL
    results = Results(options.out / f"{_NAME}.csv", _KEYS, (*_VALUES, *CIRCUMSTANCES))
    try:
        complete(_NAME, results, _tasks(size, options), options)
    finally:  # interrupted, it shows the trainings that there are
        page_path = _page(results, size, options)
    return page_path


def _tasks(size: _Size, options: Options) -> Iterator[Task]:
    pixels, labels = datasets.load("fashion-mnist", "test")
    subject = _Subject(pixels[: size.images], labels[: size.images], size, options)
    for training in range(1, size.trainings + 1):
        for network in NETWORKS:
            key: dict[str, Value] = {"network": network, "training": training, "images": size.images}
            for kind in ("plain", "approximated"):
                seconds = 2 + (subject.networks.seconds(network, training) if kind == "plain" else 0)
                work = partial(subject.clear, network, training, kind)
                yield Task({**key, "kind": kind, "m": None, "p": None}, seconds, work)
            for parameters in size.parameters:
                yield Task(
                    {**key, "kind": "encoded", "m": parameters.m, "p": parameters.p},
                    size.images / 500 + 3 * size.encrypted,
                    partial(subject.encoded, network, training, parameters),
                )


class _Subject:
    """The test images, and the networks that are asked about them."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8], size: _Size, options: Options) -> None:
        self.pixels, self.labels, self.size, self.options = pixels, labels, size, options
        self.networks = TrainedNetworks(options.out / "networks", size.trainings, options.threads)

    def clear(self, network: str, training: int, kind: str) -> dict[str, Value]:
        answers = self._clear(network, training, kind)
        return {**dict.fromkeys(_VALUES), "accuracy": self._accuracy(answers)}

    def encoded(self, network: str, training: int, parameters: theta.Theta) -> dict[str, Value]:
        model = self.networks.load(network, training, "approximated")
        images = model.normalise(self.pixels)
        encoded = theta.Encoded(model, parameters, self.options.threads)
        approximated = self._clear(network, training, "approximated")
        simulated, compared = encoded.compared(images, self.size.encrypted, approximated)
        return {
            "accuracy": self._accuracy(simulated),
            "same_class": float((simulated.argmax(1) == approximated.argmax(1)).mean()),
            **compared,
        }

    def _clear(self, network: str, training: int, kind: str) -> NDArray[np.float64]:
        model = self.networks.load(network, training, kind)
        return clear.evaluate(model.layers, model.normalise(self.pixels), self.options.threads)

    def _accuracy(self, answers: NDArray[np.float64]) -> float:
        return float((answers.argmax(1) == self.labels).mean())


@dataclass(frozen=True)
class _Bar:
    """The accuracies of a network in percent over its trainings, with the deviation of a sample."""

    kind: str
    parameters: theta.Theta | None
    mean: float
    deviation: float
    budgets: tuple[int, ...]
    same_class: float

    @property
    def label(self) -> str:
        return self.kind if self.parameters is None else f"{self.kind}\n{self.parameters.label}"

    @property
    def colour(self) -> str:
        return {"plain": charts.COLOURS[4], "approximated": charts.COLOURS[0]}.get(self.kind, charts.COLOURS[1])


def _trainings(results: Results, network: str, size: _Size) -> list[int]:
    """The trainings of which every result is there."""
    rows = results.where(network=network, images=size.images)
    counts = Counter(int(row["training"] or 0) for row in rows)
    return sorted(training for training, count in counts.items() if count == 2 + len(size.parameters))


def _bars(results: Results, network: str, size: _Size) -> list[_Bar]:
    trainings = _trainings(results, network, size)
    if not trainings:
        return []
    bars = []
    cases: list[tuple[str, theta.Theta | None]] = [("plain", None), ("approximated", None)]
    for kind, chosen in [*cases, *(("encoded", parameters) for parameters in size.parameters)]:
        m, p = (None, None) if chosen is None else (chosen.m, chosen.p)
        found = results.where(network=network, images=size.images, kind=kind, m=m, p=p)
        rows = [row for row in found if row["training"] in trainings]
        accuracies = 100 * np.array([row["accuracy"] for row in rows], dtype=float)
        deviation = float(accuracies.std(ddof=1)) if len(rows) > 1 else 0.0
        budgets = tuple(int(row["budget_bits"] or 0) for row in rows)
        same = float(np.mean([float(row["same_class"] or 0) for row in rows]))
        bars.append(_Bar(kind, chosen, float(accuracies.mean()), deviation, budgets, same))
    return bars


def _draw(bars: dict[str, list[_Bar]], size: _Size, path: Path) -> None:
    figure, axes = charts.subplots(1, 2, (10.5, 3.6), sharey=True)
    for ax, (network, shown) in zip(axes[0], bars.items(), strict=True):
        drawn: Any = ax.bar(
            [bar.label for bar in shown],
            [bar.mean for bar in shown],
            yerr=[bar.deviation for bar in shown],
            color=[bar.colour for bar in shown],
            capsize=3,
        )
        ax.bar_label(drawn, [f"{bar.mean:.1f}" for bar in shown], padding=3, fontsize=8)
        ax.axhline(10, color="black", linestyle="--", linewidth=1, label="chance")
        ax.set_title(f"{network} network")
        ax.set_ylim(0, 100)
        ax.tick_params(axis="x", labelsize=7)
        ax.grid(axis="x", visible=False)
    axes[0][1].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    axes[0][0].set_ylabel(f"accuracy on {size.images:,} test images, %")
    charts.save(figure, path)


def _page(results: Results, size: _Size, options: Options) -> Path:
    path, figure = options.out / f"{_NAME}.md", options.out / f"{_NAME}.png"
    bars = {network: _bars(results, network, size) for network in NETWORKS}
    if not all(bars.values()):
        return path
    _draw(bars, size, figure)
    accuracies = [
        [
            network,
            ", ".join((bar.kind, *([str(bar.parameters)] if bar.parameters else []))),
            f"{bar.mean:.2f} %",
            f"{bar.deviation:.2f}" if bar.deviation else "",
        ]
        for network in NETWORKS
        for bar in bars[network]
    ]
    encoded = [
        [network, str(bar.parameters), f"{100 * bar.same_class:.2f} %", ", ".join(map(str, bar.budgets))]
        for network in NETWORKS
        for bar in bars[network]
        if bar.parameters is not None
    ]
    rows = results.where(kind="encoded", images=size.images)
    equal = sum(bool(row["encrypted_equal_simulated"]) for row in rows)
    pictures = sum(int(row["encrypted_images"] or 0) for row in rows)
    trainings = ", ".join(f"{len(_trainings(results, network, size))} of the {network} network" for network in NETWORKS)
    page.write(
        path,
        "Figure 3: accuracy of plain, approximated and encoded networks",
        f"pycrcnn experiment {_NAME}{' --quick' * options.quick}",
        results,
        [
            f"![Accuracy by network and parameters]({figure.name})",
            f"Fashion-MNIST, {size.images:,} test images; mean and standard deviation over trainings: {trainings}. "
            "Training 1 is the network that ships with the package.",
            page.table(["network", "kind", "mean accuracy", "deviation"], accuracies),
            "Small plaintext moduli fall to chance: the digits of sums outgrow p and wrap around it. With the largest, "
            "encoded answers are the approximated network's.",
            page.table(
                ["network", "parameters", "same class as approximated", "noise budget left by training, bits"], encoded
            ),
            f"Truly encrypted, layer by layer, were {pictures} images, {size.encrypted} for each network, training and "
            f"parameter set: in {equal} of {len(rows)} cases every decrypted digit is the simulator's.",
        ],
    )
    return path
