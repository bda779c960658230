"""The paper's experiments on reduced sizes, resumed, never repeated; the simulator against truly encrypted images."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clear_network import evaluate as evaluated_by_numpy
from pycrcnn import cli, datasets, models, train
from pycrcnn.errors import FormatError
from pycrcnn.experiments import EXPERIMENTS, clear, page, theta, trained
from pycrcnn.experiments.results import Results, Value
from pycrcnn.experiments.running import CIRCUMSTANCES, Options, Task, complete


def experiment(name: str, out: Path) -> list[dict[str, str]]:
    """Run it on reduced sizes, by the command; the rows of its first table."""
    assert cli.main(["experiment", name, "--quick", "--out", str(out), "--threads", "2"]) == 0
    return rows(sorted(out.glob(f"{name}*.csv"))[0])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_page(out: Path, name: str, *figures: str) -> str:
    text = (out / f"{name}.md").read_text()
    assert f"`pycrcnn experiment {name} --quick" in text
    assert "cores, " in text  # the machine
    for figure in figures:
        data = (out / f"{figure}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert 5_000 < len(data) < 80_000
        assert f"({figure}.png)" in text
    return text


# The results


def table(path: Path) -> Results:
    return Results(path, ("network", "p"), ("accuracy", "fits"))


def test_rows_come_back_as_they_were(tmp_path):
    written: list[dict[str, Value]] = [
        {"network": "5-layer, plain", "p": None, "accuracy": 0.1 + 0.2, "fits": None},
        {"network": "5-layer", "p": 32, "accuracy": float("inf"), "fits": False},
    ]
    results = table(tmp_path / "new" / "a.csv")
    for row in written:
        assert row not in results
        results.append(row)
    read = table(tmp_path / "new" / "a.csv")
    assert read.rows == results.rows == written
    assert {"network": "5-layer", "p": 32} in read
    assert {"network": "5-layer", "p": 33} not in read
    assert read.where(fits=False) == written[1:]


def test_no_row_is_written_twice_or_in_part(tmp_path):
    results = table(tmp_path / "a.csv")
    row: dict[str, Value] = {"network": "a", "p": 1, "accuracy": 0.5, "fits": True}
    results.append(row)
    with pytest.raises(ValueError, match="already"):
        results.append(row)
    with pytest.raises(ValueError, match="has the columns"):
        results.append({"network": "b", "p": 1})
    assert table(tmp_path / "a.csv").rows == [row]


def test_a_row_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / "a.csv"
    table(path).append({"network": "a", "p": 1, "accuracy": 0.5, "fits": True})
    whole = path.read_text()
    for cut in ("b", "b,2,0.", "b,2,0.5,Tru"):
        path.write_text(whole + cut)
        assert [row["network"] for row in table(path).rows] == ["a"]
        assert path.read_text() == whole
    path.write_text(whole[:7])
    results = table(path)
    assert results.rows == []
    results.append({"network": "a", "p": 1, "accuracy": 0.5, "fits": True})
    assert path.read_text() == whole


def test_other_tables_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("network,p,accuracy\na,1,0.5\n")
    with pytest.raises(FormatError, match=r"a\.csv: the columns are those of another version; move the file away"):
        table(path)
    path.write_text("network,p,accuracy,fits\na,1,0.5\n")
    with pytest.raises(FormatError, match="line 2: 3 cells in place of 4"):
        table(path)


def test_what_is_there_is_not_computed_again(tmp_path, capsys):
    calls: list[int] = []

    def work(p: int) -> dict[str, Value]:
        if p == 3 and 3 not in calls:
            calls.append(3)
            raise KeyboardInterrupt
        calls.append(p)
        return {"accuracy": p / 10}

    def attempt() -> Results:
        results = Results(tmp_path / "a.csv", ["p"], ["accuracy", *CIRCUMSTANCES])
        tasks = [Task({"p": p}, 60, lambda p=p: work(p)) for p in (1, 2, 3, 4)]
        complete("trial", results, tasks, Options(tmp_path, threads=1))
        return results

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert "trial: 4 of 4 results to compute, about 4 minutes on two cores" in capsys.readouterr().out
    results = attempt()
    assert "trial: 2 of 4 results to compute, about 2 minutes on two cores" in capsys.readouterr().out
    assert calls == [1, 2, 3, 3, 4]
    assert [row["accuracy"] for row in results.rows] == [0.1, 0.2, 0.3, 0.4]
    assert all(row["threads"] == 1 and "cores" in str(row["machine"]) for row in results.rows)
    attempt()
    assert "all 4 results are in" in capsys.readouterr().out


def test_tables_in_markdown():
    assert page.table(["a", "b"], [["1", "2"], ["3", "4"]]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1 | 2 |",
        "| 3 | 4 |",
    ]


# Networks in clear and encoded


@pytest.mark.parametrize("name", ["fashion-5layer-plain", "fashion-6layer-plain", "fashion-5layer"])
def test_plain_networks_are_evaluated(name):
    model = models.load(name)
    images = model.normalise(datasets.load("fashion-mnist", "test")[0][:40])
    np.testing.assert_allclose(
        clear.evaluate(model.layers, images), evaluated_by_numpy(model.layers, images), rtol=1e-9, atol=1e-9
    )


def small(model: models.Model, rows: int = 12) -> models.Model:
    """A network of the same layers for the middle of an image, so that it is quick to encrypt."""
    rng = np.random.default_rng(1)

    def short(*shape: int) -> Any:
        return rng.integers(-16, 17, shape) / 16

    conv, *_ = model.layers
    layers: list[Any] = [
        {**conv, "weight": short(2, 1, 3, 3), "bias": short(2)},
        {"type": "square"},
        {"type": "avg_pool2d", "kernel": (2, 2), "stride": (2, 2)},
        {"type": "flatten"},
        {"type": "linear", "weight": short(3, 8), "bias": short(3)},
    ]
    return replace(model, layers=tuple(layers), input_shape=(1, rows, rows))


@pytest.mark.parametrize(
    ("m", "p", "right"), [(2048, 32, False), (2048, 712, False), (4096, 2_100_000, True), (4096, 150_000_000, True)]
)
def test_the_simulator_gives_the_digits_of_truly_encrypted_images(m, p, right):
    model = small(models.load("fashion-5layer"))
    images = model.normalise(datasets.load("fashion-mnist", "test")[0][:2, 8:20, 8:20])
    encoded = theta.Encoded(model, theta.Theta(m, p))
    decrypted, budget = encoded.encrypted(images)
    assert budget > 0
    simulated = encoded.simulated(images)
    assert decrypted is not None
    np.testing.assert_array_equal(decrypted, simulated)
    assert theta.equal(decrypted, simulated)
    exact = clear.evaluate(model.layers, images)
    assert (np.abs(simulated - exact).max() < 1e-4) == right


def test_a_noise_budget_that_is_used_up_gives_no_answer():
    model = small(models.load("fashion-5layer"))
    images = model.normalise(np.full((1, 12, 12), 100))
    decrypted, budget = theta.Encoded(model, theta.Theta(1024, 130_000)).encrypted(images)
    assert (decrypted, budget) == (None, 0)
    assert not theta.equal(decrypted, np.zeros(3))


def test_networks_of_other_seeds_are_trained_side_by_side(tmp_path):
    networks = trained.TrainedNetworks(tmp_path, 3, 2, epochs=1, images=500)
    assert networks.seconds("6-layer", 1) == 0 < networks.seconds("5-layer", 3) < networks.seconds("6-layer", 3)
    (tmp_path / "2024").mkdir()
    kept = tmp_path / "2024" / "fashion-6layer.safetensors"
    models.save(models.load("fashion-6layer"), kept)  # an earlier run's
    first, second = (networks.load("5-layer", training, "approximated") for training in (2, 3))
    assert [model.training["seed"] for model in (first, second)] == [2024, 2025]
    assert not np.array_equal(first.layers[0]["weight"], second.layers[0]["weight"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        made = train.run("fashion-5layer", 2024, epochs=1, images=500).model
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(first.layers[0]["weight"], made.layers[0]["weight"])
    assert networks.load("6-layer", 3, "plain").training["seed"] == 2025
    assert networks.load("6-layer", 2, "approximated").training == models.load("fashion-6layer").training
    assert all(networks.seconds(*which) == 0 for which in (("5-layer", 2), ("6-layer", 2), ("6-layer", 3)))


# The experiments


def test_figure_3(tmp_path):
    found = experiment("figure3", tmp_path)
    assert len(found) == 2 * (2 + 2)
    for network in ("5-layer", "6-layer"):
        plain, approximated, *encoded = [float(row["accuracy"]) for row in found if row["network"] == network]
        assert plain > 0.75
        assert approximated > 0.75
        assert encoded[0] < 0.3  # the smallest set falls to chance
        assert encoded[-1] == approximated  # the largest is the approximated network
    checked = [row for row in found if row["kind"] == "encoded"]
    assert all(row["encrypted_equal_simulated"] == "True" and int(row["budget_bits"]) > 0 for row in checked)
    text = check_page(tmp_path, "figure3", "figure3")
    assert "in 4 of 4 cases every decrypted digit is the simulator's" in text


def test_figure_4(tmp_path):
    plain, approximated, *encoded = experiment("figure4", tmp_path)
    for classifier in ("svm", "fully_connected"):
        assert float(plain[classifier]) > 0.6
        assert float(approximated[classifier]) > 0.6
        assert float(encoded[0][classifier]) < float(approximated[classifier]) - 0.1
        assert encoded[-1][classifier] == approximated[classifier]
    assert all(row["encrypted_equal_simulated"] == "True" for row in encoded)
    check_page(tmp_path, "figure4", "figure4")


def test_table_1(tmp_path):
    found = experiment("table1", tmp_path)
    assert [row["layout"] for row in found] == ["layers", "fused", "packed", "batched"]
    assert [row["answer"] for row in found] == ["digits outgrow p", "right", "right", "right"]
    for row in found:
        parts = [float(row[column]) for column in ("client_s", "transfer_s", "server_s")]
        assert min(parts) > 0
        assert float(row["total_s"]) == pytest.approx(sum(parts))
        assert float(row["transfer_s"]) == pytest.approx(8 * (int(row["bytes_up"]) + int(row["bytes_down"])) / 72.2e6)
        assert float(row["rest_s"]) > 0
        assert row["threads"] == "1"
    sizes = [int(row["bytes_up"]) / int(row["images"]) for row in found]
    assert sizes[1] > 1000 * sizes[2] > 1000 * sizes[3]
    check_page(tmp_path, "table1", "table1")


def test_all_images(tmp_path):
    found = experiment("all-images", tmp_path)
    assert [(row["network"], row["images"]) for row in found] == [("fashion-5layer", "300"), ("fashion-6layer", "300")]
    for row in found:
        assert int(row["same_class"]) >= 299
        assert int(row["correct"]) == pytest.approx(int(row["correct_clear"]), abs=1)
        assert 0 < float(row["largest_error"]) < 0.1
    text = check_page(tmp_path, "all-images", "all-images")
    assert f"{int(found[0]['correct']) / 300:.2%}" in text


def test_exploration(tmp_path):
    bfv = experiment("exploration", tmp_path)
    assert [(row["m"], row["p"]) for row in bfv] == [(m, p) for m in ("1024", "2048") for p in ("32", "150000000")]
    budgets = {(row["m"], row["p"]): int(row["left_bits"]) for row in bfv}
    assert budgets["2048", "32"] > budgets["1024", "32"]
    assert budgets["2048", "32"] > budgets["2048", "150000000"]
    errors = [float(row["largest_error"]) for row in bfv[2:]]
    assert errors[0] > 1 > 1e-4 > errors[1]
    assert float(bfv[2]["bytes_up"]) > 1.5 * float(bfv[0]["bytes_up"])
    coarse, fine = (row for row in rows(tmp_path / "exploration-ckks.csv") if row["layout"] == "batched")
    assert float(coarse["largest_error"]) > 50 * float(fine["largest_error"]) > 0
    assert float(coarse["scale_bits"]) < float(fine["scale_bits"])
    check_page(tmp_path, "exploration", "exploration-bfv", "exploration-ckks")


def test_an_interrupted_experiment_goes_on(tmp_path, capsys):
    experiment("all-images", tmp_path)
    path = tmp_path / "all-images.csv"
    whole = path.read_text()
    first = whole[: whole.index("\n", whole.index("\n") + 1) + 1]
    path.write_text(first + whole[len(first) : -5])
    capsys.readouterr()
    experiment("all-images", tmp_path)
    assert "1 of 2 results to compute" in capsys.readouterr().out
    assert path.read_text().startswith(first)
    experiment("all-images", tmp_path)
    assert "all 2 results are in" in capsys.readouterr().out


def test_unknown_experiments_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["experiment", "figure5"])
    message = capsys.readouterr().err
    assert all(name in message for name in EXPERIMENTS)
