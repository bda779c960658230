"""What parameters buy and cost: (m, p) of BFV with the paper's encoding, and the precision of CKKS.

BFV: the paper's 5-layer network, computed layer by layer, over the paper's moduli and degrees and the next larger
degree. Errors are those of the plaintext ring over many images, budgets and seconds those of one truly encrypted image.
CKKS: a network of one square and one of two, packed and batched, over the bits of precision that are asked for, which
set the scale; errors are those of truly encrypted images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import pycrcnn
from pycrcnn import datasets, models
from pycrcnn.bench.measuring import timed
from pycrcnn.errors import NoiseBudgetError, UnsupportedError
from pycrcnn.experiments import exploration_page, theta
from pycrcnn.experiments.results import Results, Value
from pycrcnn.experiments.running import CIRCUMSTANCES, Options, Task, complete
from pycrcnn.program import Program

__all__ = ["run"]

_NAME = "exploration"
_COSTS = ("encrypt_s", "evaluate_s", "decrypt_s", "bytes_up", "bytes_down", "bytes_keys")
_BFV_KEYS = ("network", "m", "p", "images")
_BFV_VALUES = ("q_bits", "fresh_bits", "left_bits", "fits", "largest_error", "same_class", *_COSTS)
_CKKS_KEYS = ("network", "layout", "precision")
_CKKS_VALUES = (
    "fits",
    "images",
    "n",
    "q_bits",
    "scale_bits",
    "predicted_error",
    "largest_error",
    "rms_error",
    "largest_logit",
    *_COSTS,
)

_Layout = Literal["packed", "batched"]


@dataclass(frozen=True)
class _Size:
    degrees: tuple[int, ...]
    moduli: tuple[int, ...]
    images: int
    networks: tuple[str, ...]
    precisions: tuple[int, ...]


_FULL = _Size((*theta.DEGREES, 8192), theta.MODULI, 500, ("fashion-5layer", "mnist-cryptonets"), tuple(range(4, 29, 3)))
_QUICK = _Size((1024, 2048), (theta.MODULI[0], theta.MODULI[-1]), 20, ("fashion-5layer",), (6, 14))
_PACKED_IMAGES = 20


def run(options: Options) -> Path:
    """Compute what is missing; the page."""
    size = _QUICK if options.quick else _FULL
    bfv = Results(options.out / f"{_NAME}-bfv.csv", _BFV_KEYS, (*_BFV_VALUES, *CIRCUMSTANCES))
    ckks = Results(options.out / f"{_NAME}-ckks.csv", _CKKS_KEYS, (*_CKKS_VALUES, *CIRCUMSTANCES))
    complete(f"{_NAME}, BFV", bfv, _bfv_tasks(size, options.threads), options)
    complete(f"{_NAME}, CKKS", ckks, _ckks_tasks(size, options.threads), options)
    command = f"pycrcnn experiment {_NAME}{' --quick' * options.quick} --threads {options.threads}"
    return exploration_page.write(options.out, command, bfv, ckks)


def _bfv_tasks(size: _Size, threads: int) -> Iterator[Task]:
    network = size.networks[0]
    for m in size.degrees:
        for p in size.moduli:
            key: dict[str, Value] = {"network": network, "m": m, "p": p, "images": size.images}
            yield Task(
                key,
                m / 1500,
                partial(_bfv, network, theta.Theta(m, p), size.images, threads),
            )


def _bfv(network: str, parameters: theta.Theta, count: int, threads: int) -> dict[str, Value]:
    model = models.load(network)
    pixels, _ = datasets.load(model.dataset, "test")
    images = model.normalise(pixels[:count])
    encoded = theta.Encoded(model, parameters, threads)
    program = encoded.program()
    clear, simulated = program.predict(images), encoded.simulated(images)
    with np.errstate(invalid="ignore"):  # infinities
        largest = float(np.abs(simulated - clear).max())
    keys = program.keygen()
    question = keys.encrypt(images[:1])
    budgets = [bits for _, bits in program.native.noise_budgets(keys.secret, question.parts[0], threads)]
    return {
        "q_bits": program.context.modulus_bits,
        "fresh_bits": budgets[0],
        "left_bits": budgets[-1],
        "fits": budgets[-1] > 0 and encoded.holds(images),
        "largest_error": largest,
        "same_class": float((simulated.argmax(1) == clear.argmax(1)).mean()),
        **_costs(program, images[:1], 1),
    }


def _ckks_tasks(size: _Size, threads: int) -> Iterator[Task]:
    layouts: tuple[_Layout, ...] = ("packed", "batched")
    for network in size.networks:
        for layout in layouts:
            for precision in size.precisions:
                key: dict[str, Value] = {"network": network, "layout": layout, "precision": precision}
                yield Task(
                    key,
                    8,
                    partial(_ckks, network, layout, precision, threads),
                )


def _ckks(network: str, layout: _Layout, precision: int, threads: int) -> dict[str, Value]:
    model = models.load(network)
    examples, _ = datasets.load(model.dataset, "train")
    calibration = model.normalise(examples[:500])
    try:
        program = pycrcnn.compile(model, layout=layout, precision=precision, calibration=calibration, threads=threads)
    except UnsupportedError:  # no secure modulus, or no integer, has room for such scales
        return {**dict.fromkeys(_CKKS_VALUES), "fits": False}
    pixels, _ = datasets.load(model.dataset, "test")
    images = model.normalise(pixels[: _PACKED_IMAGES if layout == "packed" else program.capacity])
    keys = program.keygen()
    answers = keys.decrypt_raw(program.run(keys.encrypt(images), keys.evaluation))
    clear = program.predict(images)
    explanation = program.explain()
    batch = images[: program.capacity]
    return {
        "fits": True,
        "images": len(batch),
        "n": explanation.degree,
        "q_bits": explanation.modulus_bits,
        "scale_bits": explanation.input_scale_bits,
        "predicted_error": program.error,
        "largest_error": float(np.abs(answers - clear).max()),
        "rms_error": float(np.sqrt(((answers - clear) ** 2).mean())),
        "largest_logit": float(np.abs(clear).max()),
        **_costs(program, batch, 3),
    }


def _costs(program: Program, images: NDArray[np.float64], repeats: int) -> dict[str, Value]:
    """Medians of some runs and the bytes of one."""
    keys = program.keygen()
    encrypt, question = timed(repeats, lambda: keys.encrypt(images))
    evaluate, answer = timed(repeats, lambda: program.run(question, keys.evaluation))

    def decrypt() -> None:
        try:
            keys.decrypt_raw(answer)
        except NoiseBudgetError:  # it takes its time all the same
            return

    decrypted, _ = timed(repeats, decrypt)
    return {
        "encrypt_s": float(np.median(encrypt)),
        "evaluate_s": float(np.median(evaluate)),
        "decrypt_s": float(np.median(decrypted)),
        "bytes_up": question.nbytes,
        "bytes_down": answer.nbytes,
        "bytes_keys": keys.evaluation.nbytes,
    }
