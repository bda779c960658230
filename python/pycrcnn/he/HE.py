"""One interface for all schemes: the second generation's ``HE`` objects.

Examples
--------
>>> import warnings
>>> warnings.simplefilter("ignore")
>>> import numpy as np
>>> from pycrcnn.convolutional.convolutional_layer import Conv2d
>>> HE = BFVPyfhel(m=1024, p_bits=None, p=1009)
>>> HE.generate_keys()
>>> layer = Conv2d(HE, [[[[1, 2]]]], bias=[-3])
>>> HE.decrypt_matrix(layer(HE.encrypt_matrix(np.array([[[[4, 5, 6]]]]))))
array([[[[11, 14]]]])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pycrcnn import _native
from pycrcnn._engine import Engine
from pycrcnn._engine.encryption import checked_threads
from pycrcnn._values import Encoding, PyCtxt, PyPtxt
from pycrcnn.errors import InvalidTypeError, InvalidValueError, MissingKeyError, ParameterError, UnsupportedError
from pycrcnn.pyfhel import Pyfhel
from pycrcnn.pyfhel._parameters import checked_degree, checked_integer, warn_if_insecure, whole_modulus

__all__ = ["HE", "BFVPyfhel", "BFVPyfhel_Fractional", "CKKSPyfhel", "CKKSTenSEAL", "MockHE"]


class HE:
    """What every scheme offers: keys, arrays, and a few operations on single numbers.

    Keys travel as bytes. An object that has loaded only a public and a relinearisation key can encode, evaluate
    and encrypt, and cannot decrypt.
    """

    #: The numbers are not encrypted at all.
    _plain = False

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine

    def _require_engine(self) -> Engine:
        if self._engine is None:
            raise UnsupportedError(f"{type(self).__name__} has no encryption parameters")
        return self._engine

    def __reduce__(self) -> Any:
        raise InvalidTypeError(f"{type(self).__name__} holds keys and is not pickled: use get_public_key()")

    @property
    def threads(self) -> int:
        """Threads that work is spread over; 0, the default, stands for all cores."""
        return self._require_engine().threads

    @threads.setter
    def threads(self, threads: int) -> None:
        self._require_engine().threads = checked_threads(threads)

    # Keys

    def generate_keys(self) -> None:
        """Makes a secret key and a public key."""
        self._require_engine().generate_keys()

    def generate_relin_keys(self) -> None:
        """Makes the relinearisation key, as far as the parameters have room for one."""
        self._require_engine().generate_evaluation_keys()

    def get_public_key(self) -> bytes:
        """The public key, for :meth:`load_public_key` on a server."""
        return self._require_engine().save_public_key()

    def get_relin_key(self) -> bytes:
        """The relinearisation key, for :meth:`load_relin_key` on a server."""
        engine = self._require_engine()
        if engine.evaluation_keys is None:
            raise MissingKeyError("there is no relinearisation key yet: call generate_relin_keys() first")
        return engine.pack_key("evaluation keys", engine.evaluation_keys.to_bytes(galois=False))

    def load_public_key(self, key: bytes) -> None:
        """Takes a public key; keys of another pair are dropped."""
        self._require_engine().load_public_key(key)

    def load_relin_key(self, key: bytes) -> None:
        """Takes a relinearisation key; keys of another pair are dropped."""
        engine = self._require_engine()
        engine.evaluation_keys = engine.unpack_key("evaluation keys", key, _native.EvaluationKeys.from_bytes)

    # Arrays

    def encode_matrix(self, matrix: Any) -> Any:
        """Encodes each number of an array of any rank from 1."""
        return self._require_engine().encode(matrix)

    def decode_matrix(self, matrix: Any) -> Any:
        """The numbers of an array of plaintexts."""
        return self._require_engine().decode(matrix)

    def encrypt_matrix(self, matrix: Any) -> Any:
        """Encrypts each number of an array of any rank from 1."""
        return self._require_engine().encrypt(matrix)

    def decrypt_matrix(self, matrix: Any) -> Any:
        """The numbers of an array of ciphertexts; needs the secret key."""
        return self._require_engine().decrypt(matrix)

    # One value

    def encode(self, x: Any) -> Any:
        """Encodes one number.

        Raises
        ------
        TypeError
            For an array, here and in the three methods below: scripts rely on it to go one dimension deeper.
        """
        return self._require_engine().encode(_single(x)).item()

    def decode(self, x: Any) -> Any:
        """The number of one plaintext."""
        return self._require_engine().decode([_single(x)])[0]

    def encrypt(self, x: Any) -> Any:
        """Encrypts one number."""
        return self._require_engine().encrypt(_single(x)).item()

    def decrypt(self, x: Any) -> Any:
        """The number of one ciphertext; needs the secret key."""
        return self._require_engine().decrypt([_single(x)])[0]

    def encode_number(self, number: float) -> Any:
        """Encodes one number."""
        return self.encode(number)

    def power(self, number: Any, exp: int) -> Any:
        """A ciphertext multiplied by itself."""
        return self._require_engine().power(_single(number), exp)

    def noise_budget(self, ciphertext: Any) -> Any:
        """Bits of noise budget that a ciphertext has left, or why that is not known."""
        engine = self._require_engine()
        if engine.secret_key is None:
            return "Can't get NB without secret key."
        return int(engine.noise_budget([_single(ciphertext)])[0])


class BFVPyfhel(HE):
    """Whole numbers, exactly, modulo p.

    Parameters
    ----------
    m : int, optional
        Degree of the polynomials.
    p : int, optional
        Plaintext modulus; it counts only where `p_bits` is None.
    p_bits : int or None, optional
        Size of a plaintext modulus that is chosen.
    sec : int, optional
        Security level in bits: 128, 192 or 256.

    Notes
    -----
    Results are numbers from -p/2 to p/2: choose p larger than twice the largest value. Average pooling sums, and
    the ciphertexts remember what decryption divides by.
    """

    def __init__(self, m: int = 2048, p: int | None = None, p_bits: int | None = 20, sec: int = 128) -> None:
        moduli = whole_modulus(m, sec)
        if p_bits is not None:
            [p] = _native.create_primes(m, [checked_integer("p_bits", p_bits, 2, 60)])
        elif p is None:
            raise InvalidValueError("p: a plaintext modulus is needed where p_bits is None")
        p = checked_integer("p", p, 2, 2**60)
        context = _native.Context.bfv(m, moduli, p, False)
        warn_if_insecure(context, sec)
        super().__init__(Engine(context, {Encoding.SCALAR: _native.ScalarEncoder(context)}, Encoding.SCALAR))


class BFVPyfhel_Fractional(HE):
    """The first generation's scheme, BFV with fractional encoding, behind this interface.

    Parameters
    ----------
    m : int
        Degree of the polynomials.
    p : int
        Plaintext modulus.
    sec : int, optional
        Security level in bits: 128, 192 or 256.
    int_digits, frac_digits : int, optional
        Coefficients for the digits before and after the point.

    Attributes
    ----------
    he : Pyfhel
        The object of the first generation.
    """

    def __init__(self, m: int, p: int, sec: int = 128, int_digits: int = 64, frac_digits: int = 32) -> None:
        self.he = Pyfhel()
        self.he.contextGen(p, m=m, sec=sec, intDigits=int_digits, fracDigits=frac_digits)
        super().__init__(self.he._engine)

    def generate_relin_keys(self, bitCount: int = 60, size: int = 3) -> None:
        """Accepts Pyfhel 2's arguments; squares need no relinearisation here."""
        super().generate_relin_keys()


