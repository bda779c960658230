"""The parameter tester that asks its questions in the terminal."""

from __future__ import annotations

from typing import Any

from pycrcnn.net_builder.encoded_net_builder import build_from_pytorch
from pycrcnn.parameters_tester._setup import dataset_images, load_model, pyfhel_from
from pycrcnn.parameters_tester.utils.utils import get_max_error, get_min_noise, test_net

__all__ = ["ask_encryption_parameters", "get_max_error", "get_min_noise", "param_test", "test_net"]


def ask_encryption_parameters() -> list[tuple[int, int, int, int]]:
    """Asks for sets of parameters: polynomial degree, plaintext modulus, security level, base."""
    cases: list[tuple[int, int, int, int]] = []
    while True:
        print(f"---- CASE {len(cases)} ----")
        cases.append(
            (
                int(input("Enter a polynomial degree (default=2048): ") or 2048),
                int(input("Enter a plaintext modulus: ")),
                int(input("Enter a security level (default=128): ") or 128),
                int(input("Enter a polynomial base (default=2): ") or 2),
            )
        )
        if input("Another one? [y/N]: ") != "y":
            return cases


def param_test(net: Any = None, images: Any = None) -> list[float]:
    """Asks for parameters, runs the network with each set and prints the errors.

    Parameters
    ----------
    net : torch.nn.Sequential, optional
        The network; the file ``./model.pt`` unless given.
    images : array_like, optional
        Images; the first of MNIST's test set unless given.

    Returns
    -------
    list of float
        The largest error of each set.
    """
    net = load_model("./model.pt") if net is None else net
    images = dataset_images("MNIST") if images is None else images
    cases = ask_encryption_parameters()
    debug = input("Debug? y/N: ") == "y"
    positions = [int(x) for x in input("Where to put rencryption? (default=no rencryption): ").split()]
    errors = []
    for number, (m, p, sec, base) in enumerate(cases):
        print(f"\nCASE {number} ###############")
        HE = pyfhel_from({"m": m, "p": p, "sec": sec, "base": base})
        errors.append(test_net(HE, net, build_from_pytorch(HE, net, positions), images, debug))
    print("-----------------------\nTested values and obtained errors:")
    for case, error in zip(cases, errors, strict=True):
        print(case, error)
    return errors


if __name__ == "__main__":
    param_test()
