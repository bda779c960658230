"""As many images as a ciphertext has slots: CKKS, one value of all of them a ciphertext."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from pycrcnn import datasets
from pycrcnn.bench.measuring import circumstances, network, peak_rss_mb, predictions, summary, timed
from pycrcnn.program import compile  # noqa: A004

__all__ = ["measure"]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time key generation, encryption, evaluation and decryption of one full batch of test images."""
    model, threads = network(arguments.network), arguments.threads
    examples, _ = datasets.load(model.dataset, "train")
    program = compile(model, layout="batched", calibration=model.normalise(examples[:2000]), threads=threads)
    pixels, labels = datasets.load(model.dataset, "test")
    count = min(program.capacity, len(pixels))
    images, labels = model.normalise(pixels[:count]), labels[:count]
    keygen, keys = timed(arguments.repeats, program.keygen)
    encrypt, encrypted = timed(arguments.repeats, lambda: keys.encrypt(images))
    evaluate, answer = timed(arguments.repeats, lambda: program.run(encrypted))
    decrypt, logits = timed(arguments.repeats, lambda: keys.decrypt_raw(answer))
    clear = program.predict(images)
    seconds = summary("evaluate_s", evaluate)
    max_error = float(np.abs(logits - clear).max())
    return {
        "name": "batched",
        "network": arguments.network,
        "layout": "batched",
        "scheme": "CKKS",
        "parameters": {
            "n": program.context.degree,
            "q_bits": program.context.modulus_bits,
            "primes": [q.bit_length() for q in program.context.moduli],
            "input_scale_bits": program.explain().input_scale_bits,
        },
        "security_bits": 128,
        **circumstances(threads),
        "images": count,
        **summary("keygen_s", keygen),
        **summary("encrypt_s", encrypt),
        **seconds,
        **summary("decrypt_s", decrypt),
        "images_per_s": count / seconds["evaluate_s"],
        "client_ms_per_image": 1e3 * (sorted(encrypt)[len(encrypt) // 2] + sorted(decrypt)[len(decrypt) // 2]) / count,
        "bytes_up": encrypted.nbytes,
        "bytes_down": answer.nbytes,
        "bytes_keys": keys.evaluation.nbytes,
        "peak_rss_mb": peak_rss_mb(),
        "max_error": max_error,
        **predictions(program, encrypted, keys.evaluation, seconds["evaluate_s"], max_error),
        "accuracy": float((logits.argmax(1) == labels).mean()),
        "accuracy_clear": float((clear.argmax(1) == labels).mean()),
        "agreement": float((logits.argmax(1) == clear.argmax(1)).mean()),
    }
