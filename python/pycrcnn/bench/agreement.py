"""Whether encrypted answers name the class that the clear network names, image by image."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn import datasets
from pycrcnn.bench.measuring import circumstances, network, timed
from pycrcnn.errors import NoiseBudgetError, UnsupportedError
from pycrcnn.models import Model
from pycrcnn.program import FractionalParameters, Program, compile  # noqa: A004
from pycrcnn.program.program import Layout, Mode

__all__ = ["measure"]

#: Images that are encrypted in the per-value layout, where the exact simulator answers for the others.
_ENCRYPTED = 2

#: Parameters for networks whose weights are not short, where the paper's parameters have no room for their digits.
_FRACTIONAL = {
    "cryptonets": FractionalParameters(m=16384, p=2**59 + 1, fraction_digits=14),
    "lenet1": FractionalParameters(m=8192, p=2**59 + 1, fraction_digits=14),
    "lenet5": FractionalParameters(m=16384, p=2**59 + 1, fraction_digits=14),
}


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare classes and errors in each layout that the network fits; what does not fit says why."""
    model = network(arguments.network)
    examples, _ = datasets.load(model.dataset, "train")
    pixels, labels = datasets.load(model.dataset, "test")
    calibration = model.normalise(examples[:500])
    images, labels = model.normalise(pixels[: arguments.images]), labels[: arguments.images]
    layouts: tuple[Layout, ...] = ("packed", "batched", "per-value")
    if arguments.layout != "all":
        layouts = (arguments.layout,)
    return [_agreement(arguments, layout, model, calibration, images, labels) for layout in layouts]


def _agreement(
    arguments: argparse.Namespace,
    layout: Layout,
    model: Model,
    calibration: NDArray[np.float64],
    images: NDArray[np.float64],
    labels: NDArray[np.uint8],
) -> dict[str, Any]:
    subject = {"name": "agreement", "network": arguments.network, "layout": layout}
    try:
        per_value = layout == "per-value"
        parameters = _FRACTIONAL.get(arguments.network) if per_value else None
        program = compile(
            model, layout=layout, calibration=calibration, parameters=parameters, threads=arguments.threads
        )
        mode: Mode = "simulate" if per_value else "encrypted"
        (seconds,), answers = timed(1, lambda: program.predict(images, mode=mode))
        exact = _encrypted_as_simulated(program, images, answers) if per_value else {}
    except (UnsupportedError, NoiseBudgetError) as reason:
        return {**subject, "does_not_fit": str(reason)}
    clear, explanation = program.predict(images), program.explain()
    errors = np.abs(answers - clear)
    return {
        **subject,
        "scheme": explanation.scheme,
        "parameters": {
            "n": explanation.degree,
            "q_bits": explanation.modulus_bits,
            "primes": list(explanation.prime_bits),
        },
        "security_bits": explanation.security,
        **circumstances(arguments.threads),
        "agreement_images": len(images),
        "agreement": float((answers.argmax(1) == clear.argmax(1)).mean()),
        **exact,
        "accuracy": float((answers.argmax(1) == labels).mean()),
        "accuracy_clear": float((clear.argmax(1) == labels).mean()),
        "max_error": float(errors.max()),
        "rms_error": float(np.sqrt((errors**2).mean())),
        "predicted_error": explanation.error,
        "largest_logit": float(np.abs(clear).max()),
        "seconds": seconds,
    }


def _encrypted_as_simulated(
    program: Program, images: NDArray[np.float64], simulated: NDArray[np.float64]
) -> dict[str, Any]:
    """The simulator of the per-value layout is exact: encrypted answers have its digits."""
    sample = images[:_ENCRYPTED]
    encrypted = program.predict(sample, mode="encrypted")
    return {
        "encrypted_images": len(sample),
        "encrypted_equal_simulated": bool((encrypted == simulated[: len(sample)]).all()),
    }
