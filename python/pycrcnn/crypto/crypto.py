"""Encode, encrypt, decrypt arrays of any rank from 1.

Examples
--------
>>> import warnings
>>> warnings.simplefilter("ignore")
>>> from pycrcnn.pyfhel import Pyfhel
>>> HE = Pyfhel()
>>> HE.contextGen(p=65537, m=1024)
>>> HE.keyGen()
>>> encrypted = encrypt_matrix(HE, [[1.5, -2.0], [0.25, 3.0]])
>>> encrypted.shape
(2, 2)
>>> decrypt_matrix(HE, encrypted)
array([[ 1.5 , -2.  ],
       [ 0.25,  3.  ]])
"""

from __future__ import annotations

from typing import Any

from pycrcnn._engine import engine_of

__all__ = [
    "decode_matrix",
    "decode_matrix_2d",
    "decode_vector",
    "decrypt_matrix",
    "decrypt_matrix_2d",
    "decrypt_matrix_2x2",
    "encode_matrix",
    "encode_matrix_2d",
    "encode_matrix_2x2",
    "encode_vector",
    "encrypt_matrix",
    "encrypt_matrix_2d",
    "encrypt_matrix_2x2",
]


def encode_matrix(HE: Any, matrix: Any) -> Any:
    """Encodes each number of an array.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters.
    matrix : array_like
        Real, finite numbers: NumPy, nested lists or a torch tensor.

    Returns
    -------
    numpy.ndarray
        Plaintexts (PyPtxt), dtype object, of the same shape.
    """
    return engine_of(HE).encode(matrix)


def decode_matrix(HE: Any, matrix: Any) -> Any:
    """The numbers of an array of plaintexts; the inverse of :func:`encode_matrix`."""
    return engine_of(HE).decode(matrix)


def encrypt_matrix(HE: Any, matrix: Any) -> Any:
    """Encrypts each number of an array, in one call of the native module.

    Parameters
    ----------
    HE : Pyfhel or HE
        Parameters and keys; the secret key is used where it is there, otherwise the public key.
    matrix : array_like
        Real, finite numbers: NumPy, nested lists or a torch tensor.

    Returns
    -------
    numpy.ndarray
        Ciphertexts (PyCtxt), dtype object, of the same shape.
    """
    return engine_of(HE).encrypt(matrix)


def decrypt_matrix(HE: Any, matrix: Any) -> Any:
    """The numbers of an array of ciphertexts; needs the secret key.

    Raises
    ------
    NoiseBudgetError
        Where the noise has used up the budget of a ciphertext.
    MissingKeyError
        Without the secret key.
    """
    return engine_of(HE).decrypt(matrix)


# PyCrCNN's early scripts have a name for each rank.
encode_vector = encode_matrix_2d = encode_matrix_2x2 = encode_matrix
decode_vector = decode_matrix_2d = decode_matrix
encrypt_matrix_2d = encrypt_matrix_2x2 = encrypt_matrix
decrypt_matrix_2d = decrypt_matrix_2x2 = decrypt_matrix
