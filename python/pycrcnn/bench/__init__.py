"""The command ``pycrcnn bench``: measure speed, memory and bytes.

Every figure is printed, and written as JSON where a file is named. A time is a median, with the smallest and the
largest beside it as ``_min`` and ``_max``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

__all__ = ["add_arguments", "run"]

_BENCHES = {
    "per-value": "one image, one value a ciphertext, BFV with the paper's encoding",
    "latency": "one image, all of it in one ciphertext, CKKS or BFV",
    "batched": "as many images as a ciphertext has slots, CKKS",
    "service": "the service and its clients on loopback: overhead, throughput, PyCrCNN's messages",
    "cluster": "a Ray cluster of one-core nodes: scaling of requests and of files, latency, a node lost, many keys",
    "agreement": "classes of encrypted images against those of the clear network, layout by layout",
    "kernels": "transforms, affine maps, squares, key switching against Microsoft SEAL's in one run",
}
_MODULES = {name: name.replace("-", "_") for name in _BENCHES}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", choices=_BENCHES, help="; ".join(f"{name}: {text}" for name, text in _BENCHES.items()))
    parser.add_argument(
        "--network",
        default="5layer",
        help="5layer (default), 6layer, cryptonets, lenet1, lenet5, cifar, 2conv or recurrent",
    )
    parser.add_argument("--scheme", choices=("ckks", "bfv"), default="ckks", help="of latency (default: ckks)")
    parser.add_argument("--threads", type=int, default=1, help="threads of every call; 0 for all cores (default: 1)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs (default: 5)")
    layouts = ("all", "packed", "batched", "per-value")
    parser.add_argument("--layout", choices=layouts, default="all", help="agreement: the layout (default: all)")
    parser.add_argument("--images", type=int, default=1000, help="agreement: test images (default: 1000)")
    parser.add_argument("--json", type=Path, help="write the results to this file")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write the results where asked."""
    for option in ("repeats", "images"):
        if getattr(arguments, option) < 1:
            print(f"pycrcnn: --{option} must be at least 1", file=sys.stderr)
            return 2
    module = importlib.import_module(f"pycrcnn.bench.{_MODULES[arguments.name]}")
    results = module.measure(arguments)
    for result in results if isinstance(results, list) else [results]:
        print("\n".join(f"{key:>22}  {_shown(value)}" for key, value in result.items()), end="\n\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
