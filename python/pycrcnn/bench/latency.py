"""One image in one ciphertext: the packed layout, CKKS or BFV."""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import numpy as np

from pycrcnn import datasets
from pycrcnn.bench.measuring import circumstances, network, peak_rss_mb, predictions, summary, timed
from pycrcnn.program import EvaluationKeys, compile  # noqa: A004

__all__ = ["measure"]

#: Test images that the error and the agreement are measured on.
_IMAGES = 20


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time what happens once for a program, once for a client, and for each image."""
    model, threads, repeats = network(arguments.network), arguments.threads, arguments.repeats
    examples, _ = datasets.load(model.dataset, "train")
    calibration = model.normalise(examples[:500])
    compiling, program = timed(
        1,
        lambda: compile(model, layout="packed", scheme=arguments.scheme, calibration=calibration, threads=threads),
    )
    explanation = program.explain()
    pixels, labels = datasets.load(model.dataset, "test")
    images = model.normalise(pixels[:_IMAGES])
    keygen, keys = timed(repeats, program.keygen)
    # What is timed is the first run with keys that came as bytes, then those after it.
    fresh = EvaluationKeys.from_bytes(keys.evaluation.to_bytes())
    encrypt, encrypted = timed(repeats, lambda: keys.encrypt(images[:1]))
    first, _ = timed(1, lambda: program.run(encrypted, fresh))
    evaluate, answer = timed(max(repeats, _IMAGES), lambda: program.run(encrypted, fresh))
    decrypt, _ = timed(repeats, lambda: keys.decrypt_raw(answer))
    clear = program.predict(images)
    logits = np.concatenate(
        [keys.decrypt_raw(program.run(keys.encrypt(images[i : i + 1]), fresh)) for i in range(len(images))]
    )
    max_error = float(np.abs(logits - clear).max())
    return {
        "name": "latency",
        "network": arguments.network,
        "layout": "packed",
        "scheme": explanation.scheme,
        "parameters": {
            "n": explanation.degree,
            "q_bits": explanation.modulus_bits,
            "primes": list(explanation.prime_bits),
            "input_scale_bits": explanation.input_scale_bits,
            "plain_moduli": list(explanation.plain_moduli),
        },
        "security_bits": explanation.security,
        **circumstances(threads),
        "images": 1,
        "compile_s": compiling[0],
        **summary("keygen_s", keygen),
        **summary("encrypt_s", encrypt),
        "first_evaluate_s": first[0],
        **summary("evaluate_s", evaluate),
        **summary("decrypt_s", decrypt),
        **predictions(program, encrypted, fresh, statistics.median(evaluate), max_error),
        "keys": explanation.keys,
        "bytes_keys": keys.evaluation.nbytes,
        "bytes_ready": fresh.prepared(program.native, program.program_id, threads).nbytes + fresh.nbytes,
        "bytes_up": encrypted.nbytes,
        "bytes_down": answer.nbytes,
        "peak_rss_mb": peak_rss_mb(),
        "max_error": max_error,
        "largest_logit": float(np.abs(clear).max()),
        "accuracy_clear": float((clear.argmax(1) == labels[:_IMAGES]).mean()),
        "agreement": float((logits.argmax(1) == clear.argmax(1)).mean()),
        "agreement_images": len(images),
    }
