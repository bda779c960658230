"""Predictions from a service that never sees the images."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn import _native
from pycrcnn.errors import (
    FormatError,
    InvalidValueError,
    KeyMismatchError,
    PyCrCNNError,
    ServiceError,
    UnsupportedError,
)
from pycrcnn.program.client import ClientProgram, Keys, checked_images
from pycrcnn.program.encrypted import Answer, EncryptedImages
from pycrcnn.program.interactive import InteractiveClient, InteractiveKeys
from pycrcnn.service.description import Description, Offer, read_json
from pycrcnn.service.job import RemoteJob
from pycrcnn.service.progress import shown
from pycrcnn.service.security import check_security
from pycrcnn.service.transfer import Transfer

__all__ = ["Client"]

_JSON_LIMIT = 1 << 20
_PART_LIMIT = 1 << 26
#: What framing and headers add to the bytes that an offer states.
_SLACK = 1 << 16
#: Seconds for which a service that works on a job may be out of reach.
_OUT_OF_REACH = 300.0


class Client:
    """A client of a service: it makes keys, encrypts, asks, decrypts. The service sees ciphertexts.

    The service is trusted to answer and to compute honestly, and with nothing else: parameters are held against the
    tables of security, programs against their identity and the shapes that were described, replies against their size.

    Parameters
    ----------
    url : str
        The service's address, such as ``"https://host:8000"``.
    model : str, optional
        The model to ask; not needed where the service offers one only.
    keys : Keys, optional
        Keys from earlier, as :meth:`Keys.load` reads them. Keys for other programs are made when they are needed.
    api_key : str, optional
        Sent with every request, where the service asks for one.
    layout : str, optional
        ``"packed"``, ``"batched"`` or ``"per-value"``; chosen by the number of images where it is not given.
    ca : path, optional
        A file of certificates (PEM) by one of which the service's must be signed; Mozilla's where it is not given.
    timeout : float
        Seconds that one attempt of a request may take.
    retries : int
        How often a request is sent again where the connection is lost or the service says to come back.
    threads : int
        Threads of encryption and decryption; 0 stands for all cores.
    jobs_from : float
        Seconds of work, as the service foretells them, from which a request becomes a job: the client then asks now and
        then how far it is, goes on after the connection was lost or the service restarted, and cancels the job when it
        is interrupted.

    Notes
    -----
    Calls release the GIL and may come from several threads, so that ``await asyncio.to_thread(client.predict, x)`` does
    not block an event loop.

    Where a service runs on this machine::

        with Client("http://127.0.0.1:8000", model="fashion-5layer") as client:
            logits = client.predict(images)
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        keys: Keys | None = None,
        api_key: str | None = None,
        *,
        layout: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        threads: int = 0,
        jobs_from: float = 20.0,
    ) -> None:
        if layout not in (None, "packed", "batched", "per-value"):
            raise InvalidValueError(f"layout {layout!r}: choose 'packed', 'batched' or 'per-value'")
        roots = None if ca is None else Path(ca).read_bytes()
        self._http = _native.Http(url, api_key, roots, timeout, retries)
        self._layout = layout
        self._threads = threads
        self._jobs_from = jobs_from
        self._keys: dict[str, Keys] = {} if keys is None else {keys.client.program_id: keys}
        self._sent: dict[str, str] = {}
        self._description: Description | None = None
        self._lock = threading.RLock()
        self._model = model
        #: What travelled so far, and what took how long.
        self.transfer = Transfer()

    def models(self) -> list[str]:
        """The names of the models that the service offers."""
        models = read_json(self._get("/v1/models", _JSON_LIMIT)).get("models")
        listed = models if isinstance(models, list) else []
        names = [
            str(entry["name"]) for entry in listed if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        ]
        if not names:
            raise FormatError("the service does not say which models it offers")
        return names

    @property
    def description(self) -> Description:
        """What the service says of the model."""
        if self._description is None:
            name = self._model
            if name is None:
                names = self.models()
                if len(names) > 1:
                    raise InvalidValueError(f"model: choose one of {', '.join(names)}")
                name = names[0]
            quoted = urllib.parse.quote(name, safe="")
            self._description = Description.from_json(self._get(f"/v1/models/{quoted}", _JSON_LIMIT))
            self._model = name
        return self._description

    def offer(self, images: int = 1, layer: int | None = None) -> Offer:
        """The program that :meth:`predict` takes for some images, or :meth:`features` up to a layer: the one that the
        least time and bytes are to be expected of.

        Raises
        ------
        UnsupportedError
            The service offers none.
        """
        description = self.description
        fitting = [
            offer
            for offer in description.programs
            if (offer.modality == "recall" if layer is None else offer.last_layer == layer)
            and offer.stages == 1
            and self._layout in (None, offer.layout)
        ]
        if not fitting:
            have = ", ".join(
                f"{o.layout} {o.modality} of layers {o.first_layer} to {o.last_layer}" for o in description.programs
            )
            raise UnsupportedError(
                f"the service offers no such program of {description.name}; it has: {have}"
                + (
                    " (Client.converse plays the interactive ones)"
                    if any(o.stages > 1 for o in description.programs)
                    else ""
                )
            )

        def cost(offer: Offer) -> float:
            # A megabyte of transfer counts as a tenth of a second, as on the paper's connection; a key set counts once.
            runs = -(-images // offer.capacity)
            traffic = runs * (offer.bytes_up + offer.bytes_down) + (0 if offer.id in self._sent else offer.key_bytes)
            return runs * offer.seconds + 1e-7 * traffic

        return min(fitting, key=cost)

    def predict(self, x: ArrayLike, *, raw: bool = False, progress: bool = False) -> NDArray[Any]:
        """Answers of the whole model.

        Parameters
        ----------
        x : array_like, shape [n, *input_shape] or input_shape
            As the model takes them: grey values after ``pixels.scale * grey + pixels.offset``.
        raw : bool
            Leave the noise of encryption in the answers, which must then never be shown to others; see
            :meth:`Keys.decrypt`.
        progress : bool
            Show a progress bar (tqdm).

        Returns
        -------
        ndarray, shape [n, *output_shape] or output_shape

        Raises
        ------
        ShapeError, EncodingError
            The images have another shape, or hold numbers that cannot be encoded.
        ServiceError
            The service cannot be reached, or refuses for a reason of its own.
        """
        return self._ask(x, None, raw, progress)

    def features(self, x: ArrayLike, layer: int, *, raw: bool = False, progress: bool = False) -> NDArray[Any]:
        """The outputs of one layer of the model, for layers of the client's own: transfer learning.

        Parameters
        ----------
        layer : int
            The layer's index, as the service's description counts them.
        x, raw, progress
            As for :meth:`predict`.
        """
        return self._ask(x, layer, raw, progress)

    def conversation(self) -> tuple[Offer, ...]:
        """The parts of the interactive program that :meth:`converse` takes: as few as there are.

        Raises
        ------
        UnsupportedError
            The service offers none.
        """
        fitting = [offers for offers in self.description.conversations() if self._layout in (None, offers[0].layout)]
        if not fitting:
            raise UnsupportedError(f"the service offers no interactive program of {self.description.name}")
        return min(fitting, key=len)

    def converse(self, x: ArrayLike, *, progress: bool = False) -> NDArray[Any]:
        """Answers of a model that is too deep for one modulus. Interactive: a request for each part, and between two of
        them this client decrypts, squares and encrypts again, so that it sees values of inner layers.

        Parameters
        ----------
        x, progress
            As for :meth:`predict`.

        Returns
        -------
        ndarray, shape [n, *output_shape] or output_shape

        Raises
        ------
        UnsupportedError
            The service offers the model in no interactive program.
        FormatError
            Its parts do not fit together; or as :meth:`predict`.
        """
        offers = self.conversation()
        stages = InteractiveClient(tuple(self.keys(offer).client for offer in offers))
        keys = InteractiveKeys(tuple(self.keys(offer) for offer in offers))
        stages.check()
        single, images = self._images(x)
        step = min(offer.capacity * max(1, _PART_LIMIT // max(1, offer.bytes_up)) for offer in offers)
        answers = []
        with shown(len(images), progress) as tell:
            for start in range(0, len(images), step):
                batch = images[start : start + step]
                answers.append(keys.converse(batch, lambda stage, message: self.evaluate(message, offers[stage])))
                tell(start + len(batch))
        values = np.concatenate(answers)
        return values[0] if single else values

    def keys(self, offer: Offer | None = None) -> Keys:
        """The keys for a program, made if there are none yet: to be saved for the next time."""
        with self._lock:  # of several threads one makes them
            offer = self.offer() if offer is None else offer
            if offer.id not in self._keys:
                program = self.program(offer)
                start = time.perf_counter()
                self._keys[offer.id] = program.keygen()
                self.transfer.keygen += time.perf_counter() - start
            return self._keys[offer.id]

    def use(self, keys: Keys) -> None:
        """Take keys from earlier for their program: those of :meth:`Keys.load` with :meth:`program`."""
        self._keys[keys.client.program_id] = keys

    def forget(self) -> None:
        """Ask the service to delete this client's keys."""
        for program, identity in list(self._sent.items()):
            self._http.send("DELETE", f"/v1/keys/{identity}", _JSON_LIMIT)
            del self._sent[program]

    def close(self) -> None:
        """Forget the keys of this object; what the service has been sent stays there until it expires."""
        self._keys.clear()
        self._sent.clear()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client(model={self._model!r})"

    def _ask(self, x: ArrayLike, layer: int | None, raw: bool, progress: bool) -> NDArray[Any]:
        single, images = self._images(x)
        offer = self.offer(len(images), layer)
        keys = self.keys(offer)
        # As many runs in one request as keep it below some megabytes: an answer is lost or repeated as a whole.
        step = offer.capacity * max(1, _PART_LIMIT // max(1, offer.bytes_up))
        answers = []
        with shown(len(images), progress) as tell:
            for start in range(0, len(images), step):
                begun = time.perf_counter()
                question = keys.encrypt(images[start : start + step])
                self._took(begun)
                count = question.images
                answer = self.evaluate(question, offer, partial(_tell, tell, start, count))
                begun = time.perf_counter()
                answers.append(keys.decrypt_raw(answer) if raw else keys.decrypt(answer))
                self._took(begun)
                tell(start + count)
        values = np.concatenate(answers)
        return values[0] if single else values

    def _images(self, x: ArrayLike) -> tuple[bool, NDArray[np.float64]]:
        """Whether it is one image, and images ``[n, *input_shape]``."""
        shape = self.description.input_shape
        values = np.asarray(x)
        single = values.shape == shape
        return single, checked_images(values[None] if single else x, shape)

    def _took(self, begun: float) -> None:
        with self._lock:
            self.transfer.client += time.perf_counter() - begun

    def evaluate(
        self,
        question: EncryptedImages,
        offer: Offer | None = None,
        progress: Callable[[float], None] = lambda part: None,
    ) -> Answer:
        """The encrypted answer to encrypted images, for whoever encrypts and decrypts elsewhere.

        Parameters
        ----------
        question : EncryptedImages
            Under the keys of :meth:`keys`, secret or public.
        offer : Offer, optional
            The program that they are for: that of :meth:`offer` where it is not given.
        progress : callable
            Is told from time to time which part of the work, from 0 to 1, is done, where that takes long. It may raise,
            which cancels the work.

        Raises
        ------
        ServiceError
            The service cannot be reached, or refuses for a reason of its own.
        FormatError
            It answered something else.
        """
        offer = self.offer(question.images) if offer is None else offer
        begun = time.perf_counter()
        body = question.to_bytes()
        self._took(begun)
        limit = len(question.parts) * (2 * offer.bytes_down + _SLACK)
        reply = self._post(body, len(question.parts), offer, limit, progress)
        begun = time.perf_counter()
        answer = Answer.from_bytes(reply)
        if answer.images != question.images:
            raise FormatError(f"the service answered {answer.images} images where {question.images} were sent")
        self._took(begun)
        return answer

    def _post(self, body: bytes, runs: int, offer: Offer, limit: int, progress: Callable[[float], None]) -> bytes:
        name = urllib.parse.quote(self.description.name, safe="")
        path = f"/v1/models/{name}/predict?"
        if runs * offer.seconds > self._jobs_from:
            path = f"/v1/jobs?model={name}&"
        keys = self.keys(offer)
        key = secrets.token_hex(16)

        def post() -> dict[str, Any]:
            identity = self._send_keys(offer, keys)
            query = f"program={offer.id}&keys={identity}"
            try:
                return self._http.send("POST", path + query, limit, [body], idempotency_key=key)
            except PyCrCNNError:
                raise
            except BaseException:  # Ctrl-C: the service is not left computing what nobody reads
                self._cancel(identity, key)
                raise

        try:
            reply = post()
        except ServiceError as error:
            if error.status != 404 or offer.id not in self._sent:
                raise
            # The service no longer has the keys: they have expired. They are sent again, once.
            with self._lock:
                self._sent.pop(offer.id, None)
            reply = post()
        seconds, retried = reply["seconds"], reply["retried"]
        if reply["status"] == 202:
            begun = time.perf_counter()
            reply = RemoteJob(self._http, reply["location"], _OUT_OF_REACH).wait(limit, progress)
            seconds += time.perf_counter() - begun
        with self._lock:
            self.transfer.bytes_up += len(body)
            self.transfer.bytes_down += len(reply["body"])
            self.transfer.request += seconds
            self.transfer.retried += retried
            self.transfer.add_server(reply["server_timing"])
        return bytes(reply["body"])

    def _cancel(self, identity: str, idempotency_key: str) -> None:
        """Ask the service to stop what a request under a key set began, if it can be reached."""
        with contextlib.suppress(PyCrCNNError):
            self._http.send("DELETE", f"/v1/jobs?keys={identity}", _JSON_LIMIT, idempotency_key=idempotency_key)

    def program(self, offer: Offer | None = None) -> ClientProgram:
        """The client's part of a program, checked against what was offered.

        Raises
        ------
        KeyMismatchError, FormatError
            The service sent something else.
        ParameterError
            The parameters are below 128 bits of security.
        """
        offer = self.offer() if offer is None else offer
        data = self._get(f"/v1/programs/{offer.id}/client", _PART_LIMIT)
        program = ClientProgram.from_bytes(data, self._threads)
        if program.program_id != offer.id or program.layout != offer.layout or program.capacity != offer.capacity:
            raise KeyMismatchError("the service sent the client's part of another program than it offers")
        if offer.stage == 0 and program.input_shape != self.description.input_shape:
            raise FormatError(
                f"the service sent a program for images {list(program.input_shape)} where it describes "
                f"{list(self.description.input_shape)}"
            )
        check_security(program)
        return program

    def _send_keys(self, offer: Offer, keys: Keys) -> str:
        """Give the service the key set, once; the identity under which it is kept."""
        with self._lock:  # of several threads one sends it
            if offer.id not in self._sent:
                parts, digest = keys.evaluation.parts(), hashlib.blake2b(digest_size=32)
                for part in parts:
                    digest.update(part)
                identity = digest.hexdigest()
                try:
                    self._get(f"/v1/keys/{identity}", _JSON_LIMIT)
                except ServiceError as error:
                    if error.status != 404:
                        raise
                    reply = self._http.send("PUT", "/v1/keys", _JSON_LIMIT, parts)
                    if read_json(reply["body"]).get("id") != identity:
                        raise FormatError("the service keeps the keys under another identity than their hash") from None
                    self.transfer.key_bytes += sum(map(len, parts))
                self._sent[offer.id] = identity
            return self._sent[offer.id]

    def _get(self, path: str, limit: int) -> bytes:
        return bytes(self._http.send("GET", path, limit)["body"])


def _tell(tell: Callable[[float], None], start: int, count: int, part: float) -> None:
    """Of `count` images from number `start` on a part is done."""
    tell(start + part * count)
