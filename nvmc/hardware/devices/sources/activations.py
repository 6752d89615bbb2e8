"""Noise of activations: what a binary network's cells do to the sums that Sign decides on."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from nvmc.hardware.devices.sources.base import GaussianSource, Stage

__all__ = ["Activation"]


def _as_globs(value: Any) -> Any:
    """A single pattern, as `--noise` and TOML may write it, as a tuple."""
    return tuple(part.strip() for part in value.split(";")) if isinstance(value, str) else value


Globs = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_as_globs),
    Field(min_length=1),
]


class Activation(GaussianSource, frozen=True):
    """x + N(0, sigma), or x (1 + N(0, sigma)), at named places of the network.

    Source: Ahmed et al., inverted normalization, IV-A2: in binary networks additive and
    multiplicative variation is injected "into normalized activations before applying the Sign
    function". The activations are normalised, so sigma is in their own unit.

    Every number is drawn anew for every element, image, chip and stochastic pass. The ideal chip
    has none. It acts on no cell: `nvmc.passes.vary_activations` finds its places in a network.

    Attributes:
        law: `additive` or `multiplicative`.
        at: Globs over the names of nodes and of arrays (crossbar weights): the noise is on what
            enters these nodes, and the layers of these arrays. None for every Sign.
    """

    stage: ClassVar[Stage] = "activation"
    type: Literal["activation"] = "activation"
    law: Literal["additive", "multiplicative"] = "additive"
    at: Globs | None = None

    @property
    def pointwise(self) -> bool:
        """It draws nothing for cells."""
        return True

    def factor(self, normals: Any) -> Any:
        """What the network adds at a place (`additive`), or adds after a product with x.

        Args:
            normals: Standard normals in the shape of the activations.
        """
        return self.strength * normals
