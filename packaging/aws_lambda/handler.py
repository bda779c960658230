"""An AWS Lambda function behind API Gateway that hands requests to an endpoint, as in the paper.

This file is the whole function: it needs only what Lambda brings. Its handler is ``handler.handler``; set one of

- ``PYCRCNN_SAGEMAKER_ENDPOINT``: the name of a SageMaker endpoint, called through boto3;
- ``PYCRCNN_ENDPOINT_URL``: the URL of a service, such as ``https://example.org/compute``.

API Gateway takes 10 MB at most: larger payloads go by reference to the object store.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

__all__ = ["handler"]

_TIMEOUT = 29.0  # API Gateway gives up after that


def handler(event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
    """Answer one event of API Gateway (format 1.0 or 2.0).

    Parameters
    ----------
    event : mapping
        With ``body`` and ``isBase64Encoded``.
    context : object
        Of Lambda; not needed.

    Returns
    -------
    dict
        ``statusCode``, ``headers``, ``body``, ``isBase64Encoded``.
    """
    body = event.get("body") or ""
    try:
        data = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError:
        return _problem(400, "malformed", "the body is no base64")
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    if endpoint := os.environ.get("PYCRCNN_SAGEMAKER_ENDPOINT"):
        return _sagemaker(endpoint, data)
    if url := os.environ.get("PYCRCNN_ENDPOINT_URL"):
        return _url(url, data, headers)
    return _problem(500, "internal", "neither PYCRCNN_SAGEMAKER_ENDPOINT nor PYCRCNN_ENDPOINT_URL is set")


def _sagemaker(endpoint: str, data: bytes) -> dict[str, Any]:
    import boto3  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-not-found,import-untyped,unused-ignore]

    client = boto3.client("sagemaker-runtime")
    try:
        reply = client.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=data)
    except client.exceptions.ModelError as error:  # the container's own answer
        status, text = error.response.get("OriginalStatusCode", 500), error.response.get("OriginalMessage", "")
        return _answer(int(status), "application/problem+json", str(text).encode())
    except (BotoCoreError, ClientError):
        return _problem(503, "unavailable", "the endpoint does not answer")
    return _answer(200, reply["ContentType"], reply["Body"].read())


def _url(url: str, data: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    if not url.startswith(("https://", "http://")):
        return _problem(500, "internal", "PYCRCNN_ENDPOINT_URL is no http(s) URL")
    passed = {name: headers[name] for name in ("authorization", "content-type") if name in headers}
    request = urllib.request.Request(url, data, {"content-type": "application/json", **passed}, method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply:  # noqa: S310 - the scheme was checked
            return _answer(reply.status, reply.headers["content-type"], reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers["content-type"], error.read())
    except OSError:
        return _problem(503, "unavailable", "the endpoint does not answer")


def _answer(status: int, content_type: str | None, data: bytes) -> dict[str, Any]:
    headers = {"content-type": content_type or "application/json"}
    return {"statusCode": status, "headers": headers, "body": data.decode(), "isBase64Encoded": False}


def _problem(status: int, code: str, detail: str) -> dict[str, Any]:
    document = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    return _answer(status, "application/problem+json", json.dumps(document).encode())
