"""`pycrcnn predict` prints classes, and what travelled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pycrcnn import cli
from small_programs import COMPILE, IMAGES
from small_service import SmallService

PROGRAM = COMPILE["packed"]()


@pytest.fixture
def service() -> Iterator[SmallService]:
    with SmallService(PROGRAM) as service:
        yield service


def test_classes_and_what_travelled(
    service: SmallService, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 6, 6), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "inputs.npy", pixels[0] / 256)
    monkeypatch.setenv("PYCRCNN_API_KEY", "let-me-in")
    monkeypatch.setenv("PYCRCNN_PASSPHRASE", "some words")
    service.api_key = "let-me-in"
    files = [str(tmp_path / name) for name in ("pixels.npy", "inputs.npy")]
    command = ["predict", "--url", service.url, "--model", "small", *files, "--keys", str(tmp_path / "keys")]
    assert cli.main([*command, "--verbose"]) == 0
    out = capsys.readouterr().out
    # The service says how pixels enter the model.
    best = PROGRAM.predict(pixels[:, None] / 256).argmax(1)
    lines = out.splitlines()
    for line, expected in zip(lines, [best[0], best[1], best[0]], strict=False):
        assert re.search(rf"npy(\[\d\])?  {'abc'[expected]} \(", line), line
    assert "3 images in" in out
    assert re.search(r"bytes +[\d,]{7,} up, [\d,]{6,} down", out)
    assert re.search(r"server +0.00\d s: queue 0.001 s, evaluate 0.00[23] s", out)
    assert "at 72.2 Mb/s it would be" in out
    # The second time the keys are there, locked, and are not sent again.
    assert cli.main(command) == 0
    assert len(service.keys) == 1
    assert b"locked" in next((tmp_path / "keys").glob("*/secret.key")).read_bytes()
    monkeypatch.setenv("PYCRCNN_PASSPHRASE", "other words")
    assert cli.main(command) == 1
    assert "passphrase is not the one" in capsys.readouterr().err
    monkeypatch.delenv("PYCRCNN_PASSPHRASE")
    assert cli.main(command) == 1
    assert "is locked" in capsys.readouterr().err


def test_pictures(service: SmallService, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (6, 6), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("no picture")
    assert cli.main(["predict", "--url", service.url, str(tmp_path / "small.png")]) == 0
    expected = PROGRAM.predict(pixels[None, None] / 256).argmax()
    assert f"small.png  {'abc'[expected]} (" in capsys.readouterr().out
    for name, message in [("large.png", "9 x 7 pixels; the model takes 6 x 6"), ("text.png", "no picture")]:
        assert cli.main(["predict", "--url", service.url, str(tmp_path / name)]) == 1
        assert message in capsys.readouterr().err


def test_what_goes_wrong_is_said(service: SmallService, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "wrong.npy", IMAGES[:, :, :5])
    assert cli.main(["predict", "--url", service.url, str(tmp_path / "wrong.npy")]) == 1
    assert "an array of images [1, 6, 6] is needed" in capsys.readouterr().err
    np.save(tmp_path / "images.npy", IMAGES)
    assert cli.main(["predict", "--url", service.url, "--model", "large", str(tmp_path / "images.npy")]) == 1
    assert "there is no /v1/models/large" in capsys.readouterr().err
    assert cli.main(["predict", "--url", "nowhere", str(tmp_path / "images.npy")]) == 1
    assert "give the service's address" in capsys.readouterr().err
