"""``pycrcnn bench`` writes the fields that its readers count on, and they fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pycrcnn import _native, cli, models
from pycrcnn.bench import measuring

COMMON = {
    "name",
    "network",
    "layout",
    "scheme",
    "parameters",
    "security_bits",
    "threads",
    "backend",
    "machine",
    "images",
    "images_per_s",
    "bytes_up",
    "bytes_down",
    "bytes_keys",
    "peak_rss_mb",
    "max_error",
}
TIMES = ("keygen_s", "encrypt_s", "evaluate_s", "decrypt_s")


def bench(tmp_path: Path, *arguments: str) -> Any:
    file = tmp_path / "bench.json"
    assert cli.main(["bench", *arguments, "--json", str(file)]) == 0
    return json.loads(file.read_text())


def check_times(result: dict[str, Any], *names: str) -> None:
    for name in names:
        assert 0 < result[f"{name}_min"] <= result[name] <= result[f"{name}_max"], name


def check_common(result: dict[str, Any]) -> None:
    assert set(result) >= COMMON
    check_times(result, *TIMES)
    assert (result["threads"], result["backend"]) == (1, _native.backend())
    assert result["images_per_s"] == pytest.approx(result["images"] / result["evaluate_s"])
    assert result["peak_rss_mb"] > 0
    assert result["bytes_up"] > result["bytes_down"] > 0
    assert 0 < result["bytes_keys"] < 100_000  # squares stay as they are: the public key alone is sent


def test_per_value(tmp_path, capsys):
    result = bench(tmp_path, "per-value", "--repeats", "1")
    check_common(result)
    check_times(result, "evaluate_layers_s")
    assert (result["name"], result["network"], result["layout"], result["images"]) == (
        "per-value",
        "5layer",
        "per-value",
        1,
    )
    assert result["parameters"] == {
        "m": 4096,
        "p": 100000007,
        "q_bits": 109,
        "base": 2,
        "integer_digits": 64,
        "fraction_digits": 32,
    }
    # What PyCrCNN gave with the same network and parameters, on SEAL 2.3.1.
    assert result["max_error"] <= 0.0043
    assert result["bytes_up"] <= 45e6
    upstream = {"fresh": 71, "0 conv2d": 68, "1 square": 29, "2 avg_pool2d": 23, "4 linear": 15, "5 linear": 9}
    assert list(result["budget_bits"]) == list(upstream)
    assert all(bits >= upstream[layer] for layer, bits in result["budget_bits"].items())
    assert len(result["steps"]) < len(upstream) - 1  # layers were joined
    assert result["classes"] == {"true": 9, "clear": 9, "encrypted": 9}
    assert f"{result['bytes_up']}" in capsys.readouterr().out


def test_batched(tmp_path):
    result = bench(tmp_path, "batched", "--repeats", "2")
    check_common(result)
    assert (result["name"], result["network"], result["layout"], result["scheme"]) == (
        "batched",
        "5layer",
        "batched",
        "CKKS",
    )
    count = result["images"]
    assert count == result["parameters"]["n"] // 2
    assert sum(result["parameters"]["primes"]) >= result["parameters"]["q_bits"]
    client = [1e3 * (result[f"encrypt_s{end}"] + result[f"decrypt_s{end}"]) / count for end in ("_min", "_max")]
    assert client[0] <= result["client_ms_per_image"] <= client[1]
    model = models.load("fashion-5layer")
    for accuracy in (result["accuracy"], result["accuracy_clear"]):
        assert accuracy * count == pytest.approx(round(accuracy * count))
        assert accuracy == pytest.approx(model.accuracy, abs=0.03)
    assert result["agreement"] >= 0.995
    assert abs(result["accuracy"] - result["accuracy_clear"]) <= 1 - result["agreement"] + 1e-9


def test_agreement(tmp_path):
    rows = bench(tmp_path, "agreement", "--images", "8")
    assert [row["layout"] for row in rows] == ["packed", "batched", "per-value"]
    for row in rows:
        assert set(row) >= {"name", "network", "scheme", "parameters", "security_bits", "accuracy", "accuracy_clear"}
        assert (row["agreement"], row["agreement_images"]) == (1, 8)
        assert 0 < row["rms_error"] < row["max_error"] <= row["predicted_error"] < row["largest_logit"]
    assert rows[2]["encrypted_equal_simulated"]
    (row,) = bench(tmp_path, "agreement", "--images", "1", "--network", "cifar", "--layout", "per-value")
    assert "outgrown the plaintext modulus" in row["does_not_fit"]


def test_kernels(tmp_path):
    rows = bench(tmp_path, "kernels")
    for row in rows:
        assert set(row) >= {"kernel", "n", "primes", "ours_us", "threads", "backend", "machine"}
        check_times(row, "ours_us")
        if "seal_us" in row:
            check_times(row, "seal_us")
            assert row["ratio"] == pytest.approx(row["seal_us"] / row["ours_us"])
        if "gmac_per_s" in row:
            assert row["gmac_per_s"] > 0
    timed = {row["kernel"] for row in rows if "seal_us" in row}
    assert timed >= {
        "ntt_forward",
        "ntt_inverse",
        "bfv_square",
        "bfv_relinearize",
        "ckks_square",
        "ckks_relinearize",
        "ckks_rescale",
        "affine_dense",
        "affine_convolution",
    }
    assert {row["n"] for row in rows if row["kernel"] == "ntt_forward"} >= {4096, 8192, 16384}


def test_medians():
    assert measuring.summary("x", [3.0, 1.0, 2.0]) == {"x": 2.0, "x_min": 1.0, "x_max": 3.0}
    seconds, result = measuring.timed(3, lambda: "last")
    assert (len(seconds), result) == (3, "last")


@pytest.mark.parametrize("name", ["5layer", "6layer", "cryptonets"])
def test_networks(name):
    assert measuring.network(name).accuracy > 0.8


def test_bad_arguments(capsys):
    assert cli.main(["bench", "batched", "--repeats", "0"]) == 2
    assert cli.main(["bench", "agreement", "--images", "0"]) == 2
    assert cli.main(["bench", "batched", "--network", "resnet"]) == 1
    assert "choose one of 5layer, 6layer, cryptonets" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", "everything"])


def test_service(tmp_path, monkeypatch):
    monkeypatch.setattr("pycrcnn.bench.service._SECONDS", 0.3)
    monkeypatch.setattr("pycrcnn.bench.service._ROUNDS", 1)
    single, sustained, device, messages = bench(tmp_path, "service", "--network", "6layer", "--repeats", "1")
    check_times(single, "in_process_s", "binary_s", "json_s")
    assert single["bytes_up"] > 1000
    assert single["round_trip_at_72.2_Mb_s"] > single["transfer_at_72.2_Mb_s"] > 0
    check_times(sustained, "served_per_s", "share")
    assert sustained["p99_s"] >= sustained["p50_s"] > 0
    # A client imports neither the server nor PyTorch, and holds no copy of its keys.
    assert 20 < device["peak_rss_mb"] < 120
    check_times(messages, "parse_s", "write_s")
    assert messages["bytes_up"] > 20_000_000
