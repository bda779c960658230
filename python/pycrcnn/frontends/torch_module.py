"""PyTorch modules, traced by torch.fx: nothing is executed but `forward`, on symbols.

torch is imported by whoever made the module, never here first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pycrcnn.errors import PyCrCNNError, UnsupportedError
from pycrcnn.frontends.advice import unsupported
from pycrcnn.frontends.fields import real_array
from pycrcnn.frontends.graph import Graph, Value
from pycrcnn.frontends.torch_functions import BATCH, FUNCTIONS, Sizes, hyperparameters
from pycrcnn.models import Layer

__all__ = ["layers_of", "traced"]


def layers_of(module: Any, input_shape: tuple[int, ...], plain: bool = False) -> tuple[Layer, ...]:
    """The layers that compute what a module computes in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
        With one tensor ``[n, *input_shape]`` as its argument and one as its answer.
    input_shape : tuple of int
    plain : bool
        Take ReLU and max pooling too, which cannot be evaluated on ciphertexts.

    Raises
    ------
    UnsupportedLayerError
        A layer cannot be evaluated on ciphertexts; the message says what to use in its place.
    UnsupportedError
        `forward` cannot be traced.
    """
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError("a TorchScript module cannot be traced: give the nn.Module that it was made from")
    while isinstance(module, torch.nn.DataParallel) or hasattr(module, "_orig_mod"):
        module = module.module if isinstance(module, torch.nn.DataParallel) else module._orig_mod
    with _evaluation_mode(module), torch.no_grad():
        return _Walk(traced(module, torch), input_shape, torch, plain).layers()


@contextmanager
def _evaluation_mode(module: Any) -> Iterator[None]:
    modes = [(inner, inner.training) for inner in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for inner, training in modes:
            inner.training = training


def traced(module: Any, torch: Any) -> Any:
    """A module as torch.fx sees it, as a GraphModule.

    Raises
    ------
    UnsupportedError
        Its `forward` is no straight line.
    """

    class Tracer(torch.fx.Tracer):  # type: ignore[misc]
        def is_leaf_module(self, inner: Any, name: str) -> bool:
            return type(inner).__module__ == "pycrcnn.nn" or super().is_leaf_module(inner, name)

    tracer = Tracer()
    # A single layer has no forward to look into: it is traced as a Sequential of itself.
    root = torch.nn.Sequential(module) if tracer.is_leaf_module(module, "") else module
    try:
        return torch.fx.GraphModule(root, tracer.trace(root))
    except PyCrCNNError:
        raise
    except Exception as error:  # forward is the user's code, and may raise anything
        raise UnsupportedError(
            f"model: torch.fx cannot trace {type(module).__name__}.forward ({error}). It must be a straight line: no "
            "branches or loops that depend on the values or the shape of its input"
        ) from error


class _Walk:
    """Goes through the nodes of a traced module, with a `Value` for every tensor that depends on its input."""

    def __init__(self, traced: Any, input_shape: tuple[int, ...], torch: Any, plain: bool) -> None:
        self._traced = traced
        self._conversions = {**_MODULES, **_PLAIN} if plain else _MODULES
        self._torch = torch
        self._graph = Graph(input_shape)
        self._modules = dict(traced.named_modules(remove_duplicate=False))
        self._values: dict[Any, Any] = {}
        self._inputs = 0

    def layers(self) -> tuple[Layer, ...]:
        for node in self._traced.graph.nodes:
            self._graph.place = _place(node)
            if node.op == "output":
                answer = self._torch.fx.node.map_arg(node.args[0], self._values.__getitem__)
                if not isinstance(answer, Value):
                    raise UnsupportedError(f"model: it must return one tensor, not {_described(answer)}")
                return answer.layers()
            self._values[node] = getattr(self, f"_{node.op}")(node)
        raise UnsupportedError("model: its forward returns nothing")

    def _placeholder(self, node: Any) -> Any:
        self._inputs += 1
        if self._inputs == 1:
            return self._graph.image
        if node.args:  # the default of an optional argument
            return node.args[0]
        raise UnsupportedError(f"model: its forward takes more than one tensor ({node.target}); only one is supported")

    def _get_attr(self, node: Any) -> Any:
        found = self._traced
        for part in node.target.split("."):
            found = getattr(found, part)
        return found

    def _call_module(self, node: Any) -> Any:
        module = self._modules[node.target]
        args, kwargs = self._arguments(node)
        values = [each for each in _flat((args, kwargs)) if isinstance(each, Value)]
        if not values:
            return module(*args, **kwargs)
        cls = self._torch.nn.utils.parametrize.type_before_parametrizations(module)
        if len(args) + len(kwargs) != 1:
            raise unsupported(self._graph.place, cls.__name__, "it takes more than one argument")
        if module._forward_hooks or module._forward_pre_hooks:
            raise self._graph.refuse("it has forward hooks, which are not followed", "remove them, or write a module")
        convert = self._conversions.get(f"{cls.__module__.split('.modules.')[0]}.{cls.__name__}")
        if convert is None:
            quantised = "quantised" if "quant" in cls.__module__ or ".qat" in cls.__module__ else ""
            raise unsupported(self._graph.place, f"Quantized{cls.__name__}" if quantised else cls.__name__, quantised)
        return convert(values[0], module)

    def _call_function(self, node: Any) -> Any:
        home, name = getattr(node.target, "__module__", None), getattr(node.target, "__name__", str(node.target))
        known = home is None or home.split(".")[0] in ("torch", "_operator", "operator", "builtins", "math")
        return self._call(node, name, node.target, name if known else "")

    def _call_method(self, node: Any) -> Any:
        return self._call(node, node.target, None, node.target)

    def _call(self, node: Any, name: str, function: Callable[..., Any] | None, key: str) -> Any:
        args, kwargs = self._arguments(node)
        symbolic = [each for each in _flat((args, kwargs)) if isinstance(each, Value | Sizes) or each is BATCH]
        if not symbolic:
            return function(*args, **kwargs) if function else getattr(args[0], name)(*args[1:], **kwargs)
        if key != "getitem" and not any(isinstance(each, Value) for each in symbolic):
            raise self._graph.refuse(f"{name} of the batch size", "compute with fixed sizes")
        in_place = key.endswith("_") or (function is not None and key in ("iadd", "isub", "imul", "itruediv"))
        convert = FUNCTIONS.get(key.rstrip("_"))
        if convert is None:
            raise unsupported(self._graph.place, name)
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        try:
            inspect.signature(convert).bind(*args, **kwargs)
        except TypeError as error:
            raise self._graph.refuse(
                f"{name} with these arguments is not supported ({error})", "leave them out"
            ) from None
        result = convert(*args, **kwargs)
        if in_place and isinstance(args[0], Value):
            self._overwrite(args[0], result)
        return result

    def _overwrite(self, old: Value, new: Value) -> None:
        """What named the old value names the new one."""
        self._values.update({node: new for node, value in self._values.items() if value is old})

    def _arguments(self, node: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = self._torch.fx.node.map_arg((node.args, node.kwargs), self._values.__getitem__)
        return tuple(args), dict(kwargs)


def _flat(values: Any) -> Iterator[Any]:
    if isinstance(values, dict):
        values = tuple(values.values())
    if isinstance(values, tuple | list):
        for value in values:
            yield from _flat(value)
    else:
        yield values


def _place(node: Any) -> str:
    """The qualified name of the module in which a node is, and that of the operation."""
    if node.op == "call_module":
        return str(node.target)
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    owner = stack[-1][0] if stack else ""
    return f"{owner}.{node.name}" if owner else str(node.name)


def _described(answer: Any) -> str:
    return f"{len(answer)} values" if isinstance(answer, tuple | list | dict) else type(answer).__name__


# Modules of torch.nn and pycrcnn.nn.


def _convolution(x: Value, module: Any) -> Value:
    if module.padding_mode != "zeros":
        raise x.graph.refuse(f"padding_mode={module.padding_mode!r}", "replace it by padding with zeros, and retrain")
    function = FUNCTIONS[f"conv{len(module.kernel_size)}d"]
    result: Value = function(x, module.weight, module.bias, **hyperparameters(module, "stride padding dilation groups"))
    return result


def _batch_norm(x: Value, module: Any) -> Value:
    statistics = module.running_mean, module.running_var
    result: Value = FUNCTIONS["batch_norm"](x, *statistics, module.weight, module.bias, eps=module.eps)
    return result


def _by_function(name: str, options: str) -> Callable[[Value, Any], Any]:
    return lambda x, module: FUNCTIONS[name](x, **hyperparameters(module, options))


def _same(x: Value, _: Any) -> Value:
    return x


def _constant_pad(x: Value, module: Any) -> Any:
    return FUNCTIONS["pad"](x, module.padding, value=getattr(module, "value", 0.0))


def _recurrent(x: Value, module: Any) -> Value:
    tensors = {
        "weight": module.input.weight,
        "recurrent": module.recurrent.weight,
        "bias": module.input.bias,
        "coefficients": module.activation.coefficients,
    }
    return x.then("recurrent", **{name: real_array(f"layer {x.graph.place}", each) for name, each in tensors.items()})


def _blend(x: Value, module: Any) -> Value:
    raise x.graph.refuse(
        f"it is replaced by {module.share:.0%} only", "train the network by pycrcnn.train.fit, which finishes that"
    )


def _max_pool(x: Value, module: Any) -> Value:
    if (module.padding, module.dilation, module.ceil_mode) not in ((0, 1, False), ((0, 0), (1, 1), False)):
        raise x.graph.refuse("it pads, dilates or rounds up", "replace it by average pooling, and retrain")
    return x.then("max_pool2d", kernel=module.kernel_size, stride=module.stride)


_POOL = "kernel_size stride padding ceil_mode count_include_pad"
_CONVERSIONS: dict[str, Callable[[Value, Any], Any]] = {
    "Conv1d Conv2d": _convolution,
    "BatchNorm1d BatchNorm2d": _batch_norm,
    "Linear": lambda x, module: FUNCTIONS["linear"](x, module.weight, module.bias),
    "AvgPool1d": _by_function("avg_pool1d", _POOL),
    "AvgPool2d": _by_function("avg_pool2d", f"{_POOL} divisor_override"),
    "AdaptiveAvgPool1d": _by_function("adaptive_avg_pool1d", "output_size"),
    "AdaptiveAvgPool2d": _by_function("adaptive_avg_pool2d", "output_size"),
    "Flatten": _by_function("flatten", "start_dim end_dim"),
    "Unflatten": lambda x, module: FUNCTIONS["unflatten"](x, module.dim, module.unflattened_size),
    "ZeroPad1d ZeroPad2d ConstantPad1d ConstantPad2d": _constant_pad,
    "Identity Dropout Dropout1d Dropout2d AlphaDropout FeatureAlphaDropout": _same,
    "Softmax": _by_function("softmax", "dim"),
    "LogSoftmax": _by_function("log_softmax", "dim"),
    "Softmax2d": lambda x, _: FUNCTIONS["softmax"](x, -3),
    "Sigmoid": lambda x, _: FUNCTIONS["sigmoid"](x),
}
_MODULES = {f"torch.nn.{name}": convert for names, convert in _CONVERSIONS.items() for name in names.split()}
_MODULES["pycrcnn.nn.Square"] = lambda x, _: x.power(2)
_MODULES["pycrcnn.nn.Polynomial"] = lambda x, module: FUNCTIONS["polynomial"](x, module.coefficients)
_MODULES["pycrcnn.nn.Blend"] = _blend
_MODULES["pycrcnn.nn.Recurrent"] = _recurrent
#: Of plain networks.
_PLAIN = {"torch.nn.ReLU": lambda x, _: x.then("relu"), "torch.nn.MaxPool2d": _max_pool}
