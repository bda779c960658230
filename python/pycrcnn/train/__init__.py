"""Training of networks that can be evaluated on ciphertexts.

Polynomial activations grow where ReLU does not, so such networks need some care: inputs of activations are kept in a
calm range, ReLU is replaced little by little (:func:`pycrcnn.approximate` with ``gradual=True``), and the original
teaches its successor. :func:`fit` does that to any PyTorch network; :func:`run` makes one of the networks that come
with the package, the paper's two (Disabato et al. 2020, section V) before and after approximation among them.

Importing this does not import torch; calling does: ``pip install 'pycrcnn[train]'``.

============= ==================================================
file          what it does
============= ==================================================
`options`     what can be chosen
`history`     what is returned: loss and accuracy of every epoch
`fitting`     the loop
`batches`     images in random order, shifted and mirrored
`penalty`     the price of values outside the calm range
`replacement` layers that are replaced little by little
`grid`        weights with few binary digits
`networks`    the architectures that come with the package
`recipes`     how each is made
============= ==================================================

Examples
--------
>>> import numpy as np
>>> from pycrcnn import train
>>> from torch import nn
>>> from pycrcnn.nn import Square
>>> images = np.random.default_rng(0).normal(size=(200, 2))
>>> network = nn.Sequential(nn.Linear(2, 4), Square(), nn.Linear(4, 2))
>>> inside = (images**2).sum(1) < 1
>>> options = train.Options(epochs=30, batch=20, learning_rate=0.02)
>>> history = train.fit(network, images, inside, options, seed=1)
>>> history.epochs[-1].loss < history.epochs[0].loss
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pycrcnn.errors import MissingPackageError
from pycrcnn.train.history import Epoch, History
from pycrcnn.train.options import Options

if TYPE_CHECKING:
    from pycrcnn.train.fitting import accuracy, fit
    from pycrcnn.train.recipes import Recipe, Trained, names, recipe, run

__all__ = ["Epoch", "History", "Options", "Recipe", "Trained", "accuracy", "fit", "names", "recipe", "run"]

#: Where the names that need torch come from.
_HOMES = {
    "accuracy": "fitting",
    "fit": "fitting",
    **dict.fromkeys(("Recipe", "Trained", "names", "recipe", "run"), "recipes"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import torch  # noqa: F401 - the modules below need it
    except ImportError as error:
        raise MissingPackageError("pycrcnn.train needs PyTorch: pip install 'pycrcnn[train]'") from error
    return getattr(importlib.import_module(f"pycrcnn.train.{_HOMES[name]}"), name)
