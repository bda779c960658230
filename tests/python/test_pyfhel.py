"""The class Pyfhel as scripts use it: one number at a time."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import quietly, with_keys
from pycrcnn.errors import (
    EncodingError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    KeyMismatchError,
    MissingKeyError,
    NoiseBudgetError,
    OperandError,
    ParameterError,
    UnsupportedError,
)
from pycrcnn.pyfhel import PyCtxt, Pyfhel

NUMBERS = [0.0, 1.0, -1.0, 0.5, -7.3, 3.4, 1234.0625, -1e-6]


@pytest.mark.parametrize("value", NUMBERS)
def test_a_real_number_comes_back(fractional: Pyfhel, value: float) -> None:
    assert fractional.decodeFrac(fractional.encodeFrac(value)) == pytest.approx(value, abs=2**-32)
    assert fractional.decryptFrac(fractional.encryptFrac(value)) == pytest.approx(value, abs=2**-32)


@pytest.mark.parametrize("value", [0, 1, -1, 42, -77, 2**40])
def test_a_whole_number_comes_back(fractional: Pyfhel, value: int) -> None:
    assert fractional.decodeInt(fractional.encodeInt(value)) == value
    assert fractional.decryptInt(fractional.encryptInt(value)) == value


def test_operators_take_ciphertexts_plaintexts_and_numbers(fractional: Pyfhel) -> None:
    HE, a, b = fractional, fractional.encryptFrac(1.5), fractional.encryptFrac(-2.25)
    two = HE.encodeFrac(2)
    expected = {
        "a + b": (a + b, -0.75),
        "a - b": (a - b, 3.75),
        "a * b": (a * b, -3.375),
        "-a": (-a, -1.5),
        "a ** 2": (a**2, 2.25),
        "a + two": (a + two, 3.5),
        "two + a": (two + a, 3.5),
        "two - a": (two - a, 0.5),
        "a * two": (a * two, 3.0),
        "a + 0": (a + 0, 1.5),
        "0 + a": (0 + a, 1.5),
        "3 - a": (3 - a, 1.5),
        "a * 0": (a * 0, 0.0),
        "a * -0.5": (a * -0.5, -0.75),
        "a * numpy": (a * np.float64(4), 6.0),
        "a - a": (a - a, 0.0),
    }
    for name, (result, value) in expected.items():
        assert HE.decryptFrac(result) == pytest.approx(value, abs=1e-6), name
    assert HE.decryptFrac(a) == 1.5, "operators leave their operands as they are"


def test_methods_give_new_ciphertexts_unless_told_otherwise(fractional: Pyfhel) -> None:
    HE, a, b = fractional, fractional.encryptFrac(3.0), fractional.encryptFrac(2.0)
    results = [
        HE.add(a, b),
        HE.sub(a, b),
        HE.multiply(a, b),
        HE.negate(a),
        HE.square(a),
        HE.power(a, 2),
        HE.power(a, 1),
    ]
    assert [HE.decryptFrac(c) for c in results] == [5, 1, 6, -3, 9, 9, 3]
    assert HE.decryptFrac(a) == 3
    assert HE.add(a, b, in_new_ctxt=False) is a
    assert HE.decryptFrac(a) == 5


def test_in_place_operators_rebind_the_name_only(fractional: Pyfhel) -> None:
    a = fractional.encryptFrac(1.0)
    kept = a
    a += fractional.encryptFrac(1.0)
    assert (fractional.decryptFrac(a), fractional.decryptFrac(kept)) == (2, 1)


def test_a_square_needs_no_relinearisation_and_squares_again() -> None:
    HE = with_keys(p=257, m=4096)
    HE.relinKeyGen(20, 100)
    square = HE.square(HE.encryptFrac(2.0))
    assert square.size() == 3
    assert HE.relinearize(square) is square
    assert HE.decryptFrac(HE.power(HE.encryptFrac(2.0), 4)) == 16
    assert HE.decryptFrac(square * HE.encodeFrac(0.5) + 1) == 3


def test_whole_numbers_multiply(fractional: Pyfhel) -> None:
    assert fractional.decryptInt(fractional.encryptInt(-77) * fractional.encryptInt(2)) == -154
    assert fractional.decryptInt(fractional.encryptInt(6) * 7 + 1) == 43


def test_batches_hold_a_number_in_each_slot(batching: Pyfhel) -> None:
    a, b = batching.encryptBatch([1, -2, 3]), batching.encryptBatch(np.array([10, 20, 30]))
    assert batching.decryptBatch(a + b)[:4] == [11, 18, 33, 0]
    assert batching.decryptBatch(a + batching.encodeBatch([5]))[:2] == [6, -2]
    assert batching.batchEnabled()
    assert batching.decrypt(batching.encrypt([7]))[0] == 7
    with pytest.raises(UnsupportedError, match="batch"):
        with_keys().encryptBatch([1])


@pytest.mark.parametrize("p", [3, 65, 257, 65532, 65537, 100000007])
def test_any_plaintext_modulus_will_do(p: int) -> None:
    HE = with_keys(p=p, m=4096)
    assert HE.decryptFrac(HE.encryptFrac(1.0)) == 1


@pytest.mark.parametrize("m", [1024, 2048, 4096])
def test_the_modulus_has_all_bits_of_seals_default_and_fast_primes(m: int) -> None:
    HE = with_keys(m=m)
    assert HE._engine is not None
    context = HE._engine.context
    assert context.modulus_bits == {1024: 27, 2048: 54, 4096: 109}[m]
    assert context.data_primes == len(context.moduli)
    assert all(q < 2**50 for q in context.moduli)


def test_a_fresh_noise_budget_is_at_least_upstreams() -> None:
    HE = with_keys(p=100000007, m=4096)
    assert HE.noiseLevel(HE.encryptFrac(0.7)) >= 71


def test_everything_is_saved_and_restored(tmp_path: Path) -> None:
    HE = with_keys(p=1009, m=1024, base=3, intDigits=40, fracDigits=20)
    names = {"Context": "context", "publicKey": "public", "secretKey": "secret", "relinKey": "relin"}
    for what, file in names.items():
        getattr(HE, f"save{what}")(str(tmp_path / file))
    c = HE.encryptFrac(2.5)
    c.save(tmp_path / "c")
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0

    server = Pyfhel()
    quietly(server.restoreContext, tmp_path / "context")
    server.restorepublicKey(tmp_path / "public")
    server.restorerelinKey(tmp_path / "relin")
    assert (server.getp(), server.getm(), server.getbase(), server.getintDigits()) == (1009, 1024, 3, 40)
    assert not server.is_publicKey_empty()
    assert server.is_secretKey_empty()
    doubled = PyCtxt(pyfhel=server, fileName=tmp_path / "c", encoding="float") + server.encryptFrac(2.5)
    with pytest.raises(MissingKeyError, match="secret key"):
        server.decryptFrac(doubled)
    with pytest.raises(MissingKeyError):
        server.noiseLevel(doubled)
    with pytest.raises(MissingKeyError):
        server.relinKeyGen(20, 5)
    assert HE.decryptFrac(doubled) == pytest.approx(5)

    client = Pyfhel()
    quietly(client.from_bytes_context, HE.to_bytes_context())
    client.from_bytes_secretKey(HE.to_bytes_secretKey())
    assert client.decryptFrac(PyCtxt().load(tmp_path / "c", "float")) == pytest.approx(2.5)


def test_a_ciphertext_travels_as_bytes(fractional: Pyfhel) -> None:
    c = fractional.encryptInt(11)
    data = c.to_bytes()
    assert fractional.decryptInt(PyCtxt().from_bytes(data)) == 11
    assert fractional.decryptInt(pickle.loads(pickle.dumps(c))) == 11
    assert fractional.decryptInt(copy.deepcopy(c)) == 11
    assert c._handle is not None
    seal = PyCtxt().from_bytes(c._handle.to_bytes(), int)
    seal._pyfhel = fractional
    assert fractional.decryptInt(seal) == 11


def test_an_empty_ciphertext_says_so(fractional: Pyfhel) -> None:
    assert "empty" in repr(PyCtxt())
    with pytest.raises(InvalidValueError, match="empty"):
        fractional.decryptFrac(PyCtxt())
    with pytest.raises(InvalidValueError, match="nothing to save"):
        PyCtxt().to_bytes()
    with pytest.raises(MissingKeyError, match="pyfhel"):
        PyCtxt().from_bytes(fractional.encryptFrac(1).to_bytes()) + 1


def test_secrets_do_not_show(fractional: Pyfhel) -> None:
    assert "secret, public" in repr(fractional)
    assert fractional._engine is not None
    secret_key = fractional._engine.secret_key
    assert repr(secret_key) == "SecretKey(..)"
    for secret in (fractional, secret_key):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret)


def test_objects_of_different_keys_or_parameters_do_not_mix(fractional: Pyfhel) -> None:
    same_parameters, other_parameters = with_keys(), with_keys(p=257)
    c = fractional.encryptFrac(1)
    with pytest.raises(KeyMismatchError, match="different keys"):
        c + same_parameters.encryptFrac(1)
    with pytest.raises(KeyMismatchError, match="different keys"):
        same_parameters.decryptFrac(c)
    with pytest.raises(KeyMismatchError, match="other encryption parameters"):
        c + other_parameters.encryptFrac(1)
    with pytest.raises(KeyMismatchError, match="other encryption parameters"):
        other_parameters.decryptFrac(c)
    with pytest.raises(FormatError):
        other_parameters.decryptFrac(PyCtxt().from_bytes(c.to_bytes()))
    with pytest.raises(FormatError):
        other_parameters.from_bytes_publicKey(fractional.to_bytes_publicKey())


def test_a_key_of_another_pair_replaces_the_keys_that_were_there(fractional: Pyfhel) -> None:
    HE = with_keys()
    HE.from_bytes_publicKey(fractional.to_bytes_publicKey())
    assert HE.is_secretKey_empty()
    assert fractional.decryptFrac(HE.encryptFrac(4)) == 4


def test_encodings_do_not_mix(fractional: Pyfhel) -> None:
    with pytest.raises(OperandError, match="integer"):
        fractional.decryptFrac(fractional.encryptInt(1))
    with pytest.raises(OperandError, match="do not mix"):
        fractional.encryptInt(1) + fractional.encryptFrac(1)
    with pytest.raises(OperandError, match="does not mix"):
        fractional.encryptInt(1) * fractional.encodeFrac(1)
    with pytest.raises(EncodingError, match="whole number"):
        fractional.encryptInt(1) * 0.5


def test_an_exhausted_noise_budget_is_no_wrong_answer(fractional: Pyfhel) -> None:
    c = fractional.encryptFrac(1.5)
    for _ in range(3):
        c = c * c
    assert fractional.noiseLevel(c) == 0
    with pytest.raises(NoiseBudgetError, match="larger polynomial degree") as caught:
        fractional.decryptFrac(c)
    assert caught.value.code == "noise-budget-exhausted"
    assert isinstance(caught.value, ArithmeticError)


@pytest.mark.parametrize("method", ["encryptFrac", "encodeFrac", "encryptInt", "encodeInt"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), EncodingError),
        (float("inf"), EncodingError),
        (1e30, EncodingError),
        ("1.5", InvalidTypeError),
        (1j, InvalidTypeError),
        (None, InvalidTypeError),
        ([1.0, 2.0], InvalidTypeError),
        (np.ones(3), TypeError),
    ],
)
def test_what_is_no_number_is_refused(fractional: Pyfhel, method: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        getattr(fractional, method)(value)


@pytest.mark.parametrize("method", ["decryptFrac", "decodeFrac", "noiseLevel", "negate", "relinearize", "encryptPtxt"])
def test_arrays_and_numbers_are_no_ciphertexts(fractional: Pyfhel, method: str) -> None:
    for wrong in (1.0, np.array([1.0]), None):
        with pytest.raises(TypeError):
            getattr(fractional, method)(wrong)


def test_powers_are_whole_and_positive(fractional: Pyfhel) -> None:
    for exponent in (0, -1, 0.5, True):
        with pytest.raises(InvalidValueError, match="exponent"):
            fractional.power(fractional.encryptFrac(1), exponent)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"p": 65537, "m": 1000}, ParameterError),
        ({"p": 65537, "m": 65536}, ParameterError),
        ({"p": 65537, "sec": 100}, ParameterError),
        ({"p": 1}, ParameterError),
        ({"p": 2**61}, ParameterError),
        ({"p": 65537.5}, InvalidTypeError),
        ({"p": 65537, "m": -2048}, ParameterError),
        ({"p": 65537, "base": 1}, ParameterError),
        ({"p": 65537, "fracDigits": -1}, ParameterError),
        ({"p": 17, "base": 100}, InvalidValueError),
        ({"p": 65537, "intDigits": 2048, "fracDigits": 32}, InvalidValueError),
        ({"p": 65536, "flagBatching": True}, ParameterError),
    ],
)
def test_unusable_parameters_are_named(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        quietly(Pyfhel().contextGen, **arguments)


def test_nothing_works_before_there_are_parameters_or_keys() -> None:
    HE = Pyfhel()
    assert repr(HE) == "<Pyfhel, no parameters>"
    for call in (HE.keyGen, lambda: HE.encryptFrac(1), HE.getp, HE.to_bytes_context):
        with pytest.raises(ParameterError, match="contextGen"):
            call()
    quietly(HE.contextGen, 65537)
    with pytest.raises(MissingKeyError, match="keyGen"):
        HE.encryptFrac(1)
    with pytest.raises(MissingKeyError, match="public key"):
        HE.to_bytes_publicKey()
    assert HE.decodeFrac(HE.encodeFrac(1.25)) == 1.25


@pytest.mark.parametrize(
    "data", [b"", b"PYCRCNN", b"\x80\x04K\x01.", b"PYCRCNN\x02" + bytes(20), b"PYCRCNN\x01\xff\xff\xff\xff{}"]
)
def test_foreign_bytes_are_refused(fractional: Pyfhel, data: bytes) -> None:
    for read in (fractional.from_bytes_secretKey, fractional.from_bytes_publicKey, fractional.from_bytes_relinKey):
        with pytest.raises(FormatError):
            read(data)
    with pytest.raises(FormatError):
        Pyfhel().from_bytes_context(data)
    with pytest.raises(FormatError):
        fractional.decryptFrac(PyCtxt().from_bytes(data, "float"))


def test_a_damaged_ciphertext_is_refused(fractional: Pyfhel) -> None:
    data = fractional.encryptFrac(1).to_bytes()
    for damaged in (data[:-1], data[:200], data + b"x", data.replace(b'"divisor":1', b'"divisor":0')):
        with pytest.raises(FormatError):
            fractional.decryptFrac(PyCtxt().from_bytes(damaged))


def test_a_key_that_cannot_be_read_leaves_the_others(fractional: Pyfhel) -> None:
    HE = with_keys()
    for damaged in (fractional.to_bytes_secretKey()[:-9], with_keys(p=257).to_bytes_secretKey()):
        with pytest.raises(FormatError):
            HE.from_bytes_secretKey(damaged)
    assert HE.decryptFrac(HE.encryptFrac(1)) == 1
