"""As many replicas as requests need, on a cluster of two nodes of one core each."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from pycrcnn.cluster.local import LocalCluster
from service import BINARY, IMAGES, User, published
from test_cluster import eventually, figure, right, served


def test_a_second_replica_comes_when_requests_wait(tmp_path: Path) -> None:
    models = published(tmp_path / "models")
    with (
        LocalCluster(2) as cluster,
        served(cluster, models, tmp_path / "state", ready="/livez", RAY_MIN_REPLICAS="1") as service,
    ):
        eventually(lambda: figure(service, "replicas") == 1)
        user = User.of(service.http)
        right(user, user.predict())
        assert figure(service, "replicas") == 1
        body, scaled = user.encrypted(IMAGES[:1]).to_bytes(), threading.Event()

        def ask(_: int) -> int:
            asked = 0
            with httpx2.Client(base_url=service.url, timeout=120) as http:
                while not scaled.is_set():
                    response = http.post("/v1/models/small/predict", params=user.query, content=body, headers=BINARY)
                    assert response.status_code == 200, response.text
                    asked += 1
            return asked

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask, i) for i in range(4)]
            try:
                eventually(lambda: figure(service, "replicas") == 2)
            finally:
                scaled.set()
            assert all(one.result(120) for one in asking)
