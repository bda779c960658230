import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import clear_network
from pycrcnn import datasets, models
from pycrcnn.errors import FormatError, InvalidValueError, ShapeError

GOALS = {
    "fashion-2conv": 0.91,
    "fashion-cifar": 0.88,
    "fashion-5layer": 0.80,
    "fashion-5layer-plain": 0.80,
    "fashion-6layer": 0.765,
    "fashion-6layer-plain": 0.80,
    "mnist-cryptonets": 0.99,
    "mnist-lenet1": 0.984,
    "mnist-lenet5": 0.99,
    "mnist-recurrent": 0.97,
}


def test_every_network_is_there():
    assert set(models.names()) == set(GOALS)


@pytest.mark.parametrize("name", GOALS)
def test_accuracy_is_as_stated(name):
    model = models.load(name)
    images, labels = datasets.load(model.dataset, "test")
    logits = clear_network.evaluate(model.layers, model.normalise(images))
    measured = np.mean(logits.argmax(axis=1) == labels)
    assert measured == pytest.approx(model.accuracy, abs=0.0005)
    assert measured >= GOALS[name]


@pytest.mark.parametrize("name", GOALS)
def test_largest_magnitudes_are_those_of_the_training_split(name):
    model = models.load(name)
    images, _ = datasets.load(model.dataset, "train")
    x = model.normalise(images[:2000])
    assert len(model.largest_magnitudes) == len(model.layers) + 1
    assert np.abs(x).max() <= model.largest_magnitudes[0]
    for layer, largest in zip(model.layers, model.largest_magnitudes[1:], strict=True):
        x = clear_network.evaluate([layer], x)
        assert 0.3 * largest < np.abs(x).max() <= largest * (1 + 1e-5)


@pytest.mark.parametrize("name", [name for name in GOALS if not name.endswith("-plain")])
def test_encryptable_networks_stay_in_a_modest_range(name):
    model = models.load(name)
    known = {"conv2d", "square", "polynomial", "avg_pool2d", "flatten", "reshape", "linear", "recurrent"}
    assert {layer["type"] for layer in model.layers} <= known
    for layer, largest_input in zip(model.layers, model.largest_magnitudes, strict=False):
        assert layer["type"] not in ("square", "polynomial") or largest_input < 8


@pytest.mark.parametrize("name", ["fashion-5layer", "fashion-6layer"])
def test_digits_are_few(name):
    model = models.load(name)
    for layer in model.layers:
        for array in (layer.get("weight"), layer.get("bias")):
            assert array is None or not np.any(np.ldexp(array, model.fraction_bits) % 1)
    assert not np.any(model.normalise(np.arange(784).reshape(28, 28) % 256) * 256 % 1)


def test_normalise_takes_one_image_or_many():
    model = models.load("fashion-5layer")
    pixels = np.full((3, 28, 28), 255, np.uint8)
    np.testing.assert_array_equal(model.normalise(pixels), np.full((3, 1, 28, 28), 255 / 256))
    assert model.normalise(pixels[0]).shape == (1, 1, 28, 28)
    with pytest.raises(ShapeError, match=r"takes images of shape \[n, 28, 28\], got \[3, 29, 28\]"):
        model.normalise(np.zeros((3, 29, 28)))


def test_normalise_places_images_in_the_middle_of_every_channel():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 28, 28))
    placed = models.load("fashion-cifar").normalise(pixels)
    assert placed.shape == (2, 3, 32, 32)
    for channel in range(3):
        np.testing.assert_allclose(placed[:, channel, 2:30, 2:30], pixels / 255, rtol=1e-15)
    placed[:, :, 2:30, 2:30] = 0
    assert not placed.any()


def test_unknown_model():
    with pytest.raises(InvalidValueError, match="unknown model '../x': choose one of fashion-2conv"):
        models.load("../x")


def test_weights_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        models.load("fashion-5layer").layers[0]["weight"][0] = 0


@pytest.fixture
def written(tmp_path):
    """Write a small network after a change to its metadata or tensors, and return the path."""

    def write(change=lambda metadata, tensors: None):
        layer = {"type": "linear", "weight": "0.weight", "bias": "0.bias"}
        tensors = {"0.weight": np.ones((2, 4), np.float32), "0.bias": np.zeros(2, np.float32)}
        metadata = {
            "name": "small",
            "architecture": [{"type": "avg_pool2d", "kernel": [2, 2], "stride": [2, 2]}, {"type": "flatten"}, layer],
            "input_shape": [1, 4, 4],
            "normalisation": {"scale": 0.5, "offset": -1.0},
            "dataset": "mnist",
            "accuracy": 0.5,
            "largest_magnitudes": [1.0, 1.0, 1.0, 4.0],
            "command": "none",
            "torch": "none",
        }
        change(metadata, tensors)
        text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
        save_file(tensors, tmp_path / "small.safetensors", metadata=text)
        return tmp_path / "small.safetensors"

    return write


def test_read_gives_what_was_written(written):
    model = models.read(written())
    assert (model.name, model.input_shape, model.scale, model.offset) == ("small", (1, 4, 4), 0.5, -1.0)
    assert model.layers[0] == {"type": "avg_pool2d", "kernel": (2, 2), "stride": (2, 2)}
    np.testing.assert_array_equal(clear_network.evaluate(model.layers, np.ones((1, 1, 4, 4))), [[4, 4]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, t: m.pop("architecture"), "'architecture' is missing"),
        (lambda m, t: m.update(architecture="[{"), "the metadata does not describe a network"),
        (lambda m, t: m.update(architecture=5), "not iterable"),
        (lambda m, t: m["architecture"].append({"type": "exec"}), "unknown layer type 'exec'"),
        (
            lambda m, t: m["architecture"][0].update(stride=[0, 1]),
            r"stride \[0, 1\] is not one or 2 whole numbers from 1 on",
        ),
        (lambda m, t: m["architecture"][0].update(kernel=[2]), "the metadata does not describe a network"),
        (lambda m, t: m.update(input_shape=[28, 28]), "the metadata does not describe a network"),
        (lambda m, t: t.pop("0.bias"), "'0.bias' is missing"),
        (lambda m, t: t["0.weight"].fill(np.nan), "tensor '0.weight' holds values that are not finite"),
        (lambda m, t: t.update({"0.bias": np.zeros(3, np.float32)}), r"linear with weight \(2, 4\) and bias \(3,\)"),
    ],
)
def test_bad_files_are_format_errors(written, change, message):
    with pytest.raises(FormatError, match=message):
        models.read(written(change))


def test_files_that_are_not_safetensors(tmp_path, written):
    whole = written().read_bytes()
    path = tmp_path / "cut.safetensors"
    for size in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match="not a safetensors file"):
            models.read(path)
    with pytest.raises(FileNotFoundError):
        models.read(tmp_path / "absent.safetensors")
