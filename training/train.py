"""Train the networks that ship with pycrcnn and write them as safetensors, with the log of their accuracies inside.

    python training/train.py                     # all of them
    python training/train.py fashion-5layer      # one, and what it starts from

Needs ``pip install 'pycrcnn[train]'`` and the data sets (see `pycrcnn.datasets`). How each is made is told in
`pycrcnn.train.recipes`. One seed fixes everything that is random, so a run can be repeated. What is stated is the
accuracy on the test split after the last epoch; no epoch is picked by it.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from pycrcnn import models, train


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(train.names())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {names}; default: all")
    parser.add_argument("--directory", type=Path, default=Path(models.__file__).parent, help="where the files go")
    parser.add_argument("--seed", type=int, default=2023)
    parser.add_argument("--epochs", type=int, help="others than the recipe's")
    parser.add_argument("--images", type=int, help="train on the first so many images only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--progress", action="store_true", help="show a progress bar")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(train.names()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(arguments.threads)
    options = {"epochs": arguments.epochs, "images": arguments.images, "progress": arguments.progress}
    done: dict[str, train.Trained] = {}
    for name in _with_starts(arguments.names or train.names()):
        start = train.recipe(name).start
        done[name] = train.run(name, arguments.seed, start=done[start] if start else None, **options)
        models.save(done[name].model, arguments.directory / f"{name}.safetensors")


def _with_starts(names: list[str] | tuple[str, ...]) -> list[str]:
    """`names`, each after the network that it starts from."""
    order: dict[str, None] = {}
    for name in names:
        start = train.recipe(name).start
        order.update(dict.fromkeys([start, name] if start else [name]))
    return list(order)


if __name__ == "__main__":
    main()
