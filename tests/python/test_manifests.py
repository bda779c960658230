"""Manifests are as their schemas have them, hold no secret, and fit together.

Kubernetes' schemas and that of compose files are the published ones (kubernetes-validate, check-jsonschema), what Ray
Serve deploys is read by its own class; KubeRay's custom resource is checked by a schema of ours of the parts in use.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pycrcnn.server import Settings

PACKAGING = Path(__file__).parents[2] / "packaging"
KUBERNETES, CONTAINER = PACKAGING / "kubernetes", PACKAGING / "container"
COMPOSE = [CONTAINER / "compose.yaml", CONTAINER / "compose.ray.yaml"]
#: Of Kubernetes: the oldest and the newest that is looked at.
VERSIONS = ("1.30", "1.34")


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def rayservice() -> Any:
    [found] = documents(KUBERNETES / "rayservice.yaml")
    return found


def cluster() -> Any:
    return rayservice()["spec"]["rayClusterConfig"]


def pods() -> list[Any]:
    return [cluster()["headGroupSpec"]["template"], cluster()["workerGroupSpecs"][0]["template"]]


def containers() -> list[Any]:
    return [container for pod in pods() for container in pod["spec"]["containers"]]


# Schemas


def test_the_custom_resource() -> None:
    schema = json.loads((Path(__file__).parent / "rayservice.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(rayservice(), schema)
    broken = rayservice()
    broken["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    with pytest.raises(jsonschema.ValidationError, match="not of type 'string'"):
        jsonschema.validate(broken, schema)


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_and_what_stands_beside_them(version: str) -> None:
    others = [*documents(KUBERNETES / "storage.yaml"), *documents(KUBERNETES / "network.yaml")]
    assert len(others) == 4
    wrapped = [
        {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": {"metadata": {}, **pod}}
        for pod in pods()
    ]
    for document in (*others, *wrapped):
        kubernetes_validate.validate(document, version, strict=True)
    wrapped[0]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError, match="imagePullPolice"):
        kubernetes_validate.validate(wrapped[0], version, strict=True)


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files(path: Path) -> None:
    text = (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text()
    [document] = documents(path)
    jsonschema.validate(document, json.loads(text))
    document["services"]["other"] = {"imagine": "x"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(text))


def test_what_serve_deploys() -> None:
    config = rayservice()["spec"]["serveConfigV2"]
    # In a process of its own, as Ray's classes warn of themselves.
    code = (
        "import sys, yaml; from ray.serve.schema import ServeDeploySchema as S; c = yaml.safe_load(sys.stdin);"
        "assert set(c) <= set(S.model_fields), c; [a] = S(**c).applications;"
        "assert set(c['applications'][0]) <= set(type(a).model_fields), a; print(a.name, a.route_prefix)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=config, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "pycrcnn /\n", done.stderr
    [application] = yaml.safe_load(config)["applications"]
    assert Settings(**application["args"]).key_store is not None
    assert application["import_path"] == "pycrcnn.cluster.app:build"


# What they say


def test_a_pod_has_the_cores_that_its_replica_takes() -> None:
    config = yaml.safe_load(rayservice()["spec"]["serveConfigV2"])
    settings = Settings(**config["applications"][0]["args"])
    [group] = cluster()["workerGroupSpecs"]
    [worker] = group["template"]["spec"]["containers"]
    cores = settings.ray_threads * settings.ray_slots
    assert group["rayStartParams"]["num-cpus"] == worker["resources"]["limits"]["cpu"] == str(cores)
    assert cluster()["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"] == settings.ray_max_replicas
    memory = int(re.fullmatch(r"(\d+)Gi", worker["resources"]["limits"]["memory"]).group(1)) * 2**30  # type: ignore[union-attr]
    assert settings.prepared_bytes + settings.programs_bytes < memory
    [document] = documents(COMPOSE[1])
    node, http = document["services"]["node"], document["services"]["http"]
    cores = int(http["environment"]["PYCRCNN_RAY_THREADS"]) * int(http["environment"]["PYCRCNN_RAY_SLOTS"])
    assert node["deploy"]["resources"]["limits"]["cpus"] == str(cores)
    assert f"--num-cpus={cores}" in node["entrypoint"]
    for name in http["environment"]:
        assert not name.startswith("PYCRCNN_") or name.removeprefix("PYCRCNN_").lower() in Settings.model_fields, name


def test_limits_requests_and_probes() -> None:
    for container in containers():
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]  # a pod of guaranteed quality is evicted last
        assert set(container) >= {"readinessProbe", "livenessProbe"}
    for service in documents(COMPOSE[1])[0]["services"].values():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


def test_nothing_runs_as_root() -> None:
    for pod in pods():
        context = pod["spec"]["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 10001)
    for container in containers():
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    assert "--uid 10001" in dockerfile
    assert "USER pycrcnn" in dockerfile
    for path in COMPOSE:
        for service in documents(path)[0]["services"].values():
            assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
            assert service["security_opt"] == ["no-new-privileges:true"]


def images(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from [inner] if name == "image" else images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from images(inner)


def test_images_have_versions_and_they_are_ours() -> None:
    found = [image for path in (*KUBERNETES.glob("*.yaml"), *COMPOSE) for image in images(documents(path))]
    assert len(found) >= 5
    assert {image.rpartition(":")[2] for image in found} == {importlib.metadata.version("pycrcnn")}
    base = re.findall(r"^FROM (\S+)", (CONTAINER / "Dockerfile").read_text(), re.MULTILINE)
    assert all(":" in image and not image.endswith(":latest") for image in base)
    lowest = re.search(r"ray\[serve\]>=([\d.]+)", (PACKAGING.parent / "pyproject.toml").read_text())
    assert lowest is not None
    version = tuple(map(int, cluster()["rayVersion"].split(".")))
    assert tuple(map(int, lowest.group(1).split("."))) <= version


def test_no_secret_is_in_a_file() -> None:
    for path in KUBERNETES.glob("*.yaml"):
        for document in documents(path):
            assert document["kind"] not in ("Secret", "ConfigMap")
    for container in containers():
        for variable in container["env"]:
            assert "value" not in variable or not re.search("KEY|SECRET|TOKEN|PASSWORD", variable["name"])
        assert [source["secretRef"]["name"] for source in container["envFrom"]] == ["pycrcnn-object-store"]
    for path in COMPOSE:
        document = documents(path)[0]
        for service in document["services"].values():
            for name, value in service.get("environment", {}).items():
                if re.search("KEY|SECRET|TOKEN", name) and value is not None:
                    assert value.startswith(("${", "/run/secrets/")), name
        assert all(set(secret) == {"environment"} for secret in document.get("secrets", {}).values())


def test_a_cluster_is_reached_by_nobody_else() -> None:
    assert cluster()["authOptions"] == {"mode": "token"}
    policy = documents(KUBERNETES / "network.yaml")[0]["spec"]
    assert policy["podSelector"] == {"matchLabels": {"ray.io/is-ray-node": "yes"}}
    assert policy["policyTypes"] == ["Ingress"]
    unlimited = [rule for rule in policy["ingress"] if "ports" not in rule]
    assert unlimited == [{"from": [{"podSelector": policy["podSelector"]}]}]
    [document] = documents(COMPOSE[1])
    assert document["networks"]["cluster"] == {"internal": True}
    published = {name: service["ports"] for name, service in document["services"].items() if "ports" in service}
    assert published == {"http": ["127.0.0.1:8000:8080"]}
    for service in document["services"].values():
        assert service["environment"]["RAY_AUTH_MODE"] == "token"


def test_everything_that_is_mentioned_is_there() -> None:
    [kustomization] = documents(KUBERNETES / "kustomization.yaml")
    assert sorted(kustomization["resources"]) == sorted(
        path.name for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    claims = {document["metadata"]["name"] for document in documents(KUBERNETES / "storage.yaml")}
    for pod in pods():
        named = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        used = {
            claim["persistentVolumeClaim"]["claimName"] for claim in named.values() if "persistentVolumeClaim" in claim
        }
        assert used == claims
        assert {mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]} == set(named)
    for path in COMPOSE:
        for service in documents(path)[0]["services"].values():
            assert service["build"]["dockerfile"] == "packaging/container/Dockerfile"
    assert "COPY packaging/container/beside-ray.sh /usr/local/bin/" in (CONTAINER / "Dockerfile").read_text()
    assert documents(COMPOSE[1])[0]["services"]["http"]["entrypoint"][0] == "/usr/local/bin/beside-ray.sh"


# The script


def beside(tmp_path: Path, ray: str, *command: str) -> subprocess.Popen[str]:
    """The script with another ``ray`` in its path."""
    stub = tmp_path / "ray"
    stub.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{ray}\n')
    stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = [str(CONTAINER / "beside-ray.sh"), "head:6379", *command]
    return subprocess.Popen(script, env=environment, stdout=subprocess.PIPE, text=True)


def once(path: Path, then: str) -> str:
    """Shell commands that wait for a file."""
    return f"while [ ! -e {path} ]; do sleep 0.05; done; {then}"


def test_a_command_ends_with_its_node(tmp_path: Path) -> None:
    up = tmp_path / "up"
    command = f"trap 'echo told; exit 7' TERM; touch {up}; while :; do sleep 0.05; done"
    process = beside(tmp_path, once(up, "exit 1"), "sh", "-c", command)
    out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == ("told\n", 7)
    assert "--address=head:6379 --num-cpus=0" in (tmp_path / "arguments").read_text()


@pytest.mark.parametrize("when_told", ["exit 0", ""])
def test_a_node_ends_with_its_command(tmp_path: Path, when_told: str) -> None:
    """Also one that does not when it is told: a node without a head says goodbye for a minute."""
    up = tmp_path / "up"
    stub = f"trap '{when_told}' TERM; echo $$ > {up}.new; mv {up}.new {up}; while :; do sleep 0.05; done"
    process = beside(tmp_path, stub, "sh", "-c", once(up, "exit 3"))
    process.communicate(timeout=30)
    assert process.returncode == 3
    assert not Path(f"/proc/{up.read_text().strip()}").exists()


def test_a_supervisor_ends_both(tmp_path: Path) -> None:
    process = beside(tmp_path, "exec sleep 60", "sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()
