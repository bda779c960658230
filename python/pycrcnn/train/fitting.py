"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from contextlib import closing
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from pycrcnn._bars import bar
from pycrcnn.errors import InvalidTypeError, InvalidValueError, ShapeError
from pycrcnn.frontends.fields import real_array
from pycrcnn.train.batches import batches
from pycrcnn.train.grid import on_grid
from pycrcnn.train.history import Epoch, History
from pycrcnn.train.options import Options
from pycrcnn.train.penalty import RangePenalty
from pycrcnn.train.replacement import Replacement

__all__ = ["accuracy", "fit"]

_log = logging.getLogger("pycrcnn")

#: Images that are evaluated at a time.
_EVALUATED = 1000


def fit(
    network: nn.Module,
    images: ArrayLike,
    labels: ArrayLike,
    options: Options | None = None,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    teacher: nn.Module | None = None,
    seed: int = 0,
    progress: bool = False,
) -> History:
    """Train a network to classify.

    The same seed gives the same weights, on the same machine, version of PyTorch and number of threads
    (`torch.set_num_threads`). PyTorch's own random state is left as it was.

    Parameters
    ----------
    network : torch.nn.Module
        It is trained in place, and left in evaluation mode. It gives one logit a class. Every `pycrcnn.nn.Blend` in it
        (:func:`pycrcnn.approximate` with ``gradual=True``) is replaced by what it leads to.
    images : array_like, shape [n, *input_shape]
        As the network takes them (`pycrcnn.models.Model.normalise`).
    labels : array_like of int, shape [n]
        The class of each, from 0.
    options : Options, optional
    test : (images, labels), optional
        For the accuracy after each epoch; nothing is chosen by it.
    teacher : torch.nn.Module, optional
        A trained network with as many logits, such as the one that was approximated. It sees what the network sees.
    seed : int
        Of the order of the images and of what happens to them, and of dropout.
    progress : bool
        Show a progress bar (tqdm).

    Returns
    -------
    History

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        The arguments do not fit, or the loss is no number any more: see the message for what helps.
    MissingPackageError
        PyTorch, or tqdm for the progress bar, is missing.
    """
    if not isinstance(network, nn.Module):
        raise InvalidTypeError(f"network: a torch.nn.Module is needed, not {type(network).__name__}")
    options = Options() if options is None else options
    x, y = _examples(network, images, labels, "images")
    tested = None if test is None else _examples(network, *test, "test")
    generator = torch.Generator().manual_seed(seed)
    per_epoch = -(-len(x) // options.batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = _Rate(optimizer, options, options.epochs * per_epoch)
    replacement = Replacement(network, round(options.replacement * options.epochs * per_epoch))
    epochs: list[Epoch] = []
    with (
        torch.random.fork_rng(devices=[]),
        _bar(options.epochs * per_epoch, progress) as bar,
        closing(RangePenalty(network, options.calm_range)) as penalty,
        on_grid(network, options.fraction_bits),
    ):
        torch.manual_seed(seed)
        for epoch in range(1, options.epochs + 1):
            started, total, right = time.monotonic(), 0.0, 0
            network.train()
            for batch, wanted in batches(x, y, options, generator):
                replacement.step()
                logits = network(batch)
                loss = _loss(logits, wanted, batch, teacher, options)
                optimizer.zero_grad()
                (loss + options.range_penalty * penalty.take()).backward()
                if options.gradient_norm is not None:
                    nn.utils.clip_grad_norm_(network.parameters(), options.gradient_norm)
                optimizer.step()
                rate = schedule.step()
                total += loss.item() * len(batch)
                right += int((logits.argmax(1) == wanted).sum())
                bar.update()
            if not math.isfinite(total):
                raise InvalidValueError(
                    f"training diverged in epoch {epoch}: lower learning_rate or gradient_norm, raise range_penalty or "
                    "warmup, or put batch normalisation before the activations"
                )
            if epoch == options.epochs:
                replacement.finish()
            network.eval()
            after = None if tested is None else _accuracy(network, *tested)
            penalty.take()
            seconds = time.monotonic() - started
            epochs.append(Epoch(epoch, total / len(x), right / len(x), after, rate, seconds))
            _log.info("%s", epochs[-1])
    return History(tuple(epochs), seed)


def accuracy(network: nn.Module, images: ArrayLike, labels: ArrayLike) -> float:
    """The share of images whose largest logit is the label's, in evaluation mode and double precision; 0 to 1.

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        The arguments do not fit.
    """
    return _accuracy(network, *_examples(network, images, labels, "images"))


def _accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    kinds = {parameter.dtype for parameter in network.parameters()}
    modes = [(module, module.training) for module in network.modules()]
    network.eval().double()
    try:
        with torch.no_grad():
            right = sum(
                int((network(part.double()).argmax(1) == wanted).sum())
                for part, wanted in zip(x.split(_EVALUATED), y.split(_EVALUATED), strict=True)
            )
    finally:
        if len(kinds) == 1:
            network.to(*kinds)
        for module, training in modes:
            module.training = training
    return right / len(x)


def _examples(network: nn.Module, images: ArrayLike, labels: ArrayLike, name: str) -> tuple[Tensor, Tensor]:
    """Images in the network's precision, and labels, checked against each other and the network."""
    kind = next((parameter.dtype for parameter in network.parameters()), torch.get_default_dtype())
    x = images.to(kind) if isinstance(images, Tensor) else torch.from_numpy(real_array(name, images)).to(kind)
    y = torch.from_numpy(real_array("labels", labels))
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not len(x):
        raise ShapeError(f"{name}: as many labels as images are needed, got {list(x.shape)} and {list(y.shape)}")
    modes = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad():
            logits = network.eval()(x[:1])
    except (RuntimeError, ValueError, IndexError) as error:
        raise ShapeError(f"{name}: the network does not take values of shape {list(x.shape)}: {error}") from None
    finally:
        for module, training in modes:
            module.training = training
    if logits.ndim != 2:
        raise ShapeError(f"network: it must give one logit a class, [n, classes], not {list(logits.shape)}")
    if (y != y.round()).any() or y.min() < 0 or y.max() >= logits.shape[1]:
        raise InvalidValueError(f"labels: whole numbers from 0 to {logits.shape[1] - 1} are needed, one a logit")
    return x, y.long()


def _loss(logits: Tensor, labels: Tensor, images: Tensor, teacher: nn.Module | None, options: Options) -> Tensor:
    loss = functional.cross_entropy(logits, labels, label_smoothing=options.label_smoothing)
    if teacher is None:
        return loss
    with torch.no_grad():
        taught = functional.log_softmax(teacher.eval()(images) / options.temperature, 1)
    learnt = functional.log_softmax(logits / options.temperature, 1)
    # Times the temperature squared, so that both parts keep their weight whatever it is (Hinton et al. 2015).
    divergence = functional.kl_div(learnt, taught, reduction="batchmean", log_target=True) * options.temperature**2
    return (1 - options.distillation) * loss + options.distillation * divergence


class _Rate:
    """The learning rate: up in a straight line, if there is a warm-up, and down along a cosine."""

    def __init__(self, optimizer: Any, options: Options, steps: int) -> None:
        self._group = optimizer.param_groups[0]
        self._highest = options.learning_rate
        self._rising = min(round(options.warmup * steps), steps - 1)
        self._cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - self._rising)
        self._steps = 0
        self._rise()

    def _rise(self) -> None:
        if self._steps < self._rising:
            self._group["lr"] = self._highest * (self._steps + 1) / (self._rising + 1)
        elif self._steps == self._rising:
            self._group["lr"] = self._highest

    def step(self) -> float:
        """Go on, and return the rate of the step that was made."""
        made: float = self._group["lr"]
        self._steps += 1
        if self._steps > self._rising:
            self._cosine.step()
        self._rise()
        return made


class _NoBar:
    """The bar that is not shown."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to take down."""

    def update(self) -> None:
        """One step more."""


def _bar(steps: int, shown: bool) -> Any:
    if not shown:
        return _NoBar()
    return bar("train", total=steps, unit="batch")
