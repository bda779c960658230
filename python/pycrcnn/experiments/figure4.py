"""Figure 4: transfer learning on encrypted features (Disabato et al. 2020).

The server computes the first four layers of the 6-layer network, trained on Fashion-MNIST, on encrypted images of
MNIST. The client decrypts the features and trains classifiers of its own on them, at home and in clear: a support
vector machine and a fully connected network. Encoded features come from the plaintext ring, as in figure 3, and those
of some truly encrypted images must have the same digits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn import datasets, models
from pycrcnn.errors import MissingPackageError
from pycrcnn.experiments import charts, clear, page, theta
from pycrcnn.experiments.results import Results, Value
from pycrcnn.experiments.running import CIRCUMSTANCES, Options, Task, complete

__all__ = ["run"]

_NAME = "figure4"
_KEYS = ("features", "m", "p", "training_images", "test_images")
_CLASSIFIERS = {"svm": "support vector machine", "fully_connected": "fully connected network"}
_VALUES = (*_CLASSIFIERS, "largest_error", "encrypted_images", "encrypted_equal_simulated", "budget_bits")
_LAYERS = 4
_SEED = 0
#: Features that have outgrown p may be infinite, which no classifier takes.
_LARGEST = 1e30


@dataclass(frozen=True)
class _Size:
    training: int
    test: int
    encrypted: int
    parameters: tuple[theta.Theta, ...] = theta.FOUR


_FULL, _QUICK = _Size(5000, 5000, 2), _Size(300, 200, 1, (theta.FOUR[0], theta.FOUR[-1]))

_Array = NDArray[np.float64]


def run(options: Options) -> Path:
    """Compute what is missing; the page."""
    size = _QUICK if options.quick else _FULL
    results = Results(options.out / f"{_NAME}.csv", _KEYS, (*_VALUES, *CIRCUMSTANCES))
    complete(_NAME, results, _tasks(size, options), options)
    rows = results.where(training_images=size.training, test_images=size.test)
    figure = options.out / f"{_NAME}.png"
    _draw(rows, size, figure)
    return _page(results, rows, size, options, figure)


def _tasks(size: _Size, options: Options) -> Iterator[Task]:
    subject = _Subject(size, options.threads)
    key: dict[str, Value] = {"training_images": size.training, "test_images": size.test}
    for kind in ("plain", "approximated"):
        yield Task({**key, "features": kind, "m": None, "p": None}, 20, partial(subject.clear, kind))
    for parameters in size.parameters:
        yield Task(
            {**key, "features": "encoded", "m": parameters.m, "p": parameters.p},
            60,
            partial(subject.encoded, parameters),
        )


class _Subject:
    """Images of MNIST, and what the classifiers make of their features."""

    def __init__(self, size: _Size, threads: int) -> None:
        self.size, self.threads = size, threads
        training, training_labels = datasets.load("mnist", "train")
        test, test_labels = datasets.load("mnist", "test")
        self.pixels = np.concatenate([training[: size.training], test[: size.test]])
        self.labels = np.concatenate([training_labels[: size.training], test_labels[: size.test]])

    def clear(self, kind: str) -> dict[str, Value]:
        return {**dict.fromkeys(_VALUES), **self._accuracies(self._clear(kind))}

    def encoded(self, parameters: theta.Theta) -> dict[str, Value]:
        model = _features("approximated")
        images = model.normalise(self.pixels)
        encoded = theta.Encoded(model, parameters, self.threads)
        simulated, compared = encoded.compared(images, self.size.encrypted, self._clear("approximated"))
        return {**self._accuracies(simulated), **compared}

    def _clear(self, kind: str) -> _Array:
        model = _features(kind)
        return clear.evaluate(model.layers, model.normalise(self.pixels), self.threads)

    def _accuracies(self, features: _Array) -> dict[str, Value]:
        """Each classifier's accuracy on the test images."""
        finite = np.nan_to_num(features.reshape(len(features), -1), nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)
        finite = finite.clip(-_LARGEST, _LARGEST)
        cut = self.size.training
        accuracies: dict[str, Value] = {}
        for name, make in _classifiers().items():
            classifier = make()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations")  # on features at random
                classifier.fit(finite[:cut], self.labels[:cut])
            accuracies[name] = float(classifier.score(finite[cut:], self.labels[cut:]))
        return accuracies


