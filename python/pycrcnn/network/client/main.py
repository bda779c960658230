"""PyCrCNN's remote execution: encrypt here, evaluate there, decrypt here.

The evaluation keys travel with the ciphertexts, so that squares work, and a public key, under which the server
re-randomises its answer; no secret does, and object-store credentials are used here and never sent.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from pycrcnn import _native
from pycrcnn._arrays import Numbers
from pycrcnn._values import PyCtxt
from pycrcnn.crypto.crypto import decrypt_matrix, encrypt_matrix
from pycrcnn.errors import FormatError, MissingPackageError
from pycrcnn.parameters_tester._setup import pyfhel_from
from pycrcnn.pyfhel import Pyfhel

__all__ = ["remote_execution_aws", "remote_execution_rest"]

_TIMEOUT = 600.0
_REPLY_LIMIT = 1 << 30
_REFERENCE_LIMIT = 1 << 14
_DEPTH = 4


def remote_execution_rest(data: Any, parameters: Mapping[str, Any]) -> Numbers:
    """Runs layers of a server's network on encrypted data.

    Parameters
    ----------
    data : array_like
        Plain images, ``[n, channels, y, x]`` (or ``[n, values]``).
    parameters : mapping
        ``{"address": url, "encryption_parameters": [{"m", "p", "sec", "base"}], "net": name, "layers": [ints],
        "max_threads": n}``; layers run from min to max, inclusive. ``"api_key"`` is sent where the server asks for one.

    Returns
    -------
    numpy.ndarray
        What the last layer gives, decrypted.

    Raises
    ------
    ServiceError
        The server cannot be reached, or refuses for a reason of its own.
    FormatError
        The parameters lack something, or the reply is none.
    """
    HE, payload = _encrypted(data, parameters)
    http, path = _address(parameters, "/compute")
    reply = http.send("POST", path, _REPLY_LIMIT, [payload], "application/json")["body"]
    return _decrypted(HE, reply)


def remote_execution_aws(data: Any, parameters: Mapping[str, Any]) -> Numbers:
    """The same, with the payload by reference to an object store.

    The payload is put at ``input/input_payload_{timestamp}`` of the bucket ``"bk"``; the request names bucket and key,
    the reply names the answer, which is fetched; both are deleted.

    Parameters
    ----------
    data : array_like
    parameters : mapping
        As for :func:`remote_execution_rest`, and ``"bk"``, the bucket. The credentials ``"ak"`` and ``"sk"`` stay here;
        where they are not given, and for endpoint and region, the environment is asked (``AWS_ACCESS_KEY_ID``,
        ``AWS_SECRET_ACCESS_KEY``, ``AWS_ENDPOINT``, ``AWS_REGION``).

    Raises
    ------
    MissingPackageError
        obstore is not installed.
    """
    store = _bucket(parameters)
    HE, payload = _encrypted(data, parameters)
    http, path = _address(parameters, "/invocations")
    bucket, key = str(parameters["bk"]), f"input/input_payload_{time.time()}"
    store.put(key, payload)
    try:
        reference = json.dumps({"bucket": bucket, "key": key}).encode()
        reply = http.send("POST", path, _REFERENCE_LIMIT, [reference], "application/json")["body"]
        output = _object(reply).get("key")
        if not isinstance(output, str) or not output.startswith("output/"):
            raise FormatError("the server does not say where its answer is")
        answer = store.get(output)
        if answer.meta["size"] > _REPLY_LIMIT:
            raise FormatError(f"the answer has {answer.meta['size']} bytes", "too-large")
        values = _decrypted(HE, bytes(answer.bytes()))
        store.delete(output)
    finally:
        store.delete(key)
    return values


def _encrypted(data: Any, parameters: Mapping[str, Any]) -> tuple[Pyfhel, bytes]:
    """The keys, which stay, and the message."""
    cases = parameters.get("encryption_parameters")
    if not isinstance(cases, list) or not cases:
        raise FormatError('parameters: a list "encryption_parameters" is needed')
    HE = pyfhel_from(cases[0], parameters.get("max_threads", 0))
    # What the server does not need to know stays here: the address, and whatever is secret.
    told = ("encryption_parameters", "net", "model", "layers", "max_threads")
    message = {name: parameters[name] for name in told if name in parameters}
    engine = HE._require_engine()
    message["evaluation_keys"] = base64.b64encode(HE.to_bytes_relinKey()).decode()
    if engine.evaluator.rerandomizes:  # the smallest parameters have no room for it
        public_key = _native.public_key_set(engine.context, engine.require_secret_key("encrypting"))
        message["public_key"] = base64.b64encode(public_key).decode()
    message["data"] = _leaves(encrypt_matrix(HE, data))
    return HE, json.dumps(message).encode()


def _leaves(encrypted: Any) -> Any:
    if isinstance(encrypted, PyCtxt):
        return base64.b64encode(encrypted.to_bytes()).decode()
    return [_leaves(item) for item in encrypted]


def _decrypted(HE: Pyfhel, reply: bytes) -> Numbers:
    nested = _object(reply).get("data")
    return decrypt_matrix(HE, np.array(_ciphertexts(HE, nested, 0), dtype=object))  # type: ignore[no-any-return]


def _ciphertexts(HE: Pyfhel, nested: Any, depth: int) -> Any:
    if isinstance(nested, list) and nested and depth < _DEPTH:
        return [_ciphertexts(HE, item, depth + 1) for item in nested]
    if not isinstance(nested, str):
        raise FormatError("the reply holds something else than a nested list of ciphertexts")
    try:
        return PyCtxt(pyfhel=HE).from_bytes(base64.b64decode(nested, validate=True))
    except binascii.Error as error:
        raise FormatError(f"the reply holds a ciphertext that is no base64: {error}") from None


def _object(reply: bytes) -> dict[str, Any]:
    try:
        found = json.loads(reply)
        found = json.loads(found) if isinstance(found, str) else found
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the server did not answer with JSON: {error}") from None
    if not isinstance(found, dict):
        raise FormatError("the server answered with something else than a JSON object")
    return found


def _address(parameters: Mapping[str, Any], path: str) -> tuple[_native.Http, str]:
    """A connection to the server, and the path: that of the address where it has one."""
    address = parameters.get("address")
    if not isinstance(address, str):
        raise FormatError('parameters: "address", the server\'s URL, is needed')
    parts = urlsplit(address)
    url = f"{parts.scheme}://{parts.netloc}" if parts.netloc else address
    own = parts.path.rstrip("/")
    return _native.Http(url, parameters.get("api_key"), None, _TIMEOUT), own or path


def _bucket(parameters: Mapping[str, Any]) -> Any:
    try:
        from obstore.store import S3Store
    except ImportError:
        raise MissingPackageError("object stores need obstore: pip install 'pycrcnn[objects]'") from None
    if not isinstance(parameters.get("bk"), str):
        raise FormatError('parameters: "bk", the bucket, is needed')
    names = {"ak": "access_key_id", "sk": "secret_access_key"}
    given = {name: str(parameters[short]) for short, name in names.items() if parameters.get(short)}
    return S3Store(str(parameters["bk"]), **given, client_options={"allow_http": True})  # type: ignore[arg-type]
