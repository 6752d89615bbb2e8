"""The activation functions of ONNX's recurrent operators, with their default alpha and beta."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


# name: function of (x, alpha, beta), default alpha, default beta; None where it has none
ACTIVATIONS: dict[str, tuple[Callable[[Real, float, float], Real], float | None, float | None]] = {
    "relu": (lambda x, a, b: np.maximum(x, 0), None, None),
    "tanh": (lambda x, a, b: np.tanh(x), None, None),
    "sigmoid": (_sigmoid, None, None),
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: np.where(x < 0, a * x, x), 0.01, None),
    "thresholdedrelu": (lambda x, a, b: np.where(x > a, x, 0), 1.0, None),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "hardsigmoid": (_hard_sigmoid, 0.2, 0.5),
    "elu": (lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), 1.0, None),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), None, None),
    "softplus": (_softplus, None, None),
}


def activations_of(
    attributes: Mapping[str, Any], defaults: Sequence[str], directions: int
) -> list[list[Activation]]:
    """The activation functions of a recurrent operator.

    `activation_alpha` and `activation_beta` are consumed, in order, by those functions that have
    an alpha or a beta, as onnxruntime does; where the list ends the function's default holds.

    Args:
        attributes: The operator's attributes.
        defaults: The functions of one direction when the attribute is absent.
        directions: 1 or 2.

    Returns:
        For each role (f, g, h) one function per direction.

    Raises:
        ModelError: A function is unknown, or there are too few or too many.
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


def _activation(name: str, alphas: Any, betas: Any) -> Activation:
    if name.lower() not in ACTIVATIONS:
        raise ModelError(f"activation {name!r} is unknown; expected one of {sorted(ACTIVATIONS)}")
    function, alpha, beta = ACTIVATIONS[name.lower()]
    a = 0.0 if alpha is None else float(next(alphas, alpha))
    b = 0.0 if beta is None else float(next(betas, beta))
    return lambda x: function(x, a, b)
