"""Sampling of images along grids, as spatial transformers do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

__all__ = ["affine_grid", "grid_sample", "unknown_sampling"]

_MODES = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "cubic": "bicubic",
    "bicubic": "bicubic",
    "nearest": "nearest",
}


def grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    """GridSample of x (N, C, H, W) or, linear and nearest only, (N, C, D, H, W)."""
    return F.grid_sample(x, grid, _MODES[mode], padding_mode, bool(align_corners))


def unknown_sampling(settings: Mapping[str, Any]) -> str | None:
    """Why a GridSample is not supported."""
    mode = settings.get("mode", "linear")
    return None if mode in _MODES else f"mode {mode!r} is unknown"


def affine_grid(theta: Tensor, size: Sequence[int], *, align_corners: int = 0) -> Tensor:
    """AffineGrid: theta (N, 2, 3) for size (N, C, H, W), (N, 3, 4) for (N, C, D, H, W)."""
    return F.affine_grid(theta, list(size), bool(align_corners))
