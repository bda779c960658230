"""Pyfhel's classes, as PyCrCNN's first generation used them.

A script changes ``from Pyfhel import Pyfhel`` to ``from pycrcnn.pyfhel import Pyfhel`` and nothing else.
"""

from pycrcnn._values import Encoding, PyCtxt, PyPtxt
from pycrcnn.pyfhel._pyfhel import Pyfhel

__all__ = ["Encoding", "PyCtxt", "PyPtxt", "Pyfhel"]
