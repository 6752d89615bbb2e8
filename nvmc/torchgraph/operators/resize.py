"""Resize and Upsample: each axis by a matrix of its own, or by torch where torch has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nvmc.budget import check_room

__all__ = ["resize", "unknown_resize", "upsample"]

Floats = Sequence[float]
Array = NDArray[Any]
_FLOAT, _TAPS = 8, 6
"""Bytes of a float64, and arrays of one for each place and tap while weights are computed."""
_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
_COORDINATES = frozenset(
    """align_corners asymmetric half_pixel half_pixel_symmetric pytorch_half_pixel
    tf_crop_and_resize tf_half_pixel_for_nn""".split()
)


@dataclass(frozen=True)
class _Rule:
    """How places in the output lie in the input, and what is made of what lies there.

    Attributes:
        mode: `nearest`, `linear` or `cubic`.
        coordinates: The coordinate transformation mode.
        nearest: How `nearest` rounds.
        cubic: Coefficient a of the cubic.
        exclude_outside: Whether weights outside the input are left out.
        antialias: Whether the filter widens when sizes shrink.
        extrapolation: The number outside, in mode `tf_crop_and_resize`.
    """

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool
    extrapolation: float


@dataclass(frozen=True)
class _Axis:
    """One axis to resize: its number, sizes, scale and region of interest."""

    number: int
    size: int
    out: int
    scale: float
    roi: tuple[float, float]


def resize(
    x: Tensor,
    first: Floats | None = None,
    second: Floats | None = None,
    sizes: Sequence[int] | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    opset: int,
) -> Tensor:
    """Resize; before opset 11 its inputs are x and scales, from then on x, roi, scales, sizes."""
    if opset < 11:
        return upsample(x, first, mode=mode)
    rule = _Rule(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias),
        extrapolation_value,
    )
    chosen = range(x.dim()) if axes is None else [axis % x.dim() for axis in axes]
    return _resized(x, _plan(x, chosen, first, second, sizes, keep_aspect_ratio_policy), rule)


def upsample(
    x: Tensor, given: Floats | None = None, *, mode: str = "nearest", scales: Floats | None = None
) -> Tensor:
    """Upsample, and Resize of opset 10."""
    rule = _Rule(mode, "asymmetric", "floor", -0.75, False, False, 0.0)
    plan = _plan(x, range(x.dim()), None, given if given is not None else scales, None, "stretch")
    return _resized(x, plan, rule)


def unknown_resize(settings: Mapping[str, Any]) -> str | None:
    """Why a Resize is not supported."""
    mode = settings.get("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        return f"mode {mode!r} is unknown"
    coordinates = settings.get("coordinate_transformation_mode", "half_pixel")
    return None if coordinates in _COORDINATES else f"coordinates {coordinates!r} are unknown"


def _plan(
    x: Tensor,
    axes: Sequence[int],
    roi: Floats | None,
    scales: Floats | None,
    sizes: Sequence[int] | None,
    policy: str,
) -> list[_Axis]:
    """The axes that change, with their new sizes."""
    n = len(axes)
    if sizes:
        ratios = [wanted / x.shape[axis] for axis, wanted in zip(axes, sizes, strict=True)]
        if policy != "stretch":
            common = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [common] * n
            sizes = [int(common * x.shape[axis] + 0.5) for axis in axes]
    else:
        ratios = list(scales or (1.0,) * n)
        sizes = [int(np.floor(x.shape[a] * r)) for a, r in zip(axes, ratios, strict=True)]
    found: list[_Axis] = []
    for i, axis in enumerate(axes):
        region = (roi[i], roi[i + n]) if roi else (0.0, 1.0)
        if ratios[i] != 1 or sizes[i] != x.shape[axis] or region != (0.0, 1.0):
            found.append(_Axis(axis, x.shape[axis], sizes[i], ratios[i], region))
    return found


def _resized(x: Tensor, axes: list[_Axis], rule: _Rule) -> Tensor:
    options = _torch_options(x, axes, rule)
    if options is not None:
        sizes = {axis.number: axis.out for axis in axes}
        size = [sizes.get(i, x.shape[i]) for i in range(2, x.dim())]
        return F.interpolate(x, size, **options)
    if rule.mode == "nearest":
        for axis in axes:
            index = torch.from_numpy(_nearest(axis, rule)).to(x.device)
            x = x.index_select(axis.number, index)
    else:
        for axis in axes:
            matrix = torch.from_numpy(_matrix(axis, rule)).to(x)
            x = (x.movedim(axis.number, -1) @ matrix.t()).movedim(-1, axis.number)
    return _extrapolated(x, axes, rule)


def _torch_options(x: Tensor, axes: list[_Axis], rule: _Rule) -> dict[str, Any] | None:
    """How `interpolate` does the same; None where it does not."""
    exact = all(a.number >= 2 and a.out == a.size * a.scale for a in axes)
    plain = not rule.antialias and not rule.exclude_outside and x.is_floating_point()
    if x.dim() not in _LINEAR or not exact or not plain:
        return None
    if rule.mode == "nearest":
        same = rule.coordinates == "asymmetric" and rule.nearest == "floor"
        return {"mode": "nearest"} if same else None
    if rule.mode == "linear" and rule.coordinates in ("half_pixel", "align_corners"):
        return {
            "mode": _LINEAR[x.dim()],
            "align_corners": rule.coordinates == "align_corners",
        }
    return None


def _places(axis: _Axis, rule: _Rule) -> Array:
    """Where in the input each place of the output lies."""
    i = np.arange(axis.out, dtype=np.float64)
    n, out, scale = axis.size, axis.out, axis.scale
    centers = (i + 0.5) / scale - 0.5
    match rule.coordinates:
        case "asymmetric":
            return i / scale
        case "align_corners":
            return i * (n - 1) / (out - 1) if out > 1 else i * 0
        case "pytorch_half_pixel":
            return centers if out > 1 else i * 0
        case "tf_half_pixel_for_nn":
            return (i + 0.5) / scale
        case "half_pixel_symmetric":
            return n / 2 * (1 - out / (n * scale)) + centers
        case "tf_crop_and_resize":
            start, end = axis.roi
            if out == 1:
                return i * 0 + 0.5 * (start + end) * (n - 1)
            return start * (n - 1) + i * (end - start) * (n - 1) / (out - 1)
        case _:
            return centers


def _nearest(axis: _Axis, rule: _Rule) -> Array:
    places = _places(axis, rule)
    rounded = {
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
        "floor": np.floor(places),
        "ceil": np.ceil(places),
    }[rule.nearest]
    return rounded.clip(0, axis.size - 1).astype(np.int64)


def _matrix(axis: _Axis, rule: _Rule) -> Array:
    """The weights (out, size) of linear or cubic interpolation; the edge goes on outside."""
    places = _places(axis, rule)
    first = np.floor(places)
    shrink = min(axis.scale, 1.0) if rule.antialias else 1.0
    reach = 1 if rule.mode == "linear" else 2
    start = int(np.floor(-reach / shrink)) + 1
    check_room(
        f"a Resize from {axis.size:,} to {axis.out:,} places",
        _FLOAT * axis.out * (axis.size + _TAPS * (2 - 2 * start)),
    )
    taps = np.arange(start, 2 - start)
    distance = (taps - (places - first)[:, None]) * shrink
    weights = _tent(distance) if reach == 1 else _cubic(distance, rule.cubic)
    index = (first[:, None] + taps).astype(np.int64)
    if rule.exclude_outside:
        weights = np.where((index < 0) | (index >= axis.size), 0.0, weights)
    weights = weights / weights.sum(1, keepdims=True)
    matrix = np.zeros((axis.out, axis.size))
    rows = np.broadcast_to(np.arange(axis.out)[:, None], index.shape)
    np.add.at(matrix, (rows, index.clip(0, axis.size - 1)), weights)
    return matrix


def _tent(distance: Array) -> Array:
    return np.clip(1 - np.abs(distance), 0, 1)


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic convolution kernel (IEEE Trans. ASSP 29, 1981)."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _extrapolated(x: Tensor, axes: list[_Axis], rule: _Rule) -> Tensor:
    if rule.coordinates != "tf_crop_and_resize":
        return x
    for axis in axes:
        places = _places(axis, rule)
        outside = torch.from_numpy((places < 0) | (places > axis.size - 1)).to(x.device)
        shape = [1] * x.dim()
        shape[axis.number] = -1
        x = torch.where(outside.reshape(shape), rule.extrapolation, x)
    return x
