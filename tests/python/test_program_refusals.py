"""Networks, parameters and arguments that cannot be compiled: what is wrong is said, and what would fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycrcnn
from pycrcnn.errors import (
    EncodingError,
    FormatError,
    InvalidTypeError,
    InvalidValueError,
    OutOfReachError,
    ParameterError,
    PyCrCNNError,
    ShapeError,
    UnsupportedError,
)
from pycrcnn.program import FractionalParameters
from small_programs import (
    COMPILE,
    IMAGES,
    SHAPE,
    Layers,
    batched,
    packed,
    per_value,
    small_network,
)

CONV = {"type": "conv2d", "weight": np.ones((1, 1, 2, 2))}


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (None, InvalidTypeError, r"models\.load"),
        ("fashion-5layer", InvalidValueError, r"models\.load"),
        ([], InvalidValueError, "at least one layer"),
        ([1], InvalidTypeError, "layer 0: a dictionary"),
        ([{}], InvalidTypeError, "layer 0: a dictionary"),
        ([{"type": "relu"}], UnsupportedError, "0 relu .*replace it by a square"),
        ([{"type": "max_pool2d", "kernel": (2, 2)}], UnsupportedError, "average pooling"),
        ([{"type": "lstm"}], UnsupportedError, "0 lstm .*replace it by"),
        ([{"type": ["conv2d"]}], InvalidTypeError, "not a text"),
        ([{"type": "conv2d"}], InvalidValueError, "weight is missing"),
        ([{"type": "avg_pool2d"}], InvalidValueError, "kernel is missing"),
        ([{**CONV, "weight": np.ones((2, 2))}], ShapeError, "2 dimensions, 4 are needed"),
        ([{**CONV, "weight": np.ones((1, 1, 2, 2), complex)}], InvalidTypeError, "complex128"),
        ([{**CONV, "weight": np.full((1, 1, 2, 2), "1")}], InvalidTypeError, "real numbers"),
        ([{**CONV, "weight": np.full((1, 1, 2, 2), np.nan)}], InvalidValueError, "NaN at flat index 0"),
        ([{**CONV, "bias": np.array([np.inf])}], InvalidValueError, "inf at flat index 0"),
        ([{**CONV, "bias": np.ones(2)}], ShapeError, "bias of 1"),
        ([{**CONV, "weight": np.ones((1, 3, 2, 2))}], ShapeError, "3 channels"),
        ([{**CONV, "weight": np.ones((1, 1, 9, 9))}], ShapeError, "reaches the kernel"),
        ([{**CONV, "stride": (0, 1)}], InvalidValueError, "stride = 0"),
        ([{**CONV, "stride": -1}], InvalidValueError, "stride = -1"),
        ([{**CONV, "stride": 1.5}], InvalidTypeError, "whole number"),
        ([{**CONV, "stride": (1, 1, 1)}], InvalidValueError, "pair"),
        ([{**CONV, "padding": (2**63, 0)}], InvalidValueError, "padding"),
        ([{**CONV, "padding": (2**30, 0)}], FormatError, "limit"),
        ([{**CONV, "paddings": 1}], UnsupportedError, "paddings is not known"),
        ([{"type": "avg_pool2d", "kernel": 0}], InvalidValueError, "kernel = 0"),
        ([{"type": "flatten"}, {"type": "avg_pool2d", "kernel": 2}], ShapeError, "1 avg_pool2d takes images"),
        ([{"type": "linear", "weight": np.ones((2, 36))}], ShapeError, "put a flatten layer before it"),
        ([{"type": "flatten"}, {"type": "linear", "weight": np.ones((2, 35))}], ShapeError, "layer 1 linear takes"),
    ],
)
@pytest.mark.parametrize("layout", COMPILE)
def test_networks_that_cannot_be_compiled(layout: str, layers: Any, error: type[PyCrCNNError], message: str) -> None:
    make = (lambda: pycrcnn.compile(None, SHAPE)) if layers is None else (lambda: COMPILE[layout](layers))
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("layout", COMPILE)
def test_networks_with_too_many_squares(layout: str) -> None:
    message = "71 affine maps with squares between them" if layout in ("packed", "exact") else "70 squares"
    with pytest.raises(UnsupportedError, match=message):
        COMPILE[layout]([{"type": "square"}] * 70)


@pytest.mark.parametrize(
    ("squares", "options", "code"),
    [
        (6, {"precision": 20, "security": 256}, "too-deep"),
        (3, {"precision": 28, "security": 256}, "too-fine"),
        (2, {"precision": 25}, "too-fine"),
        (1, {"precision": 30}, "too-fine"),
        (5, {"precision": 28, "scheme": "bfv"}, "too-long"),
        (5, {"precision": 8, "scheme": "bfv", "security": 256}, "too-long"),
        (6, {"precision": 12, "scheme": "bfv"}, "too-long"),
    ],
)
def test_what_would_fit_fits_and_no_more(squares: int, options: dict[str, Any], code: str) -> None:
    def compiled(squares: int, **other: Any) -> pycrcnn.Program:
        layers: Layers = [{"type": "square"}] * squares or [{"type": "linear", "weight": np.eye(4)}]
        return packed(layers, input_shape=(4,), calibration=np.linspace(-1, 1, 8).reshape(2, 4), **{**options, **other})

    with pytest.raises(OutOfReachError) as refusal:
        compiled(squares)
    figures = refusal.value.figures
    assert (refusal.value.code, figures["maps"], figures["precision"]) == (code, squares + 1, options["precision"])
    fitting = figures["fitting_maps"] or 0
    # Squares one after the other have a map each between them, named by the square before it.
    assert refusal.value.layer == f"{max(fitting - 1, 0)} square"
    if fitting:
        compiled(fitting - 1)
    with pytest.raises(OutOfReachError):
        compiled(fitting)
    precision = figures["fitting_precision"]
    if precision:
        compiled(squares, precision=precision)
    with pytest.raises(OutOfReachError):
        compiled(squares, precision=(precision or 0) + 1)
    wanted, there = {
        "too-deep": ("needed_bits", "limit_bits"),
        "too-fine": ("prime_bits", "widest_prime_bits"),
        "too-long": ("integer_bits", "longest_integer_bits"),
    }[code]
    if code == "too-long" and (figures["integer_bits"] or 0) <= (figures["longest_integer_bits"] or 0):
        wanted, there = "needed_bits", "limit_bits"
    # What is said to have no room has none.
    assert (figures[wanted] or 10**9) > (figures[there] or 0)
    assert (f"{figures[wanted]} bits" if figures[wanted] else "126 bits") in str(refusal.value)


def test_tensors_that_are_too_large_are_named() -> None:
    with pytest.raises(OutOfReachError, match=r"layer .* takes 70000 values to 2, .* 5 times fewer values") as wide:
        packed(
            [{"type": "linear", "weight": np.ones((2, 70_000))}],
            input_shape=(70_000,),
            calibration=np.ones((1, 70_000)),
        )
    assert (wide.value.code, wide.value.figures["inputs"], wide.value.figures["slots"]) == ("too-wide", 70_000, 16384)
    assert wide.value.layer == "0 linear"
    layer = [{"type": "linear", "weight": np.ones((2, 9000))}]
    # The largest ring has slots for 9,000 values, at a lower precision.
    with pytest.raises(OutOfReachError, match=r"at 23 bits there is room for all") as fine:
        packed(layer, input_shape=(9000,), calibration=np.ones((1, 9000)), precision=24)
    assert (fine.value.code, fine.value.figures["degree"]) == ("too-fine", 32768)


def test_the_layer_beyond_which_there_is_no_room_is_named() -> None:
    half = {"type": "linear", "weight": np.eye(4) / 2}
    layers = [{"type": "square"} if i % 2 else {**half, "name": f"dense{i}"} for i in range(41)]
    options: dict[str, Any] = {"precision": 20, "input_shape": (4,), "calibration": np.eye(4)}
    with pytest.raises(OutOfReachError) as deep:
        packed(layers, **options)
    fitting = deep.value.figures["fitting_maps"] or 0
    assert deep.value.layer == f"dense{2 * fitting} linear"
    packed(layers[: 2 * fitting - 1], **options)


@pytest.mark.parametrize("layout", ["packed", "batched"])
def test_plans_name_the_layers_of_each_matrix(layout: str) -> None:
    steps = COMPILE[layout](small_network()).explain().steps
    named = [step.layers for step in steps if step.kind.startswith("linear")]
    assert ", ".join(named).split(", ") == [
        f"{index} {layer['type']}" for index, layer in enumerate(small_network()) if layer["type"] != "square"
    ]


@pytest.mark.parametrize("layers", [small_network(), [*small_network(), {"type": "square"}]])
def test_packed_replies_have_one_prime_that_is_full(layers: Layers) -> None:
    program = packed(layers)
    explanation = program.explain()
    # Two polynomials modulo the first prime, which has room for the scale, the sign and a headroom of four bits.
    assert explanation.bytes_down == 2 * explanation.degree * explanation.prime_bits[0] // 8
    assert explanation.prime_bits[0] == explanation.steps[-1].scale_bits + 5
    keys = program.keygen()
    answer = program.run(keys.encrypt(IMAGES[:1]), keys.evaluation)
    assert answer.nbytes == pytest.approx(explanation.bytes_down, abs=300)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layout": "slots"}, InvalidValueError, "choose 'auto', 'packed', 'batched' or 'per-value'"),
        ({"batch": 0}, InvalidValueError, "batch = 0"),
        ({"input_shape": None}, InvalidValueError, r"such as \(1, 28, 28\)"),
        ({"input_shape": 6}, InvalidTypeError, r"such as \(1, 28, 28\)"),
        ({"input_shape": "166"}, InvalidTypeError, r"such as \(1, 28, 28\)"),
        ({"input_shape": (1, -6, 6)}, InvalidValueError, "input_shape = -6"),
        ({"input_shape": (1, 0, 6)}, InvalidValueError, "input_shape = 0"),
        ({"input_shape": (1, 6.0, 6)}, InvalidTypeError, "whole number"),
        ({"input_shape": (2**70, 6, 6)}, InvalidValueError, "input_shape"),
        ({"input_shape": (2**20, 2**20, 6)}, ShapeError, "input_shape"),
        ({"security": 100}, InvalidValueError, "128, 192 or 256"),
        ({"security": "128"}, InvalidValueError, "128, 192 or 256"),
        ({"threads": -1}, InvalidValueError, "threads = -1"),
        ({"threads": 2**70}, InvalidValueError, "threads"),
        ({"threads": 1.5}, InvalidTypeError, "threads: a whole number"),
    ],
)
@pytest.mark.parametrize("layout", COMPILE)
def test_arguments_of_every_layout(
    layout: str, options: dict[str, Any], error: type[PyCrCNNError], message: str
) -> None:
    with pytest.raises(error, match=message):
        COMPILE[layout](**options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"calibration": IMAGES[0]}, ShapeError, r"\[n, 1, 6, 6\]"),
        ({"calibration": IMAGES[:0]}, ShapeError, r"\[n, 1, 6, 6\]"),
        ({"calibration": IMAGES * np.nan}, EncodingError, "clean the data"),
        ({"calibration": IMAGES * 1e145}, UnsupportedError, "ask for less precision"),
        ({"calibration": IMAGES * 1e200}, UnsupportedError, "scale the images or the weights down"),
        ({"precision": 0}, InvalidValueError, "from 1 to 30"),
        ({"precision": 31}, InvalidValueError, "from 1 to 30"),
        ({"precision": 12.0}, InvalidTypeError, "whole number"),
        ({"parameters": FractionalParameters()}, InvalidValueError, "chooses its own"),
        ({"threads": 10**6}, InvalidValueError, "0 stands for all cores"),
    ],
)
def test_arguments_of_the_batched_layout(options: dict[str, Any], error: type[PyCrCNNError], message: str) -> None:
    with pytest.raises(error, match=message):
        batched(**options)


@pytest.mark.parametrize("name", ["m", "p", "base", "integer_digits", "fraction_digits"])
def test_fractional_parameters(name: str) -> None:
    for value in (0, -1, 2**70):
        with pytest.raises(ParameterError, match=f"{name} = {value}"):
            per_value(parameters=FractionalParameters(**{name: value}))
    for value in (1.5, "4096"):
        with pytest.raises(InvalidTypeError, match=f"{name}: a whole number"):
            per_value(parameters=FractionalParameters(**{name: value}))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"parameters": 4096}, InvalidTypeError, "FractionalParameters"),
        ({"parameters": FractionalParameters(m=4095)}, ParameterError, "power of two"),
        ({"parameters": FractionalParameters(integer_digits=4080)}, InvalidValueError, "do not fit"),
        ({"layers": [{**CONV, "weight": np.full((1, 1, 2, 2), 1e30)}]}, EncodingError, "scale the data down"),
    ],
)
def test_arguments_of_the_per_value_layout(options: dict[str, Any], error: type[PyCrCNNError], message: str) -> None:
    with pytest.raises(error, match=message):
        per_value(**options)
