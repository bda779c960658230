"""From a trained PyTorch network to one that can be evaluated on ciphertexts: squares, polynomials, average pooling.

As in the paper (Disabato et al. 2020, section IV): what only comparisons can compute is replaced by additions and
multiplications, and the network is then trained again from where it stands. Importing this does not import torch.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pycrcnn.errors import InvalidTypeError, InvalidValueError, MissingPackageError, UnsupportedError
from pycrcnn.frontends.advice import unsupported
from pycrcnn.frontends.fields import real_array, whole_number
from pycrcnn.frontends.torch_module import traced

__all__ = ["Approximation", "Change", "approximate"]

#: Activations of one tensor, by the names of torch's modules and functions in lower case without underscores.
_ACTIVATION = re.compile(
    r"((leaky|p|r)?relu6?|c?elu|selu|gelu|silu|mish|soft(plus|sign|shrink)|tanh(shrink)?|(log|hard)?sigmoid|"
    r"hard(tanh|swish|shrink)|threshold)"
)
_MAX_POOL = re.compile(r"(adaptive)?maxpool[12]d")

#: Values that each polynomial is fitted to, at most.
_VALUES = 50_000

#: Images that go through the network at a time.
_BATCH = 256


@dataclass(frozen=True)
class Change:
    """One layer that was replaced.

    Attributes
    ----------
    layer : str
        Its name, as PyTorch knows it, or that of the operation in `forward`.
    original, replacement : str
        What stood there, and what stands there now.
    range : tuple of float, optional
        The smallest and the largest value that calibration brought to it.
    error : float, optional
        The root mean square of the difference that the replacement makes on those values.
    """

    layer: str
    original: str
    replacement: str
    range: tuple[float, float] | None = None
    error: float | None = None

    def __str__(self) -> str:
        known = ""
        if self.range is not None and self.error is not None:
            known = f" (on [{self.range[0]:.3g}, {self.range[1]:.3g}], root mean square error {self.error:.2g})"
        return f"{self.layer}: {self.original} -> {self.replacement}{known}"


@dataclass(frozen=True)
class Approximation:
    """A network that can be evaluated on ciphertexts, and how it differs from the one it was made from.

    Attributes
    ----------
    model : torch.nn.Module
        A copy, to be trained again; of the same class as the original where the layers that were replaced are modules
        of their own, and a `torch.fx.GraphModule` where they are calls in `forward`.
    changes : tuple of Change
    """

    model: Any = field(repr=False)
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) or "nothing had to be replaced"


def approximate(
    model: Any,
    activation: Literal["square", "polynomial"] = "square",
    degree: int = 2,
    calibration: ArrayLike | None = None,
    gradual: bool = False,
) -> Approximation:
    """Replace activations by squares or polynomials, and max pooling by average pooling.

    Batch normalisation and dropout stay: :func:`pycrcnn.compile` folds the one and drops the other. A sigmoid or
    softmax that is the last layer stays too: the client computes it.

    Parameters
    ----------
    model : torch.nn.Module
        It is not changed.
    activation : {"square", "polynomial"}
        ``"square"``: x^2 for every activation, as in the paper; the network has to be trained again. ``"polynomial"``:
        the least-squares polynomial of the activation on the values that calibration brings to it, with coefficients
        that are trained with the network.
    degree : int
        Of the polynomials, 1 to 15; degree d takes ceil(log2 d) squares one after the other.
    calibration : array_like, shape [n, *input_shape], optional
        Examples, as the network takes them; polynomials need them.
    gradual : bool
        Put `pycrcnn.nn.Blend` in the place of each layer, which begins as what stood there: `pycrcnn.train.fit` leads
        it to the replacement little by little, which the weights follow more easily than a sudden change.

    Returns
    -------
    Approximation

    Raises
    ------
    UnsupportedError, UnsupportedLayerError
        `forward` is no straight line, or a layer has options that its replacement cannot have.
    InvalidValueError, InvalidTypeError, ShapeError, MissingPackageError
        The arguments do not fit, or PyTorch is missing.

    Examples
    --------
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(676, 10))
    >>> print(approximate(net))
    1: ReLU -> square
    2: MaxPool2d -> average pooling
    """
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError("pycrcnn.approximate needs PyTorch: pip install 'pycrcnn[torch]'") from error
    if not isinstance(model, torch.nn.Module):
        raise InvalidTypeError(f"model: a torch.nn.Module is needed, not {type(model).__name__}")
    if activation not in ("square", "polynomial"):
        raise InvalidValueError(f"activation {activation!r}: choose 'square' or 'polynomial'")
    whole_number("degree", degree, 1, 15)
    if activation == "polynomial" and calibration is None:
        raise InvalidValueError("calibration: polynomials are fitted to values; give examples of the network's input")
    graph = traced(copy.deepcopy(model), torch)
    places = [place for node in graph.graph.nodes if (place := _Place.of(node, graph)) is not None]
    activations = [place for place in places if not place.pools]
    seen: dict[Any, _Values] = {}
    if calibration is not None:
        seen = _observed(graph, activations, real_array("calibration", calibration), torch)
    changes = tuple(
        _replaced(place, graph, activation, degree, seen.get(place.node), gradual, torch) for place in places
    )
    graph.graph.lint()
    graph.recompile()
    return Approximation(_as_given(model, graph, places), changes)


@dataclass(frozen=True)
class _Place:
    """A node of the graph that has to be replaced."""

    node: Any
    name: str
    kind: str
    pools: bool
    module: Any = None

    @classmethod
    def of(cls, node: Any, graph: Any) -> _Place | None:
        if node.op == "call_module":
            module = graph.get_submodule(node.target)
            name, kind = str(node.target), type(module).__name__
            known = type(module).__module__.startswith("torch.nn.")
        elif node.op in ("call_function", "call_method"):
            module, name = None, str(node.name)
            kind = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
            known = True
        else:
            return None
        plain = kind.lower().replace("_", "")
        pools = _MAX_POOL.fullmatch(plain) is not None
        if not known or not (pools or _ACTIVATION.fullmatch(plain)):
            return None
        if plain == "sigmoid" and all(user.op == "output" for user in node.users):
            return None
        _refuse_shared_result(node, kind, module)
        return cls(node, name, kind, pools, module)

    def function(self) -> Callable[[Any], Any]:
        """What stands there, as a function of its input."""
        if self.module is not None:
            function: Callable[[Any], Any] = self.module
            return function
        rest, options = self.node.args[1:], {**self.node.kwargs, "inplace": False}
        if isinstance(self.node.target, str):
            return lambda x: getattr(x, self.node.target.rstrip("_"))(*rest)
        if "inplace" not in self.node.kwargs:
            del options["inplace"]
        return lambda x: self.node.target(x, *rest, **options)


def _refuse_shared_result(node: Any, kind: str, module: Any) -> None:
    """An activation in place changes what others read of its input, which a replacement would not."""
    in_place = kind.endswith("_") or node.kwargs.get("inplace") or getattr(module, "inplace", False)
    if in_place and len(node.all_input_nodes[0].users) > 1:
        raise UnsupportedError(
            f"{node.name} ({kind}) works in place on a value that is used elsewhere as well; make it inplace=False"
        )


@dataclass(frozen=True)
class _Values:
    """Values that came to an activation."""

    sample: NDArray[np.float64]
    low: float
    high: float


def _observed(graph: Any, places: list[_Place], images: NDArray[np.float64], torch: Any) -> dict[Any, _Values]:
    """What calibration brings to each place: a sample, and the range."""
    wanted = {place.node for place in places}
    samples: dict[Any, list[NDArray[np.float64]]] = {node: [] for node in wanted}
    ranges: dict[Any, list[float]] = {node: [np.inf, -np.inf] for node in wanted}
    rng = np.random.default_rng(0)
    share = max(1, _VALUES // max(1, -(-len(images) // _BATCH)))

    class Observer(torch.fx.Interpreter):  # type: ignore[misc]
        def run_node(self, node: Any) -> Any:
            if node in wanted:
                arguments, options = self.fetch_args_kwargs_from_env(node)
                values = (arguments[0] if arguments else options["input"]).detach().double().numpy().ravel()
                ranges[node] = [min(ranges[node][0], values.min()), max(ranges[node][1], values.max())]
                samples[node].append(values if len(values) <= share else rng.choice(values, share, replace=False))
            return super().run_node(node)

    modes = [(module, module.training) for module in graph.modules()]
    graph.eval()
    kind = next((parameter.dtype for parameter in graph.parameters()), torch.get_default_dtype())
    try:
        with torch.no_grad():
            for start in range(0, len(images), _BATCH):
                Observer(graph).run(torch.as_tensor(images[start : start + _BATCH], dtype=kind))
    except (RuntimeError, ValueError, IndexError) as error:
        raise InvalidValueError(
            f"calibration: the network does not take images of {list(images.shape)}: {error}"
        ) from None
    finally:
        for module, training in modes:
            module.training = training
    return {node: _Values(np.concatenate(samples[node]), *map(float, ranges[node])) for node in wanted}


def _replaced(
    place: _Place, graph: Any, activation: str, degree: int, seen: _Values | None, gradual: bool, torch: Any
) -> Change:
    """Put the replacement into the graph, and say what was done."""
    from pycrcnn.nn import Blend, Polynomial, Square

    if place.pools:
        module, description = _average_pool(place, torch), "average pooling"
    elif activation == "square":
        module, description = Square(), "square"
    else:
        assert seen is not None  # noqa: S101 - polynomials have calibration
        coefficients = _fitted(place, seen, degree, torch)
        module, description = Polynomial(coefficients.tolist(), trainable=True), f"polynomial of degree {degree}"
    name = place.name if place.module is not None and _once(place, graph) else _free(place.node.name, graph)
    graph.add_submodule(name, Blend(place.function(), module) if gradual else module)
    with graph.graph.inserting_before(place.node):
        new = graph.graph.call_module(name, (place.node.all_input_nodes[0],))
    place.node.replace_all_uses_with(new)
    graph.graph.erase_node(place.node)
    if seen is None or place.pools:
        return Change(place.name, place.kind, description)
    before, after = _on(place.function(), seen.sample, torch), _on(module, seen.sample, torch)
    error = float(np.sqrt(np.mean(np.square(after - before))))
    return Change(place.name, place.kind, description, (seen.low, seen.high), error)


def _on(function: Callable[[Any], Any], values: NDArray[np.float64], torch: Any) -> NDArray[np.float64]:
    """A function of torch's on values; parametrised ones have a precision of their own."""
    kinds = [parameter.dtype for parameter in getattr(function, "parameters", tuple)()]
    with torch.no_grad():
        x = torch.from_numpy(values).to(kinds[0] if kinds else torch.float64)
        result: NDArray[np.float64] = function(x.clone()).double().numpy()
    return result


