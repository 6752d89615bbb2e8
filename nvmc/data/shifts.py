"""Images that are not what a network was trained on: turned, or under noise.

The two experiments of Ahmed et al., Inverted Normalization, DATE 2024, Sec. IV-E. The paper names
12 steps of 7 degrees; it gives no strengths of the noise, so these are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.data.dataset import IGNORED, Labels
from nvmc.errors import DataError, OptionError, unknown
from nvmc.rng import stream

__all__ = ["KINDS", "Kind", "Shift", "shifted", "shifted_labels", "shifts_for"]

Kind = Literal["rotation", "noise"]
KINDS: tuple[Kind, ...] = ("rotation", "noise")

ANGLES = tuple(7.0 * step for step in range(1, 13))
"""Degrees."""
AMPLITUDES = tuple(step / 10 for step in range(1, 11))
"""Shares of the range that the data span."""


@dataclass(frozen=True)
class Shift:
    """One way in which images are moved away from the data.

    Attributes:
        kind: `rotation`, `noise`, or `none`.
        strength: Degrees, or the largest noise as a share of the range of the data.
    """

    kind: Literal["none", "rotation", "noise"]
    strength: float


def shifts_for(
    x: NDArray[Any], kinds: Sequence[str] | None = None, y: Labels | None = None
) -> list[Shift]:
    """The data as they are, then every strength of each kind.

    Args:
        x: Images along the first axis.
        kinds: Of `KINDS`; by default those that the data allow: only images of shape
            (N, channels, rows, columns) can be turned, and of labels one an image, or maps of the
            images' proportions.
        y: Their labels.

    Raises:
        OptionError: A kind is unknown.
        DataError: The data cannot be turned.
    """
    images = x.ndim == 4 and _turns(x, y)
    chosen = list(KINDS if images else KINDS[1:]) if kinds is None else list(kinds)
    for kind in chosen:
        if kind not in KINDS:
            raise OptionError(unknown("shift", kind, KINDS))
    if "rotation" in chosen and not images and x.ndim == 4 and y is not None:
        raise DataError(
            f"labels of shape {list(y.shape[1:])} per image cannot be turned with images of "
            f"{x.shape[2]} x {x.shape[3]}; expected one per image, or a map of the same "
            "proportions: leave the rotation out"
        )
    if "rotation" in chosen and not images:
        raise DataError(
            f"inputs of shape {list(x.shape[1:])} cannot be turned; expected channels, rows and "
            "columns: leave the rotation out"
        )
    strengths = {"rotation": ANGLES, "noise": AMPLITUDES}
    found = [Shift("none", 0.0)]
    for kind in KINDS:
        if kind in chosen:
            found += [Shift(kind, strength) for strength in strengths[kind]]
    return found


def _turns(x: NDArray[Any], y: Labels | None) -> bool:
    """Whether labels stay what they are, or turn, as images do."""
    sizes = () if y is None else tuple(size for size in y.shape[1:] if size != 1)
    return not sizes or (len(sizes) == 2 and sizes[0] * x.shape[3] == sizes[1] * x.shape[2])


def shifted_labels(y: NDArray[np.integer[Any]], shift: Shift) -> NDArray[np.integer[Any]]:
    """Labels of shifted images: maps turn as `shifted` turns images, to the nearest pixel.

    What comes in from outside the map has no label: it is `IGNORED`, and counts for nothing.
    """
    if shift.kind != "rotation" or shift.strength == 0 or y[0].size == 1:
        return y
    rows, columns = (axis for axis in range(1, y.ndim) if y.shape[axis] != 1)
    axes = (columns, rows)
    return _rotated(y, shift.strength, axes, 0, IGNORED)


def shifted(x: NDArray[Any], shift: Shift, seed: int = 0) -> NDArray[Any]:
    """Shifted images, of the shape and type of `x`.

    Rotation: about the centre, counterclockwise as rows point down, bilinear
    (`scipy.ndimage.rotate`, order 1); what comes in from outside is the smallest value of `x`.
    Noise: x + a r u with u uniform in [-1, 1), a the strength and r the range max x - min x, not
    clipped. An image's u depend on `seed` and its number only, so a stronger noise is the same
    noise, stronger.
    """
    low, high = float(x.min()), float(x.max())
    if shift.kind == "none" or shift.strength == 0:
        return x
    if shift.kind == "rotation":
        turned = _rotated(x, shift.strength, (3, 2), 1, low)
        return np.ascontiguousarray(turned, dtype=x.dtype)
    uniform = stream(seed, 0, "shift", "noise").random(x.shape, dtype=np.float32)
    noise = np.float32(shift.strength * (high - low)) * (2 * uniform - 1)
    return (x + noise).astype(x.dtype)


def _rotated(
    x: NDArray[Any], degrees: float, axes: tuple[int, int], order: int, outside: float
) -> Any:
    """`x` turned in the plane of two axes; its size stays."""
    from scipy import ndimage  # most commands turn nothing, and would wait for its import

    turn = cast(Any, ndimage).rotate  # its types are incomplete
    return turn(x, degrees, axes=axes, reshape=False, order=order, mode="constant", cval=outside)
