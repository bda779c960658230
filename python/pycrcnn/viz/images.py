"""Images with the scores of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pycrcnn.errors import ShapeError
from pycrcnn.viz.canvas import GREY, RED, TEAL, Picture, tidy

__all__ = ["predictions"]


def predictions(
    images: ArrayLike,
    scores: ArrayLike,
    classes: Sequence[str] | None = None,
    labels: ArrayLike | None = None,
    *,
    best: int = 3,
) -> Any:
    """Images, and below each the classes with the largest scores.

    Parameters
    ----------
    images : array_like, shape [n, height, width] or [n, channels, height, width]
        Pixels of any range; of several channels the first three are red, green and blue where there are three.
    scores : array_like, shape [n, classes]
        Such as logits or probabilities.
    classes : sequence of str, optional
        Names of the classes; numbers stand in for them.
    labels : array_like of int, shape [n], optional
        The true classes: what is right is green, what is wrong red.
    best : int
        How many classes are shown.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        Images, scores, classes and labels do not fit together.
    """
    pictures, values = np.asarray(images, dtype=float), np.asarray(scores, dtype=float)
    if pictures.ndim == 4:
        pictures = pictures.transpose(0, 2, 3, 1) if pictures.shape[1] == 3 else pictures[:, 0]
    if pictures.ndim not in (3, 4) or values.ndim != 2 or len(pictures) != len(values) or len(values) == 0:
        raise ShapeError(
            f"images [n, height, width] and scores [n, classes] are needed, got {list(np.shape(images))} and "
            f"{list(values.shape)}"
        )
    names = [str(i) for i in range(values.shape[1])] if classes is None else list(classes)
    truth = None if labels is None else np.asarray(labels)
    if len(names) != values.shape[1]:
        raise ShapeError(f"{len(names)} names of classes for {values.shape[1]} scores")
    if truth is not None and truth.shape != (len(values),):
        raise ShapeError(f"labels {list(truth.shape)} for {len(values)} images")

    shown = min(best, values.shape[1])
    picture = Picture(1.9 * len(values), 1.9 + 0.3 * shown)
    axes = picture.subplots(2, len(values), height_ratios=(1.6, 0.3 * shown), squeeze=False)
    for place in range(len(values)):
        above, below = axes[:, place]
        low, high = pictures[place].min(), pictures[place].max()
        above.imshow((pictures[place] - low) / (high - low or 1.0), cmap="gray_r", vmin=0, vmax=1)
        above.set_axis_off()
        order = np.argsort(values[place])[::-1][:shown]
        right = truth is None or order[0] == truth[place]
        above.set_title(names[order[0]], color="black" if truth is None else TEAL if right else RED, fontsize=10)
        if not right and truth is not None:
            above.text(
                0.5, -0.02, f"is: {names[truth[place]]}", ha="center", va="top", fontsize=8,
                transform=above.transAxes,
            )  # fmt: skip
        below.barh(range(shown), values[place][order], color=[TEAL if right else RED, *[GREY] * (shown - 1)])
        below.set_yticks(range(shown), [names[i] for i in order], fontsize=8)
        below.tick_params(axis="x", labelsize=7)
        below.invert_yaxis()
        tidy(below)
    return picture