def _features(kind: str) -> models.Model:
    """The first layers of the 6-layer network."""
    model = models.load("fashion-6layer" + ("-plain" if kind == "plain" else ""))
    return replace(model, layers=model.layers[:_LAYERS])


def _classifiers() -> dict[str, Callable[[], Any]]:
    try:
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC
    except ImportError:
        raise MissingPackageError("figure4 needs scikit-learn: pip install 'pycrcnn[experiments]'") from None
    return {
        "svm": lambda: make_pipeline(StandardScaler(), SVC(C=10)),
        "fully_connected": lambda: make_pipeline(
            StandardScaler(), MLPClassifier((64,), max_iter=60, random_state=_SEED)
        ),
    }


def _parameters(row: dict[str, Value]) -> theta.Theta | None:
    return None if row["m"] is None else theta.Theta(int(row["m"]), int(row["p"] or 0))


def _draw(rows: list[dict[str, Value]], size: _Size, path: Path) -> None:
    figure, axes = charts.subplots(1, 1, (7.5, 3.4))
    ax = axes[0][0]
    places, width = np.arange(len(rows)), 0.4
    for i, (name, label) in enumerate(_CLASSIFIERS.items()):
        heights = [100 * float(row[name] or 0) for row in rows]
        bars = ax.bar(places + (i - 0.5) * width, heights, width, label=label, color=charts.COLOURS[i])
        ax.bar_label(bars, [f"{height:.1f}" for height in heights], padding=2, fontsize=7)
    ax.axhline(10, color="black", linestyle="--", linewidth=1, label="chance")
    labels = [str(row["features"]) + (f"\n{chosen.label}" if (chosen := _parameters(row)) else "") for row in rows]
    ax.set_xticks(places, labels, fontsize=8)
    ax.set_ylim(0, 100)
    ax.set_ylabel(f"accuracy on {size.test:,} test images, %")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8)
    ax.grid(axis="x", visible=False)
    charts.save(figure, path)


def _page(results: Results, rows: list[dict[str, Value]], size: _Size, options: Options, figure: Path) -> Path:
    body = [
        [
            str(row["features"]) + (f", {chosen}" if (chosen := _parameters(row)) else ""),
            *(f"{float(row[name] or 0):.2%}" for name in _CLASSIFIERS),
            "" if row["largest_error"] is None else f"{row['largest_error']:.2g}",
            "" if row["budget_bits"] is None else f"{row['budget_bits']} bits",
            {None: "", True: "yes", False: "no"}[row["encrypted_equal_simulated"]],  # type: ignore[index]
        ]
        for row in rows
    ]
    header = ["features", *_CLASSIFIERS.values(), "largest error", "noise budget left", "encrypted = simulated"]
    path = options.out / f"{_NAME}.md"
    page.write(
        path,
        "Figure 4: transfer learning on encrypted features",
        f"pycrcnn experiment {_NAME}{' --quick' * options.quick}",
        results,
        [
            f"![Accuracy by features]({figure.name})",
            f"The first {_LAYERS} layers of the 6-layer network, trained on Fashion-MNIST, give 64 features of an "
            f"image of MNIST; the classifiers learn {size.training:,} of them and are tested on {size.test:,} others. "
            "Errors are against the approximated features.",
            page.table(header, body),
            "Wrong features are not useless: where only the longest digits wrap around p, as with the smaller moduli, "
            "classes can still be told apart in part, and with the larger ones nothing is lost.",
            f"For each parameter set, the first {size.encrypted} images were truly encrypted, and evaluated and "
            "decrypted as PyCrCNN does it: the last column says whether every digit is the simulator's.",
        ],
    )
    return path
