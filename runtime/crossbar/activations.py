"""The activation functions of ONNX's recurrent operators, with their default alpha and beta."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import ModelError

__all__ = ["ACTIVATIONS", "Activation", "activations_of"]

Real = NDArray[np.floating[Any]]
Activation = Callable[[Real], Real]


def _sigmoid(x: Real, _alpha: float, _beta: float) -> Real:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _softplus(x: Real, _alpha: float, _beta: float) -> Real:
    return np.logaddexp(x, np.zeros_like(x))


def _hard_sigmoid(x: Real, alpha: float, beta: float) -> Real:
    return np.clip(alpha * x + beta, 0, 1)


_Function = Callable[[Real, float, float], Real]

# name: function of (x, alpha, beta), and the default of each that it has; None where it must be
# given: there ONNX's operator has 1 and onnxruntime 0, or ONNX says nothing
ACTIVATIONS: dict[str, tuple[_Function, tuple[float | None, ...]]] = {
    "relu": (lambda x, a, b: np.maximum(x, 0), ()),
    "tanh": (lambda x, a, b: np.tanh(x), ()),
    "sigmoid": (_sigmoid, ()),
    "affine": (lambda x, a, b: a * x + b, (None, 0.0)),
    "leakyrelu": (lambda x, a, b: np.where(x < 0, a * x, x), (0.01,)),
    "thresholdedrelu": (lambda x, a, b: np.where(x > a, x, 0), (None,)),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), (None, None)),
    "hardsigmoid": (_hard_sigmoid, (0.2, 0.5)),
    "elu": (lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), (1.0,)),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), ()),
    "softplus": (_softplus, ()),
}


def activations_of(
    attributes: Mapping[str, Any], defaults: Sequence[str], directions: int
) -> list[list[Activation]]:
    """The activation functions of a recurrent operator.

    `activation_alpha` and `activation_beta` are consumed, in order, by those functions that have
    an alpha or a beta, as onnxruntime does; where a list ends the function's default holds.

    Args:
        attributes: The operator's attributes.
        defaults: The functions of one direction when the attribute is absent.
        directions: 1 or 2.

    Returns:
        For each role (f, g, h) one function per direction.

    Raises:
        ModelError: A function is unknown or lacks a parameter, or there are too few or too many.
    """
    names = list(attributes.get("activations", [*defaults] * directions))
    if len(names) != len(defaults) * directions:
        raise ModelError(
            f"activations are {names}; expected {len(defaults)} for each of {directions} directions"
        )
    alphas = iter(attributes.get("activation_alpha", ()))
    betas = iter(attributes.get("activation_beta", ()))
    functions = [_activation(name, alphas, betas) for name in names]
    return [functions[role :: len(defaults)] for role in range(len(defaults))]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    if name.lower() not in ACTIVATIONS:
        raise ModelError(f"activation {name!r} is unknown; expected one of {sorted(ACTIVATIONS)}")
    function, defaults = ACTIVATIONS[name.lower()]
    values = [next(given, value) for given, value in zip((alphas, betas), defaults, strict=False)]
    settled = [float(value) for value in values if value is not None]
    if len(settled) < len(values):
        raise ModelError(
            f"activation {name!r} has no default; expected its value in activation_alpha (and "
            "activation_beta): write it there"
        )
    a, b = (*settled, 0.0, 0.0)[:2]
    return lambda x: function(x, a, b)
