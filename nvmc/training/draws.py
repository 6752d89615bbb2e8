"""Random streams in torch: named, so that where a run stopped does not matter."""

from __future__ import annotations

import torch
from torch import Tensor

from nvmc.rng import stream

__all__ = ["TorchDraw", "named_generator"]


def named_generator(
    seed: int, *names: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The generator called (seed, names…); the same name gives the same numbers.

    Args:
        seed: Of the run.
        names: What the numbers are for.
        device: Where they are drawn; numbers differ between kinds of device.
    """
    key = int(stream(seed, 0, "training", *map(str, names)).integers(2**63))
    return torch.Generator(device).manual_seed(key)


class TorchDraw:
    """Standard draws for noise sources (`sources.base.Draws`) from a torch generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normals, float32."""
        return torch.randn(shape, generator=self._generator, device=self._generator.device)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniforms in [0, 1), float64: a small probability is met."""
        return torch.rand(
            shape,
            generator=self._generator,
            device=self._generator.device,
            dtype=torch.float64,
        )
