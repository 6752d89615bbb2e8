"""Weights that the network computes from others: what is trained is what they are computed from.

`nvmc compile` folds W = sign(V) * alpha into a constant. In training V stays the weight: its graph
is kept beside the folded network and run in torch in every step, with an estimator for the steps
that have no gradient, so that what comes out is of the source's form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nvmc.errors import OptionError, TrainingError
from nvmc.passes.canonicalize import OPSET
from nvmc.passes.fold_constants import VIEWS, Fold
from nvmc.passes.graph.mappable import FLOATS, layers_of
from nvmc.passes.widen_floats import HALVES, widen_floats
from nvmc.torchgraph.graph import Graph
from nvmc.torchgraph.operators.straight import straight
from nvmc.training.bounds import Bound, Leaves, learned_bounds

__all__ = [
    "Computed",
    "ComputedWeight",
    "Estimator",
    "Weights",
    "begun",
    "computed_weights",
    "digest_of",
]

_BESIDE = {
    "Clip": (1, 2),
    "DequantizeLinear": (1, 2),
    "Pow": (1,),
    "QuantizeLinear": (1, 2),
}
"""Operands that set how a weight is computed, and are not trained: bounds, steps, exponents."""
EDE = (0.1, 10.0)
"""T_min and T_max of IR-Net, Eq. 10."""


@dataclass(frozen=True)
class ComputedWeight:
    """A layer's weight as the source computes it.

    Attributes:
        name: Of the weight in the canonical network.
        model: The graph that computes it, whose inputs are the latent weights.
        latent: Their values, by their names in the source.
        operators: What computes it, each once.
        bounds: Those of the latent weights that are learned bounds or steps.
        held: Nodes of the model, with an operand that no gradient passes (`Graph.of`).
        stops: Nodes of the network, with this as an operand that no gradient passes.
        kinds: Of the bounds, `PACT` or `LSQ`.
    """

    name: str
    model: ir.Model
    latent: Mapping[str, NDArray[Any]]
    operators: tuple[str, ...]
    bounds: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    held: tuple[tuple[str, int], ...] = ()
    stops: tuple[tuple[str, int], ...] = ()

    @property
    def is_weight(self) -> bool:
        """Whether it is a layer's weight, not just a bound or what is computed from bounds."""
        return len(self.latent) > len(self.bounds)


class Estimator:
    """The gradient of Sign: straight-through within -1 and 1, or IR-Net's.

    Error decay estimator (Qin et al., CVPR 2020, Eq. 9 and 10): the gradient is that of
    k tanh(t x), t = T_min (T_max / T_min)^progress, k = max(1/t, 1): nearly the identity at first,
    and the sign's own at last.

    Attributes:
        progress: Share of the run that is done.
    """

    def __init__(self) -> None:
        self.progress = 0.0

    def sign(self, x: Tensor) -> Tensor:
        """Sign."""
        low, high = EDE
        t = low * (high / low) ** self.progress
        return straight(max(1 / t, 1.0) * torch.tanh(t * x), torch.sign(x))


class Computed(nn.Module):
    """The computed weights of a network in training.

    Args:
        weights: What is computed, of those that the network has.
        instead: Other functions for some operators (`Graph.of`).
    """

    def __init__(
        self, weights: Sequence[ComputedWeight], instead: Mapping[str, Callable[..., Any]]
    ) -> None:
        super().__init__()
        self._weights = {weight.name: weight for weight in weights}
        self._graphs = nn.ModuleDict()
        self._fields: dict[str, str] = {}
        for weight in weights:
            model = weight.model.clone()
            widen_floats(model, HALVES)
            self._graphs[str(len(self._graphs))] = Graph.of(model, instead, held=weight.held)
            for name, value in weight.latent.items():
                if name not in self._fields:
                    self._fields[name] = f"latent{len(self._fields)}"
                    wide = np.asarray(value, np.result_type(value.dtype, np.float32))
                    latent = nn.Parameter(torch.tensor(wide))
                    self.register_parameter(self._fields[name], latent)

    @property
    def names(self) -> tuple[str, ...]:
        """The weights that are computed, by their names in the canonical network."""
        return tuple(self._weights)

    @property
    def bounds(self) -> dict[str, str]:
        """Learned bounds and steps by their names in the source, with their kind."""
        return {
            name: kind
            for weight in self._weights.values()
            for name, kind in zip(weight.bounds, weight.kinds, strict=True)
        }

    @property
    def latent(self) -> dict[str, nn.Parameter]:
        """What is trained, by its name in the source."""
        return {name: self.get_parameter(field) for name, field in self._fields.items()}

    @contextmanager
    def within_half(self) -> Generator[None]:
        """In the block, an optimiser's step at most halves a learned bound: it stays positive."""
        latent = self.latent
        before = [(latent[name], latent[name].detach() / 2) for name in self.bounds]
        yield
        with torch.no_grad():
            for bound, half in before:
                bound.copy_(torch.maximum(bound, half))

    def value(self, name: str) -> Tensor:
        """A weight as the latent ones now give it, with their gradient."""
        graph: Any = self._graphs[str(self.names.index(name))]
        return graph({latent: self.latent[latent] for latent in self._weights[name].latent})

    def factors(self) -> dict[str, NDArray[Any]]:
        """What the steps of weights with one learned bound have been multiplied by, by name."""
        found: dict[str, NDArray[Any]] = {}
        for weight in self._weights.values():
            if weight.is_weight and len(weight.bounds) == 1:
                (name,) = weight.bounds
                now = self.latent[name].detach().cpu().numpy()
                factor = now / weight.latent[name].astype(now.dtype)
                found[weight.name] = factor.reshape(()) if factor.size == 1 else factor
        return found

    def values(self) -> dict[str, NDArray[Any]]:
        """Every weight as it is now, by name."""
        with torch.no_grad():
            return {name: self.value(name).detach().cpu().numpy() for name in self.names}


