"""The paper's two networks, trained five times: as they ship, and with other seeds."""

from __future__ import annotations

from pathlib import Path

from pycrcnn import models

__all__ = ["TRAININGS", "TrainedNetworks"]

#: How many trainings there are.
TRAININGS = 5

#: Of the networks that ship; the others follow.
_SEED = 2023
_NAMES = {"5-layer": "fashion-5layer", "6-layer": "fashion-6layer"}
_PLAIN = "-plain"
#: What a training takes, plain and approximated together, on one core.
_SECONDS = {"5-layer": 200.0, "6-layer": 400.0}


class TrainedNetworks:
    """Networks by number of training.

    Parameters
    ----------
    directory : Path
        Where trained networks are kept, one directory a seed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def load(self, network: str, training: int, kind: str) -> models.Model:
        """A network, ``"plain"`` or ``"approximated"``; both are trained now where they are not there yet."""
        name = _NAMES[network] + (_PLAIN if kind == "plain" else "")
        if training == 1:
            return models.load(name)
        path = self._path(name, training)
        if not path.exists():
            self._train(_NAMES[network], training)
        return models.read(path)

    def seconds(self, network: str, training: int) -> float:
        """What a training is expected to take that is not there yet."""
        return 0.0 if training == 1 or self._path(_NAMES[network], training).exists() else _SECONDS[network]

    def _path(self, name: str, training: int) -> Path:
        return self.directory / str(_SEED + training - 1) / f"{name}.safetensors"

    def _train(self, name: str, training: int) -> None:
        from pycrcnn import train

        trained = train.run(name, _SEED + training - 1, progress=True)
        assert trained.start is not None  # noqa: S101 - approximated networks have one
        path = self._path(name, training)
        path.parent.mkdir(parents=True, exist_ok=True)
        models.save(trained.start.model, self._path(name + _PLAIN, training))
        models.save(trained.model, path)
