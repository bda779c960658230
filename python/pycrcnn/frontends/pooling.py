"""Average pooling of any kind as native maps."""

from __future__ import annotations

from collections.abc import Sequence

from pycrcnn import _native
from pycrcnn.errors import InvalidValueError, ShapeError
from pycrcnn.frontends.fields import Fields, whole_number

__all__ = ["adaptive_average", "average"]

#: Of one output along one axis: first input, one past the last, divisor.
Span = tuple[int, int, int]

#: Of adaptive pooling, along one axis.
_LARGEST_OUTPUT = 2**16


def average(fields: Fields, shape: Sequence[int]) -> _native.AffineMap:
    """Average pooling of an image or a signal, as torch's with the same options."""
    axes = len(shape) - 1
    kernel = fields.whole_numbers("kernel", axes, 1, 1)
    stride = fields.whole_numbers("stride", axes, kernel, 1)
    padding = fields.whole_numbers("padding", axes, 0, 0)
    whole_windows, zeros_count = not fields.flag("ceil_mode", False), fields.flag("count_include_pad", True)
    image = _image(shape)
    if whole_windows and (zeros_count or not any(padding)):
        before = [1] * (2 - axes)
        pooled = _native.AffineMap.avg_pool2d(image, before + kernel, before + stride, [0] * (2 - axes) + padding)
        return _as_given(pooled, shape)
    # So no window sees zeros only.
    if any(2 * pad > size for pad, size in zip(padding, kernel, strict=True)):
        raise InvalidValueError(f"{fields.label('padding')} {padding} is more than half of the kernel {kernel}")
    spans = [
        _windows(fields, *axis, whole_windows, zeros_count)
        for axis in zip(shape[1:], kernel, stride, padding, strict=True)
    ]
    return _spanned(image, spans, shape)


def adaptive_average(fields: Fields, shape: Sequence[int]) -> _native.AffineMap:
    """Average pooling to a given output size; None keeps an axis as it is."""
    axes = len(shape) - 1
    given = fields.get("output")
    sizes = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given] * axes
    if len(sizes) != axes:
        raise InvalidValueError(f"{fields.label('output')} {given!r} is not one size for each of {axes} axes")
    spans = []
    for size, length in zip(sizes, shape[1:], strict=True):
        count = length if size is None else whole_number(fields.label("output"), size, 1, _LARGEST_OUTPUT)
        ends = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
        spans.append([(start, end, end - start) for start, end in ends])
    return _spanned(_image(shape), spans, shape)


def _windows(
    fields: Fields, length: int, kernel: int, stride: int, padding: int, whole_windows: bool, zeros_count: bool
) -> list[Span]:
    room = length + 2 * padding - kernel
    if room < 0:
        raise ShapeError(f"layer {fields.name}: its kernel {kernel} is larger than the padded input of {length}")
    count = room // stride + 1 if whole_windows else -(-room // stride) + 1
    if not whole_windows and (count - 1) * stride >= length + padding:
        count -= 1  # the last window must start within the input or the padding before it
    spans = []
    for start in range(-padding, count * stride - padding, stride):
        end = min(start + kernel, length + padding)
        inside = max(start, 0), min(end, length)
        spans.append((*inside, end - start if zeros_count else inside[1] - inside[0]))
    return spans


def _image(shape: Sequence[int]) -> list[int]:
    """A signal as an image of one row."""
    return list(shape) if len(shape) == 3 else [shape[0], 1, shape[1]]


def _spanned(image: list[int], spans: list[list[Span]], shape: Sequence[int]) -> _native.AffineMap:
    vertical = spans[0] if len(spans) == 2 else [(0, 1, 1)]
    return _as_given(_native.AffineMap.average_spans(image, vertical, spans[-1]), shape)


def _as_given(pooled: _native.AffineMap, shape: Sequence[int]) -> _native.AffineMap:
    output = pooled.output_shape
    return pooled if len(shape) == 3 else pooled.reshaped(list(shape), [output[0], output[2]])
