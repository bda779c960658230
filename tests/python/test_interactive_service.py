"""Networks in parts over the wire: the server evaluates, the client refreshes between two requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import pycrcnn
from pycrcnn.cli import main
from pycrcnn.errors import FormatError, UnsupportedError
from pycrcnn.program import InteractiveProgram
from pycrcnn.server import publish
from pycrcnn.server.plane.published import read_published
from pycrcnn.service.description import Description
from service import service
from serving import Served
from test_interactive import IMAGES, deep

LAST = 5


@pytest.fixture(scope="module")
def program() -> InteractiveProgram:
    return pycrcnn.compile_interactive(deep(2), (1, 6, 6), layout="packed", calibration=IMAGES, cuts=[1, 2])


@pytest.fixture(scope="module")
def models(program: InteractiveProgram, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    publish(directory, "deep", [(program, LAST)])
    return directory


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served("--models", str(models), "--state", str(tmp_path_factory.mktemp("state"))) as process:
        yield process


def test_answers_over_the_wire_are_the_clear_ones(served: Served, program: InteractiveProgram) -> None:
    with pycrcnn.Client(served.url, model="deep") as client:
        offers = client.conversation()
        assert [(offer.modality, offer.stage, offer.stages) for offer in offers] == [
            ("interactive", stage, 3) for stage in range(3)
        ]
        clear, bound = program.predict(IMAGES), offers[-1].error
        assert bound == pytest.approx(program.flooded_error())
        assert bound < 0.2 * np.abs(clear).max()
        assert np.abs(client.converse(IMAGES) - clear).max() <= bound
        assert np.abs(client.converse(IMAGES[0]) - clear[0]).max() <= bound
        # It is never taken for an ordinary prediction.
        with pytest.raises(UnsupportedError, match=r"Client\.converse"):
            client.predict(IMAGES)
        with pytest.raises(UnsupportedError, match="no such program"):
            client.features(IMAGES, LAST)
        with pytest.raises(UnsupportedError, match="no interactive program"):
            pycrcnn.Client(served.url, layout="batched").conversation()


def test_a_part_is_asked_for_by_its_identity_only(served: Served) -> None:
    query = {"layers": f"0,{LAST}", "keys": "0" * 64}
    response = served.http.post(
        "/v1/models/deep/predict", params=query, content=b"", headers={"content-type": "application/octet-stream"}
    )
    assert response.status_code in (404, 422), response.text
    assert "no such program" in response.text or "no key set" in response.text


def test_the_commands_do_the_same(
    served: Served, program: InteractiveProgram, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images.npy"
    np.save(images, IMAGES)
    command = ["predict", "--url", served.url, "--interactive", "--keys", str(tmp_path / "keys"), str(images)]
    for _ in range(2):  # the second time with the keys of the first
        assert main(command) == 0
    assert len(list((tmp_path / "keys").iterdir())) == 3
    values = [float(line.split("[")[2].split()[0].rstrip("]")) for line in capsys.readouterr().out.splitlines()[:1]]
    assert values[0] == pytest.approx(program.predict(IMAGES)[0, 0], abs=program.flooded_error())


def test_what_is_not_whole_is_not_served(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "deep", tmp_path / "deep")
    document = json.loads((models / "deep" / "model.json").read_text())
    entry, shelved = read_published(tmp_path / "deep", 1.0)
    assert (entry.input_shape, entry.output_shape, len(shelved)) == ((1, 6, 6), (8,), 3)
    for listed in (document["programs"][:2], document["programs"][::-1]):
        (tmp_path / "deep" / "model.json").write_text(json.dumps({**document, "programs": listed}))
        with pytest.raises(FormatError, match="not all are there"):
            read_published(tmp_path / "deep", 1.0)
    first = document["programs"][0]
    swapped = [first, {**document["programs"][1], "file": first["file"]}, document["programs"][2]]
    (tmp_path / "deep" / "model.json").write_text(json.dumps({**document, "programs": swapped}))
    with pytest.raises(FormatError, match="does not take"):
        read_published(tmp_path / "deep", 1.0)


def test_where_one_part_has_no_room_in_memory_none_is_offered(tmp_path: Path) -> None:
    models = tmp_path / "models"
    uneven = pycrcnn.compile_interactive(deep(2), (1, 6, 6), layout="packed", calibration=IMAGES, cuts=[2])
    publish(models, "deep", [(uneven, LAST)])
    needed = sorted(shelved.memory for shelved in read_published(models / "deep", 1.0)[1])
    assert needed[0] < needed[1]
    for limit, offered in ((needed[1], 2), (needed[0], 0)):
        with service(models, tmp_path / str(limit), memory_bytes=limit) as http:
            assert len(http.get("/v1/models/deep").json()["programs"]) == offered


def test_a_service_that_offers_parts_wrongly_is_refused(served: Served) -> None:
    document = served.http.get("/v1/models/deep").json()
    found = Description.from_json(json.dumps({**document, "programs": document["programs"][:2]}).encode())
    with pytest.raises(FormatError, match="parts are missing"):
        list(found.conversations())
    for change in ({"stage": 3}, {"modality": "recall"}, {"stages": 1, "stage": 0}):
        programs = [{**document["programs"][0], **change}, *document["programs"][1:]]
        with pytest.raises(FormatError, match="a program that is none"):
            Description.from_json(json.dumps({**document, "programs": programs}).encode())


def test_publishing_from_the_command_line(tmp_path: Path) -> None:
    assert main(["publish", "mnist-cryptonets", "--models", str(tmp_path), "--layouts", "packed", "--interactive"]) == 0
    entry, _ = read_published(tmp_path / "mnist-cryptonets", 1.0)
    # It fits as it is: one part, which is no conversation.
    assert [(program.modality, program.stages) for program in entry.programs] == [("recall", 1)]
