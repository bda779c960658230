"""The paper's two networks, trained five times: as they ship, and with other seeds."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from pycrcnn import models
from pycrcnn._bars import bar

__all__ = ["TRAININGS", "TrainedNetworks"]

#: How many trainings there are.
TRAININGS = 5

#: Of the networks that ship; the others follow.
_SEED = 2023
_NAMES = {"5-layer": "fashion-5layer", "6-layer": "fashion-6layer"}
_PLAIN = "-plain"
#: What a training takes, plain and approximated together, on one core.
_SECONDS = {"5-layer": 100.0, "6-layer": 150.0}


class TrainedNetworks:
    """Networks by number of training.

    The first training is of the networks that ship. Where another one is missing, all that are missing are trained,
    each in a process and on one thread, as the recipes are, so that the same seed gives the same weights.

    Parameters
    ----------
    directory : Path
        Where trained networks are kept, one directory a seed.
    trainings : int
        How many trainings there are of each network.
    processes : int
        How many trainings run at once; 0 stands for all cores.
    epochs, images : int, optional
        Others than the recipes'.
    """

    def __init__(
        self,
        directory: Path,
        trainings: int = TRAININGS,
        processes: int = 0,
        *,
        epochs: int | None = None,
        images: int | None = None,
    ) -> None:
        self.directory, self.trainings, self.processes = directory, trainings, processes or os.cpu_count() or 1
        self.epochs, self.images = epochs, images

    def load(self, network: str, training: int, kind: str) -> models.Model:
        """A network, ``"plain"`` or ``"approximated"``; what is missing is trained now."""
        name = _NAMES[network] + (_PLAIN if kind == "plain" else "")
        if training == 1:
            return models.load(name)
        path = self._path(name, training)
        if not path.exists():
            self._train()
        return models.read(path)

    def seconds(self, network: str, training: int) -> float:
        """What a training that is not there yet is expected to add."""
        missing = (network, training) in self._missing()
        return _SECONDS[network] / self.processes if missing else 0.0

    def _path(self, name: str, training: int) -> Path:
        return self.directory / str(_SEED + training - 1) / f"{name}.safetensors"

    def _missing(self) -> list[tuple[str, int]]:
        """Networks and trainings, the longest first."""
        networks = sorted(_NAMES, key=lambda network: -_SECONDS[network])
        return [
            (network, training)
            for network in networks
            for training in range(2, self.trainings + 1)
            if not self._path(_NAMES[network], training).exists()
        ]

    def _train(self) -> None:
        missing = self._missing()
        with ProcessPoolExecutor(self.processes, get_context("spawn")) as pool:
            running = []
            for network, training in missing:
                name, seed = _NAMES[network], _SEED + training - 1
                path = self._path(name, training)
                running.append(pool.submit(_train, name, seed, path, self.epochs, self.images))
            try:
                for finished in bar("experiments", as_completed(running), desc="training", total=len(running)):
                    finished.result()
            finally:  # interrupted, only those that have begun are waited for
                pool.shutdown(wait=False, cancel_futures=True)


def _train(name: str, seed: int, path: Path, epochs: int | None, images: int | None) -> None:
    """Trains a network and the plain one before it, and saves both: in a process of its own."""
    import torch

    from pycrcnn import train

    torch.set_num_threads(1)
    trained = train.run(name, seed, epochs=epochs, images=images)
    assert trained.start is not None  # noqa: S101 - approximated networks have one
    path.parent.mkdir(parents=True, exist_ok=True)
    models.save(trained.start.model, path.with_stem(name + _PLAIN))
    models.save(trained.model, path)
