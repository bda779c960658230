"""The parameter tester: JSON in, JSON out.

``parameters.json`` holds ``{"encryption_parameters": [{"m", "p", "sec", "base", "rencrypt_positions"?}, ...],
"debug": "y"?, "layers": [..], "dataset": name, "model_path": path, "max_threads": n}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycrcnn.errors import FormatError
from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch
from pycrcnn.parameters_tester._setup import chosen_layers, dataset_images, load_model, pyfhel_from
from pycrcnn.parameters_tester.utils.utils import get_max_error, get_min_noise, run_both

__all__ = ["get_parameter", "param_test", "read_parameters", "test_net"]

#: The second is the name that older versions of PyCrCNN read.
_PARAMETERS = ("./parameters.json", "./encryption_parameters.json")
_RESULTS = "./results.json"


def read_parameters(path: str | Path | None = None) -> dict[str, Any]:
    """The tester's parameters, from ``parameters.json`` unless a path is given."""
    if path is None:
        path = next((name for name in _PARAMETERS if Path(name).exists()), _PARAMETERS[0])
    try:
        parameters: Any = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not JSON: {error}") from None
    cases = parameters.get("encryption_parameters") if isinstance(parameters, dict) else None
    if not isinstance(parameters, dict) or not isinstance(cases, list) or not cases:
        raise FormatError(f'{path}: an object with a list "encryption_parameters" is needed')
    return parameters


def get_parameter(option: str, path: str | Path | None = None) -> Any:
    """One of the tester's parameters; None where it is not there."""
    return read_parameters(path).get(option)


def test_net(HE: Any, net: Any, encoded_layers: Any, images: Any, verbose: bool) -> tuple[list[dict[str, Any]], float]:
    """One row of measures a layer (only the first unless verbose), and the largest error of the answer.

    Parameters
    ----------
    HE, net, encoded_layers, images
        See :func:`pycrcnn.parameters_tester.utils.utils.run_both`.
    verbose : bool
        Measure behind every layer.
    """
    rows: list[dict[str, Any]] = []

    def measure(layer: str, plain: Any, encrypted: Any) -> None:
        if rows and not verbose:
            return
        noise = get_min_noise(HE, encrypted)
        row = {
            "layer_name": layer,
            "min_noise": float(noise),
            "max_error": 0,
            "max_error_position": "",
            "cipher_value": 0,
            "plain_value": 0,
        }
        if not rows:
            row["max_error_position"] = str((0,) * plain.ndim)
        elif noise:
            error, index = get_max_error(HE, plain, encrypted)
            row |= {
                "max_error": error,
                "max_error_position": str(index),
                "cipher_value": float(HE.decrypt(encrypted[index])),
                "plain_value": float(plain[index]),
            }
        else:
            row["max_error"] = None
        rows.append(row)

    final_error = run_both(HE, net, encoded_layers, images, measure)
    return rows, final_error


test_net.__test__ = False  # type: ignore[attr-defined]  # a helper by PyCrCNN's name, not a test of pytest's


def param_test(
    parameters: Mapping[str, Any] | str | Path | None = None,
    *,
    net: Any = None,
    images: Any = None,
    results_path: str | Path | None = _RESULTS,
) -> list[list[Any]]:
    """Runs a network with each set of encryption parameters and reports errors and noise.

    Parameters
    ----------
    parameters : mapping or path, optional
        The parameters, or the JSON file that holds them.
    net : torch.nn.Sequential or Model, optional
        The network, in place of the file at ``model_path``.
    images : array_like, optional
        Images, in place of the first test image of ``dataset``.
    results_path : path or None, optional
        Where to write the results as JSON.

    Returns
    -------
    list
        For each set ``[parameters, {"final_max_error": x}]``, and with ``"debug": "y"`` a list of one row a
        layer. The error is None where the noise has drowned the answer.
    """
    given = dict(parameters) if isinstance(parameters, Mapping) else read_parameters(parameters)
    if net is None:
        net = load_model(given.get("model_path", "./model.pt"))
    net = chosen_layers(net, given.get("layers"))
    if images is None:
        images = dataset_images(given.get("dataset", "MNIST"))
    debug = given.get("debug") in ("y", True)

    results: list[list[Any]] = []
    for case in given["encryption_parameters"]:
        HE = pyfhel_from(case, given.get("max_threads", 0))
        encoded = build_from_pytorch(HE, net, case.get("rencrypt_positions", ()))
        rows, error = test_net(HE, net, encoded, images, debug)
        result = [case, {"final_max_error": error if math.isfinite(error) else None}]
        results.append([*result, rows] if debug else result)
    if results_path is not None:
        Path(results_path).write_text(json.dumps(results, indent=4))
    return results


if __name__ == "__main__":
    param_test()
