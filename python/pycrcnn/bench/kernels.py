"""Kernels against Microsoft SEAL's, in one run on one thread."""

from __future__ import annotations

import argparse
from typing import Any

from pycrcnn import _native
from pycrcnn.bench.measuring import circumstances

__all__ = ["measure"]


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time each kernel and SEAL's in turn; microseconds are those of one operation."""
    del arguments
    return [{**row, **circumstances(1)} for row in _native.bench_kernels()]
