"""The log of a training, as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Epoch", "History"]


@dataclass(frozen=True)
class Epoch:
    """One pass over the images.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        The mean over its steps, without the range penalty.
    training_accuracy : float
        On the images as they came, shifted and mirrored, while the weights changed; 0 to 1.
    test_accuracy : float or None
        Afterwards, in double precision; None where no test images were given.
    learning_rate : float
        Of its last step.
    seconds : float
    """

    epoch: int
    loss: float
    training_accuracy: float
    test_accuracy: float | None
    learning_rate: float
    seconds: float

    def __str__(self) -> str:
        test = "" if self.test_accuracy is None else f", test accuracy {self.test_accuracy:.2%}"
        return (
            f"epoch {self.epoch:2d}: loss {self.loss:.4f}, training accuracy {self.training_accuracy:.2%}{test} "
            f"({self.seconds:.1f} s)"
        )


@dataclass(frozen=True)
class History:
    """What :func:`pycrcnn.train.fit` returns.

    Attributes
    ----------
    epochs : tuple of Epoch
    seed : int
    """

    epochs: tuple[Epoch, ...]
    seed: int

    @property
    def test_accuracy(self) -> float | None:
        """After the last epoch; no epoch is picked by it."""
        return self.epochs[-1].test_accuracy

    def __str__(self) -> str:
        return "\n".join(map(str, self.epochs))
