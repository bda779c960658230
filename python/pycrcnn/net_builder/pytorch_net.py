"""Helpers around training with PyTorch. Importing this module neither imports torch nor downloads anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pycrcnn.errors import InvalidTypeError

__all__ = ["get_num_correct", "load_net", "new_batch", "new_set", "save_net", "train_net", "use_net"]


def new_set(train: bool = True) -> Any:
    """Fashion-MNIST as a torch data set of (image ``[1, 28, 28]`` in 0 to 1, label)."""
    import torch

    from pycrcnn import datasets

    images, labels = datasets.load("fashion-mnist", "train" if train else "test")
    pixels = torch.from_numpy(images).float().reshape(-1, 1, 28, 28) / 255
    return torch.utils.data.TensorDataset(pixels, torch.from_numpy(labels).long())


def new_batch(size: int, train: bool = True) -> Any:
    """A loader of batches of `size` images and labels."""
    import torch

    return torch.utils.data.DataLoader(new_set(train), batch_size=size, shuffle=False)


def get_num_correct(preds: Any, labels: Any) -> int:
    """How many rows have their largest value at the label."""
    return int(preds.argmax(dim=1).eq(labels).sum().item())


def train_net(network: Any, epochs: int, batches: Any = None, lr: float = 0.01) -> None:
    """Trains a network with Adam and cross entropy, and prints each epoch's result.

    Parameters
    ----------
    network : torch.nn.Module
        Trained in place.
    epochs : int
        Passes over the data.
    batches : iterable of (images, labels), optional
        The data; Fashion-MNIST in batches of 100 unless given.
    lr : float, optional
        Learning rate.
    """
    import torch

    batches = new_batch(100) if batches is None else batches
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    network.train()
    for epoch in range(epochs):
        total_loss, total_correct = 0.0, 0
        for images, labels in batches:
            preds = network(images)
            loss = torch.nn.functional.cross_entropy(preds, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
            total_correct += get_num_correct(preds, labels)
        print("epoch:", epoch + 1, "total_correct:", total_correct, "loss:", total_loss)
    network.eval()


def use_net(net: Any, batch: Any) -> Any:
    """The network's answer, without gradients."""
    import torch

    with torch.no_grad():
        return net(batch)


def save_net(net: Any, path: str | Path = "./model.pt") -> None:
    """Saves a whole network with ``torch.save``."""
    import torch

    torch.save(net, path)


def load_net(path: str | Path = "./model.pt", *classes: type) -> Any:
    """Loads a network that ``torch.save`` wrote, without running code from the file.

    Parameters
    ----------
    path : str or Path
        The file.
    *classes : type
        Layer classes of your own that the network uses, such as ``Square``; those that the running script defines
        are known already.

    Returns
    -------
    torch.nn.Module
        In evaluation mode.

    Raises
    ------
    InvalidTypeError
        Where the file needs other classes than torch's layers and those given.
    """
    import pickle

    import torch

    nn = torch.nn
    script = vars(sys.modules["__main__"]).values()
    own = [c for c in script if isinstance(c, type) and issubclass(c, nn.Module) and c.__module__ == "__main__"]
    known = [
        *(nn.Sequential, nn.Conv1d, nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.Flatten, nn.Identity, nn.Dropout),
        *(nn.ReLU, nn.MaxPool2d, nn.BatchNorm2d, set, *own, *classes),
    ]
    try:
        with torch.serialization.safe_globals(known):
            net = torch.load(path, weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidTypeError(
            f"{path} is no network of torch's layers and the classes given: {str(error).splitlines()[0]}"
        ) from None
    return net.eval()
