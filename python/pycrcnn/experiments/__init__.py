"""The command ``pycrcnn experiment``: the paper's figures and table, and what stands beside them.

Disabato, Falcetta, Mongelluzzo, Roveri, "A Privacy-Preserving Distributed Architecture for Deep-Learning-as-a-Service",
IJCNN 2020. Each experiment is one module with ``run(options)``. It leaves a table (CSV, one row a configuration),
figures (PNG) and a page (Markdown) in the directory of results; interrupted, it goes on where it stood.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from pycrcnn.experiments.running import Options

__all__ = ["EXPERIMENTS", "add_arguments", "run"]

#: Names, with what each shows.
EXPERIMENTS = {
    "figure3": "accuracy of both networks, plain, approximated and encoded, for four parameter sets (figure 3)",
    "figure4": "transfer learning on MNIST with features of the 6-layer network (figure 4)",
    "table1": "seconds of client, transfer and server (table I), and of the packed and the batched layout",
    "all-images": "all 10,000 test images of Fashion-MNIST truly encrypted",
    "exploration": "precision, noise budget, speed and bytes over the parameters",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "name", choices=EXPERIMENTS, help="; ".join(f"{name}: {text}" for name, text in EXPERIMENTS.items())
    )
    parser.add_argument(
        "--out", type=Path, default=Path("experiments"), help="directory of the results (default: experiments)"
    )
    parser.add_argument("--quick", action="store_true", help="reduced sizes, to see what it does")
    parser.add_argument("--threads", type=int, default=0, help="threads; 0 for all cores (default); table1 takes one")


def run(arguments: argparse.Namespace) -> int:
    """Run an experiment, or what is left of it."""
    module = importlib.import_module(f"pycrcnn.experiments.{arguments.name.replace('-', '_')}")
    page = module.run(Options(arguments.out, arguments.quick, arguments.threads))
    print(f"{arguments.name}: {page}")
    return 0
