"""The demo's page: plain text, at most 100 columns, no colour."""

from __future__ import annotations

import os
import statistics
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pycrcnn import _native
from pycrcnn.demo.measurement import Measurement
from pycrcnn.demo.provider import SECURITY
from pycrcnn.demo.subject import Subject
from pycrcnn.models import Layer

__all__ = ["heading", "section", "table"]

_WIDTH = 100
_LABEL = 11
_SHADES = " .:-=+*#%@"
#: Images that are listed one by one.
_LISTED = 10
_TITLES = {
    "per-value": "Per value: the paper's mode, one pixel of one image in a ciphertext",
    "packed": "Packed: one image in a ciphertext",
    "batched": "Batched: one pixel of many images in a ciphertext",
}
_COLUMNS = "{:<10}{:>7}{:>9}{:>10}{:>9}{:>11}{:>11}{:>9}{:>9}{:>9}"


def heading(subject: Subject, threads: int, url: str, process: int) -> str:
    """What is classified, by which network, on what, and by whom."""
    lines = [f"pycrcnn demo: {subject.title}, encrypted", "=" * _WIDTH]
    if subject.note:
        lines += [*textwrap.wrap(f"Note: {subject.note}", _WIDTH, break_on_hyphens=False, break_long_words=False), ""]
    layers = ", ".join(map(_described, subject.model.layers))
    lines += _row("images", subject.source)
    lines += _row("network", f"{subject.model.name}: {layers}; {subject.model.accuracy:.2%} right on clear test images")
    count = threads or os.cpu_count() or 1
    lines += _row("machine", f"{count} thread{'s' * (count != 1)}, {_native.backend()} kernels")
    lines += _row("server", f"process {process} at {url}: it has the weights, and no secret key")
    lines += _row("client", "a process for each layout: it has the images and the URL, and nothing of the network")
    return "\n".join(lines)


def section(subject: Subject, measurement: Measurement) -> str:
    """One layout's run."""
    lines = ["", _TITLES[measurement.layout], "-" * _WIDTH]
    if measurement.layout == "per-value":
        lines += [*_sights(subject.pixels[0], bytes.fromhex(measurement.figures.excerpt)), ""]
    lines += [*_classes(subject, measurement), ""]
    lines += _summary(subject, measurement)
    for warning in measurement.published.warnings:
        lines += _row("note", warning)
    return "\n".join(lines)


def table(subject: Subject, measurements: Sequence[Measurement]) -> str:
    """All layouts beside each other."""
    names = ("layout", "images", "right", "as clear", "error", "client s", "transfer s", "server s", "MB up", "MB down")
    lines = ["", _COLUMNS.format(*names), "-" * _WIDTH]
    for measured in measurements:
        figures, seconds = measured.figures, measured.figures.seconds
        right = (measured.encrypted.argmax(1) == subject.labels[: measured.images]).mean()
        row = (f"{measured.images:,}", f"{right:.1%}", f"{measured.agreement:.1%}", f"{measured.max_error:.1e}")
        took = (seconds["encrypt"] + seconds["decrypt"], seconds["transfer"], sum(figures.server))
        travelled = (figures.bytes_up / 1e6, figures.bytes_down / 1e6)
        numbers = [*(f"{number:.3f}" for number in took), *(f"{number:.2f}" for number in travelled)]
        lines.append(_COLUMNS.format(measured.layout, *row, *numbers))
    return "\n".join(lines)


