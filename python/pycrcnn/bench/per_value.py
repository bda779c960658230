"""One image in the paper's layout: BFV with fractional encoding, one value a ciphertext."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from pycrcnn import _native, datasets
from pycrcnn.bench.measuring import circumstances, network, peak_rss_mb, predictions, summary, timed
from pycrcnn.program import FractionalParameters, compile  # noqa: A004

__all__ = ["measure"]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time key generation, encryption, evaluation and decryption.

    ``evaluate_s`` is the fused program's; ``evaluate_layers_s`` computes every layer on its own, as PyCrCNN does, and
    the noise budgets after each layer are those of that run.
    """
    model, parameters, threads = network(arguments.network), FractionalParameters(), arguments.threads
    pixels, labels = datasets.load(model.dataset, "test")
    image = model.normalise(pixels[:1])
    fused = compile(model, layout="per-value", parameters=parameters, threads=threads)
    layers = compile(model, layout="per-value", parameters=parameters, threads=threads, fused=False)
    layers_native = layers.native
    keygen, keys = timed(arguments.repeats, fused.keygen)
    encrypt, encrypted = timed(arguments.repeats, lambda: keys.encrypt(image))
    layers_images = layers_native.client().encrypt(keys.secret, image.reshape(-1), threads)
    evaluate_layers, _ = timed(arguments.repeats, lambda: layers_native.run(layers_images, threads=threads))
    evaluate, answer = timed(arguments.repeats, lambda: fused.run(encrypted))
    seconds = summary("evaluate_s", evaluate)
    decrypt, logits = timed(arguments.repeats, lambda: keys.decrypt_raw(answer))
    clear = fused.predict(image)
    budgets = layers_native.noise_budgets(keys.secret, layers_images, threads)
    max_error = float(np.abs(logits - clear).max())
    return {
        "name": "per-value",
        "network": arguments.network,
        "layout": "per-value",
        "scheme": "BFV, fractional encoding",
        "parameters": {
            "m": parameters.m,
            "p": parameters.p,
            "q_bits": fused.context.modulus_bits,
            "base": parameters.base,
            "integer_digits": parameters.integer_digits,
            "fraction_digits": parameters.fraction_digits,
        },
        "security_bits": 128,  # by the 2018 standard; the limits of both publications stand beside it
        "modulus_limits": dict(
            zip(("standard_2018", "guideline_2024"), _native.security_limits(parameters.m, 128), strict=True)
        ),
        **circumstances(threads),
        "images": 1,
        **summary("keygen_s", keygen),
        **summary("encrypt_s", encrypt),
        **seconds,
        **summary("evaluate_layers_s", evaluate_layers),
        **summary("decrypt_s", decrypt),
        "images_per_s": 1 / seconds["evaluate_s"],
        "bytes_up": encrypted.nbytes,
        "bytes_down": answer.nbytes,
        "bytes_keys": keys.evaluation.nbytes,
        "peak_rss_mb": peak_rss_mb(),
        "max_error": max_error,
        **predictions(fused, encrypted, keys.evaluation, seconds["evaluate_s"], max_error),
        "budget_bits": dict(budgets),
        "steps": [step.kind for step in fused.explain().steps],
        "classes": {"true": int(labels[0]), "clear": int(clear.argmax()), "encrypted": int(logits.argmax())},
    }