class Weights(Mapping[str, Tensor]):
    """Trained weights and computed ones by their names in the canonical network."""

    def __init__(self, trained: Mapping[str, nn.Parameter], computed: Computed) -> None:
        self._trained, self._computed = trained, computed

    def __getitem__(self, name: str) -> Tensor:
        return self._computed.value(name) if name in self._computed.names else self._trained[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._trained)

    def __len__(self) -> int:
        return len(self._trained)

    def __contains__(self, name: object) -> bool:
        return name in self._trained


def computed_weights(model: ir.Model, folds: Sequence[Fold]) -> list[ComputedWeight]:
    """The layers' weights that were computed from others when the network was canonicalised.

    Weights that were only moved or converted are none, nor are those that torch cannot compute:
    these are trained as the numbers they are. Learned bounds and steps are among them, and all
    constants that are computed from these.

    Args:
        model: The canonical network.
        folds: What `Canonicalize` noted.
    """
    bounds, leaves = learned_bounds(model, folds), Leaves(folds)
    made = {str(value.name): value for fold in folds for value in fold.outputs}
    producers = {value: fold for fold in folds for value in fold.outputs}
    names = {str(weight.source.name) for layer in layers_of(model) for weight in layer.weights}
    wanted = {name: made[name] for name in sorted(names & made.keys())}
    for name, value in sorted(model.graph.initializers.items()):
        if value.uses() and not bounds.keys().isdisjoint(leaves.of(value)):
            wanted.setdefault(name, value)
    while True:
        found = {
            value: _computed(value, producers, bounds, name in names)
            for name, value in wanted.items()
        }
        # A bound is trained everywhere or nowhere.
        lost = {leaf for value, one in found.items() if one is None for leaf in leaves.of(value)}
        if lost.isdisjoint(bounds):
            return [weight for weight in found.values() if weight is not None]
        bounds = {leaf: bound for leaf, bound in bounds.items() if leaf not in lost}
        wanted = {n: v for n, v in wanted.items() if n in made or not lost & leaves.of(v)}


def begun(weights: Sequence[ComputedWeight], model: ir.Model, random: bool) -> list[ComputedWeight]:
    """Those that a prepared network still has; with new latent weights where it has new ones.

    Raises:
        OptionError: No latent weight is of the shape of a new one.
    """
    kept = [weight for weight in weights if weight.name in model.graph.initializers]
    return [_anew(weight, model) if random and weight.is_weight else weight for weight in kept]


