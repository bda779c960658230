"""Commands over files, for scripts: compile, keygen, encrypt, run, decrypt, explain.

Images and answers in clear are ``.npy`` files, read without unpickling. A server needs the program, the evaluation keys
and the encrypted images; the client's part has no weights, and the secret key stays where it was made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pycrcnn.errors import FormatError

__all__ = ["PASSPHRASE", "passphrase", "read_array"]

#: Where the passphrase of secret keys is looked for, so that no command line shows it.
PASSPHRASE = "PYCRCNN_PASSPHRASE"  # noqa: S105 - where it is, not what it is


def passphrase() -> str | None:
    """The passphrase that secret keys are locked under, where the environment has one."""
    return os.environ.get(PASSPHRASE) or None


def read_array(path: Path) -> NDArray[Any]:
    """The array in a ``.npy`` file.

    Raises
    ------
    FormatError
        The file holds something else, or objects, which only unpickling could read.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path}: no .npy file of numbers ({error})") from error
    if not isinstance(array, np.ndarray):
        raise FormatError(f"{path}: one array (.npy) is needed, not an archive of several")
    return array