def _sights(pixels: NDArray[np.uint8], excerpt: bytes) -> list[str]:
    """The first image as the client sees it, and as the server does."""
    # A character is about twice as tall as wide: large images lose every other row, small ones double their columns.
    tall = pixels.shape[0] > 16
    picture = pixels[::2] if tall else pixels.repeat(2, axis=1)
    shades = (picture.astype(np.int64) * (len(_SHADES) - 1) + pixels.max() // 2) // max(int(pixels.max()), 1)
    rows = ["".join(_SHADES[shade] for shade in row) for row in shades]
    each = 24
    start = len(excerpt) - each * len(rows)  # what comes first is a header
    secret = [excerpt[start + i * each : start + (i + 1) * each].hex(" ", 2) for i in range(len(rows))]
    gap = " " * 6
    width = len(rows[0])
    titles = f"{'the client sees':<{width}}{gap}the server sees"
    return [titles, *(f"{row:<{width}}{gap}{cipher}".rstrip() for row, cipher in zip(rows, secret, strict=True))]


def _classes(subject: Subject, measurement: Measurement) -> list[str]:
    """A line for each image: its number and its true, clear and encrypted class."""
    lines = [_columns("image", "true class", "in clear", "encrypted", "")]
    clear, encrypted = measurement.clear.argmax(1), measurement.encrypted.argmax(1)
    listed = min(_LISTED, measurement.images)
    for i in range(listed):
        names = (subject.classes[c] for c in (subject.labels[i], clear[i], encrypted[i]))
        verdict = ("right" if encrypted[i] == subject.labels[i] else "wrong") + (
            "" if encrypted[i] == clear[i] else ", unlike in clear"
        )
        lines.append(_columns(str(i), *names, verdict))
    if listed < measurement.images:
        lines.append(f"{'':<8}and {measurement.images - listed:,} more")
    return lines


def _columns(number: str, *names: str) -> str:
    return (f"{number:<8}" + "".join(f"{name:<16}" for name in names)).rstrip()


def _summary(subject: Subject, measurement: Measurement) -> list[str]:
    figures, program = measurement.figures, measurement.published.program
    seconds, count = figures.seconds, measurement.images
    labels = subject.labels[:count]
    lines: list[str] = []
    if count > _LISTED:
        right = [float((answers.argmax(1) == labels).mean()) for answers in (measurement.encrypted, measurement.clear)]
        lines += _row(
            "accuracy", f"{right[0]:.2%} encrypted, {right[1]:.2%} in clear; same class for {measurement.agreement:.2%}"
        )
    lines += _row(
        "error", f"{measurement.max_error:.2g} at most, in answers up to {np.abs(measurement.clear).max():.3g}"
    )
    if figures.budget is not None:
        fresh, left = figures.budget
        lines += _row(
            "noise",
            f"{fresh} bits of noise budget fresh, {left} in the answer; the server spent the rest to hide the weights",
        )
    else:
        lines += _row("noise", "CKKS has no noise budget: noise is error, and the server's flooding is in it")
    lines += _row("provider", f"compile {measurement.published.seconds:.3f} s, once")
    memory = "" if figures.memory_mb is None else f"; {figures.memory_mb:.0f} MB of memory"
    lines += _row("client", _times(seconds, "keygen", "encrypt", "decrypt") + memory)
    lines += _row("server", _served(figures.server))
    lines += _row(
        "transfer", f"{seconds['transfer']:.3f} s on loopback; at the paper's 72.2 Mb/s: {figures.at_paper:.3f} s"
    )
    if program.layout == "batched":
        client = 1e3 * (seconds["encrypt"] + seconds["decrypt"]) / count
        speed = f"{count / sum(figures.server):,.0f} images/s at the server, {client:.2g} ms an image at the client"
        lines += _row("speed", f"{speed}; {count:,} of {program.capacity:,} slots filled")
    lines += _row("bytes", f"{_megabytes(figures.bytes_up)} up, {_megabytes(figures.bytes_down)} down")
    keys = program.explain().keys
    lines += _row("keys", f"{_megabytes(figures.key_bytes)}, sent once: a public key and {keys} evaluation keys")
    return lines + _row("parameters", _parameters(measurement)) + _row("security", _security(program.context))


def _times(seconds: dict[str, float], *names: str) -> str:
    return ", ".join(f"{name} {seconds[name]:.3f} s" for name in names)


def _served(seconds: Sequence[float]) -> str:
    """The first request loads the program and the keys."""
    first, *others = seconds
    if not others:
        return f"{first:.3f} s, loading program and keys included"
    return f"{first:.3f} s for the first image, loading included; then {statistics.median(others):.3f} s each (median)"


def _parameters(measurement: Measurement) -> str:
    program, fractional = measurement.published.program, measurement.published.fractional
    context = program.context
    primes = " + ".join(str(q.bit_length()) for q in context.moduli)
    ring = f"m = {context.degree}, q of {context.modulus_bits} bits ({primes})"
    if fractional is None:
        return f"CKKS, {ring}, input scale 2^{program.explain().input_scale_bits:.1f}"
    return (
        f"BFV, {ring}, p = {fractional.p}, fractional encoding in base {fractional.base} with "
        f"{fractional.integer_digits} + {fractional.fraction_digits} digits"
    )


def _security(context: _native.Context) -> str:
    """Both published limits beside the modulus."""
    verdicts = []
    names = ("2018 Homomorphic Encryption Standard", "2024 guideline")
    for name, limit in zip(names, _native.security_limits(context.degree, SECURITY), strict=True):
        if limit is None:
            verdicts.append(f"{name}: no limit given for m = {context.degree}")
        else:
            over = context.modulus_bits - limit
            verdicts.append(f"{name}: at most {limit} bits, " + ("met" if over <= 0 else f"exceeded by {over}"))
    return f"{SECURITY} bits? {'; '.join(verdicts)}"


def _described(layer: Layer) -> str:
    match layer["type"]:
        case "conv2d":
            outputs, inputs, height, width = layer["weight"].shape
            return f"conv {inputs} -> {outputs} {height}x{width}"
        case "linear":
            outputs, inputs = layer["weight"].shape
            return f"linear {inputs} -> {outputs}"
        case kind:
            return {"avg_pool2d": "average pool"}.get(kind, kind)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB"


def _row(label: str, text: str) -> list[str]:
    indent = " " * _LABEL
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{label:<{_LABEL}}",
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
