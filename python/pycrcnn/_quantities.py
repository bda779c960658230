"""Bytes and seconds for people."""

from __future__ import annotations

__all__ = ["bytes_text", "seconds_text"]


def bytes_text(number: float) -> str:
    """A number of bytes, to three digits.

    >>> bytes_text(6_080_000), bytes_text(71_680), bytes_text(512)
    ('6.08 MB', '71.7 kB', '512 bytes')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} bytes"


def seconds_text(duration: float) -> str:
    """A duration, to three digits.

    >>> seconds_text(0.00488), seconds_text(2.5), seconds_text(3e-5)
    ('4.88 ms', '2.5 s', '30 µs')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if duration >= size:
            return f"{duration / size:.3g} {unit}"
    return f"{1e6 * duration:.3g} µs"
