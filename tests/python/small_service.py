"""A service of one model in the test's own process, on a socket, that can be told to misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pycrcnn.program import EncryptedImages, EvaluationKeys, Program

__all__ = ["SmallService"]

#: Takes a handler and its request's path; says whether it has answered, and so whether the service must not.
Fault = Callable[["_Handler"], bool]


class SmallService:
    """Serves programs, each as one modality of one model; `faults` are asked in turn, each once, before it answers."""

    def __init__(self, *programs: Program, layer: int | None = None, api_key: str | None = None) -> None:
        self.programs = {program.program_id: program for program in programs}
        self.layer = layer
        self.api_key = api_key
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        self.keys: dict[str, EvaluationKeys] = {}
        self.answered: dict[str, bytes] = {}
        self.computed = 0
        self.change: Callable[[str, bytes], bytes] = lambda path, body: body
        handler = type("Handler", (_Handler,), {"service": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def description(self) -> dict[str, Any]:
        first = next(iter(self.programs.values()))
        return {
            "name": "small",
            "description": "a small network",
            "input_shape": first.client.input_shape,
            "output_shape": first.client.output_shape,
            "classes": ["a", "b", "c"],
            "pixels": {"scale": 1 / 256, "offset": 0.0},
            "layers": [{"index": 0, "kind": "conv2d", "output_shape": [2, 2, 2]}],
            "programs": [
                {
                    "id": identity,
                    "layout": program.layout,
                    "modality": "recall" if self.layer is None else "features",
                    "first_layer": 0,
                    "last_layer": 4 if self.layer is None else self.layer,
                    "capacity": program.capacity,
                    "bytes_up": program.explain().bytes_up,
                    "bytes_down": program.explain().bytes_down,
                    "key_bytes": program.explain().key_bytes,
                    "seconds": program.explain().seconds,
                    "error": program.flooded_error(),
                }
                for identity, program in self.programs.items()
            ],
        }

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self) -> SmallService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    service: SmallService
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, kind: str = "application/octet-stream", **headers: str) -> None:
        body = self.service.change(urlsplit(self.path).path, body) if status < 300 else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def problem(self, status: int, code: str, detail: str = "no", **headers: str) -> None:
        body = json.dumps({"title": "No", "status": status, "code": code, "detail": detail}).encode()
        self.answer(body, status, "application/problem+json", **headers)

    def json(self, value: Any, status: int = 200) -> None:
        self.answer(json.dumps(value).encode(), status, "application/json")

    def do_GET(self) -> None:
        self._handle("GET")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        service = self.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        service.requests.append((method, path))
        service.bodies.append(body)
        if service.faults and service.faults.pop(0)(self):
            return
        if service.api_key and self.headers.get("Authorization") != f"Bearer {service.api_key}":
            self.problem(401, "unauthorized", "give an API key")
            return
        match [method, *path.strip("/").split("/")]:
            case ["GET", "v1", "models"]:
                self.json({"models": [{"name": "small"}]})
            case ["GET", "v1", "models", "small"]:
                self.json(service.description())
            case ["GET", "v1", "programs", identity, "client"] if identity in service.programs:
                self.answer(service.programs[identity].client.to_bytes())
            case ["PUT", "v1", "keys"]:
                identity = hashlib.blake2b(body, digest_size=32).hexdigest()
                service.keys[identity] = EvaluationKeys.from_bytes(body)
                self.json({"id": identity}, 201)
            case ["GET", "v1", "keys", identity] if identity in service.keys:
                self.json({"id": identity})
            case ["DELETE", "v1", "keys", identity] if service.keys.pop(identity, None):
                self.answer(b"", 204)
            case ["POST", "v1", "models", "small", "predict"]:
                self._predict(body)
            case _:
                self.problem(404, "not-found", f"there is no {path}")

    def _predict(self, body: bytes) -> None:
        service = self.service
        query = parse_qs(urlsplit(self.path).query)
        program, keys = service.programs[query["program"][0]], service.keys.get(query["keys"][0])
        once = self.headers["Idempotency-Key"]
        if keys is None:
            self.problem(404, "not-found", "there are no such keys")
            return
        if once not in service.answered:
            service.computed += 1
            answer = program.rerandomize(program.run(EncryptedImages.from_bytes(body), keys), keys)
            service.answered[once] = answer.to_bytes()
        self.answer(service.answered[once], Server_Timing="queue;dur=1, evaluate;dur=2.5")