class CKKSPyfhel(HE):
    """Real numbers, approximately.

    Parameters
    ----------
    m : int, optional
        Degree of the polynomials.
    scale : float, optional
        The factor between numbers and coefficients.
    qi : sequence of int, optional
        Sizes of the primes in bits, the key-switching prime last. Each but the first and last is a level: each
        layer with weights and each square takes one, average pooling none.
    """

    def __init__(self, m: int = 2**14, scale: float = 2**30, qi: Sequence[int] = (60, 30, 30, 30, 60)) -> None:
        bit_sizes = [checked_integer("qi", bits, 2, 60) for bits in qi]
        if not 1 <= scale < 2.0**60:
            raise ParameterError(f"scale = {scale!r} is not usable: choose a number from 1 to 2^60")
        context = _native.Context.ckks(m, _native.create_primes(checked_degree(m), bit_sizes), True)
        warn_if_insecure(context, 128)
        encoder = _native.CkksEncoder(context, float(scale))
        super().__init__(Engine(context, {Encoding.CKKS: encoder}, Encoding.CKKS))

    def generate_keys(self) -> None:
        """Makes a secret and a public key, the relinearisation key and rotation keys."""
        engine = self._require_engine()
        engine.generate_keys()
        half = engine.context.degree // 2
        engine.generate_evaluation_keys(1 << i for i in range(half.bit_length() - 1))

    def generate_relin_keys(self) -> None:
        """Nothing is left to do: :meth:`generate_keys` makes all keys."""
        if self._require_engine().evaluation_keys is None:
            super().generate_relin_keys()

    def power(self, number: Any, exp: int) -> Any:
        """The square, relinearised and rescaled.

        Raises
        ------
        NotImplementedError
            For another exponent than 2.
        """
        _single(number)
        if exp != 2:
            raise UnsupportedError("Only square")
        return super().power(number, exp)

    def noise_budget(self, ciphertext: Any) -> None:
        """None: CKKS has an error, not a budget."""


class CKKSTenSEAL(CKKSPyfhel):
    """TenSEAL's name for the same: real numbers, approximately."""


class MockHE(HE):
    """No encryption: the layers on plain numbers, for tests.

    Examples
    --------
    >>> HE = MockHE()
    >>> HE.decrypt(HE.power(HE.encrypt(3.0), 2))
    9.0
    """

    _plain = True

    def __init__(self) -> None:
        super().__init__(None)

    def generate_keys(self) -> None:
        """There are no keys."""

    def generate_relin_keys(self) -> None:
        """There are no keys."""

    def get_public_key(self) -> bytes:
        """There are no keys: no bytes."""
        return b""

    def get_relin_key(self) -> bytes:
        """There are no keys: no bytes."""
        return b""

    def load_public_key(self, key: bytes) -> None:
        """There are no keys."""

    def load_relin_key(self, key: bytes) -> None:
        """There are no keys."""

    def encode_matrix(self, matrix: Any) -> Any:
        """The array itself."""
        return np.asarray(matrix)

    decode_matrix = encrypt_matrix = decrypt_matrix = encode_matrix

    def encode(self, x: Any) -> Any:
        """The number itself."""
        return _single(x)

    decode = encrypt = decrypt = encode

    def power(self, number: Any, exp: int) -> Any:
        """The number to the power of `exp`."""
        return _single(number) ** exp

    def noise_budget(self, ciphertext: Any) -> None:
        """None: there is no noise."""


def _single(x: Any) -> Any:
    if not isinstance(x, PyCtxt | PyPtxt) and np.ndim(x) != 0:
        raise InvalidTypeError("one value is needed; for an array use encode_matrix, encrypt_matrix, ...")
    return x