def _fitted(place: _Place, seen: _Values, degree: int, torch: Any) -> NDArray[np.float64]:
    """Coefficients of the least-squares polynomial, from the constant upwards.

    It is fitted to the values that were seen, and, with a tenth of their weight, to the whole range evenly, so that
    rare large values are not left to chance.
    """
    even = np.linspace(seen.low, seen.high, max(degree + 1, len(seen.sample) // 10))
    values = np.concatenate([seen.sample, even])
    domain = [seen.low, seen.high if seen.high > seen.low else seen.low + 1.0]
    fit = np.polynomial.Chebyshev.fit(values, _on(place.function(), values, torch), degree, domain=domain)
    coefficients: NDArray[np.float64] = fit.convert(kind=np.polynomial.Polynomial).coef
    return np.pad(coefficients, (0, degree + 1 - len(coefficients)))


def _average_pool(place: _Place, torch: Any) -> Any:
    """Average pooling over the windows of a max pooling; zeros around the image do not count, as they did not."""
    options = dict(_pooling_options(place, torch))
    if options.pop("return_indices", False):
        raise unsupported(place.name, place.kind, "it returns indices")
    if any(step != 1 for step in np.atleast_1d(options.pop("dilation", 1))):
        raise unsupported(place.name, place.kind, "its windows are dilated, and those of average pooling are not")
    axes = "1d" if "1d" in place.kind.lower() else "2d"
    if "output_size" in options:
        return getattr(torch.nn, f"AdaptiveAvgPool{axes}")(options["output_size"])
    if np.any(options.get("padding", 0)):
        options["count_include_pad"] = False
    return getattr(torch.nn, f"AvgPool{axes}")(**options)


def _pooling_options(place: _Place, torch: Any) -> Iterator[tuple[str, Any]]:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices", "output_size")
    if place.module is not None:
        yield from ((name, getattr(place.module, name)) for name in names if hasattr(place.module, name))
        return
    plain = place.kind.rstrip("_")
    layer = {"max": "MaxPool", "adaptive": "AdaptiveMaxPool"}[plain.split("_")[0]] + plain[-2:]
    signature = inspect.signature(getattr(torch.nn, layer).__init__)
    order = [name for name in signature.parameters if name != "self"]
    given = dict(zip(order, place.node.args[1:], strict=False)) | dict(place.node.kwargs)
    yield from ((name, value) for name, value in given.items() if name in names)


def _once(place: _Place, graph: Any) -> bool:
    """Whether the module is called at one place only."""
    calls = [node for node in graph.graph.nodes if node.op == "call_module" and node.target == place.name]
    return len(calls) == 1


def _free(name: str, graph: Any) -> str:
    taken = {child for child, _ in graph.named_modules()}
    while name in taken:
        name += "_"
    return name


def _as_given(model: Any, graph: Any, places: list[_Place]) -> Any:
    """A copy of the model with its modules replaced, where that is all; the graph otherwise."""
    if any(place.module is None for place in places) or len({place.name for place in places}) < len(places):
        return graph
    given = copy.deepcopy(model)
    replaced = {place.name: graph.get_submodule(place.name) for place in places}
    if "0" in replaced and not list(given.children()):  # a single layer, traced as a Sequential of itself
        return replaced["0"]
    for name, module in replaced.items():
        parent, _, child = name.rpartition(".")
        setattr(given.get_submodule(parent), child, module)
    return given