def digest_of(weights: Sequence[ComputedWeight]) -> str:
    """Of all latent weights, which the canonical network does not show."""
    digest = hashlib.sha256()
    for weight in weights:
        for name, value in weight.latent.items():
            digest.update(f"{weight.name} {name} {weight.operators}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


def _anew(weight: ComputedWeight, model: ir.Model) -> ComputedWeight:
    tensor = model.graph.initializers[weight.name].const_value
    assert tensor is not None
    array = tensor.numpy()
    weights = {name: one for name, one in weight.latent.items() if name not in weight.bounds}
    like = [name for name, value in weights.items() if value.shape == array.shape]
    if not like:
        raise OptionError(
            f"weight {weight.name!r} is computed from {', '.join(weight.latent)}, none of its "
            "shape, so nvmc cannot draw new values for them; use --init keep"
        )
    return replace(weight, latent={**weight.latent, like[0]: array.copy()})


def _computed(
    value: ir.Value,
    producers: Mapping[ir.Value, Fold],
    bounds: Mapping[ir.Value, Bound],
    weight: bool,
) -> ComputedWeight | None:
    folds = _behind(value, producers)
    operators = tuple(dict.fromkeys(fold.op for fold in folds))
    leaves = [one for fold in folds for one in fold.inputs if one and one not in producers]
    leaves = list(dict.fromkeys(leaves or [value]))
    ours = [one for one in leaves if one in bounds]
    latent = [*ours, *(_latent(leaves, folds, ours) if weight else ())]
    if not latent or (not ours and set(operators) <= VIEWS - {"QuantizeLinear"}):
        return None
    model = _graph(value, folds, latent)
    try:
        Graph.of(model)
    except TrainingError:
        return None
    values = {str(one.name): _array(one) for one in latent}
    cut = {(id(one), at) for bound in bounds.values() for one, at in bound.held}
    held = tuple(
        (_node_name(number), at)
        for number, fold in enumerate(folds)
        for at in range(len(fold.inputs))
        if (id(fold), at) in cut
    )
    stops = tuple(
        (str(node.name), at)
        for one in ours
        for node, at in bounds[one].held
        if isinstance(node, ir.Node) and node.inputs[at] is value
    )
    names, kinds = tuple(str(one.name) for one in ours), tuple(bounds[one].kind for one in ours)
    name = str(value.name)
    return ComputedWeight(name, model, values, operators, names, kinds, held, stops)


def _behind(value: ir.Value, producers: Mapping[ir.Value, Fold]) -> list[Fold]:
    """The folds that a value comes from, in order."""
    needed: dict[int, Fold] = {}
    stack = [value]
    while stack:
        fold = producers.get(stack.pop())
        if fold is not None and id(fold) not in needed:
            needed[id(fold)] = fold
            stack += [one for one in fold.inputs if one is not None]
    return [fold for fold in dict.fromkeys(producers.values()) if id(fold) in needed]


def _latent(
    leaves: Sequence[ir.Value], folds: Sequence[Fold], bounds: Sequence[ir.Value]
) -> list[ir.Value]:
    """The constants that are trained, besides learned bounds.

    Floating-point ones of more than one number, but masks (zeros and ones), bounds, steps and
    exponents are not; of what is rounded, steps stand beside the largest operand of Mul and Div.
    """
    rounds = any(fold.op == "Round" for fold in folds)
    fixed = set(bounds)
    for fold in folds:
        fixed |= {one for i in _BESIDE.get(fold.op, ()) for one in fold.inputs[i : i + 1] if one}
        if rounds and fold.op in ("Add", "Div", "Mul", "Sub"):
            sizes = [0 if one is None else int(_array(one).size) for one in fold.inputs]
            data = sizes.index(max(sizes))
            fixed |= {one for i, one in enumerate(fold.inputs) if one and i != data}
    return [one for one in leaves if one not in fixed and _is_weight(one)]


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or tensor.dtype not in FLOATS or tensor.size < 2:
        return False
    numbers = tensor.numpy().astype(np.float64)
    return bool(np.isfinite(numbers).all()) and not bool(np.isin(numbers, (0, 1)).all())


def _array(value: ir.Value) -> NDArray[Any]:
    assert value.const_value is not None
    return value.const_value.numpy()


def _graph(value: ir.Value, folds: Sequence[Fold], latent: Sequence[ir.Value]) -> ir.Model:
    """A model of its own for what was folded."""
    values: dict[ir.Value, ir.Value] = {}
    for ones in (latent, *((*fold.inputs, *fold.outputs) for fold in folds)):
        for one in ones:
            if one is not None and one not in values:
                name = str(one.name) if one in latent else f"value {len(values)}"
                values[one] = ir.Value(name=name, shape=one.shape, type=one.type)
    outputs = {one for fold in folds for one in fold.outputs}
    constants = [one for one in values if one not in outputs and one not in latent]
    for one in constants:
        array = _array(one)
        values[one].const_value = ir.Tensor(array, name=values[one].name)
        values[one].shape = ir.Shape(array.shape)
        values[one].type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    nodes = [
        ir.Node(
            "",
            fold.op,
            [None if one is None else values[one] for one in fold.inputs],
            fold.attributes,
            outputs=[values[one] for one in fold.outputs],
            name=_node_name(number),
        )
        for number, fold in enumerate(folds)
    ]
    graph = ir.Graph(
        [values[one] for one in latent],
        [values[value]],
        nodes=nodes,
        initializers=[values[one] for one in constants],
        opset_imports={"": OPSET},
        name="computed",
    )
    return ir.Model(graph, ir_version=10)


def _node_name(number: int) -> str:
    return f"fold {number}"
