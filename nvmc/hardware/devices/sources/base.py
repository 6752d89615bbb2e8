"""What every noise source is, and what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol, cast

from nvmc.hardware.devices.numbers import Positive
from nvmc.hardware.options import CheckedModel

__all__ = ["Draws", "GaussianSource", "NoiseSource", "ReadLaw", "Stage", "stream_names"]

Stage = Literal["code", "cell", "weight", "read", "activation"]


class Draws(Protocol):
    """Standard draws in the namespace of the arrays that noise is applied to."""

    def normal(self, shape: tuple[int, ...]) -> Any:
        """Standard normals."""
        ...

    def uniform(self, shape: tuple[int, ...]) -> Any:
        """Uniforms in [0, 1); a probability is met to within their resolution."""
        ...


class ReadLaw(Protocol):
    """What every read of an array's cells adds anew."""

    def spread(self, levels: Any, cells: Any) -> Any:
        """Standard deviation of every cell in one read, an array like `levels`, in level steps."""
        ...


class NoiseSource(CheckedModel, extra="forbid", frozen=True):
    """Base of all sources. Fields are the options a device file may set."""

    stage: ClassVar[Stage]
    quantized_only: ClassVar[bool] = False
    type: str

    @property
    def acts_in(self) -> Stage:
        """Where it acts: `stage`, unless one of its fields decides."""
        return self.stage

    @property
    def active(self) -> bool:
        """Whether this source changes anything at its present strength, at any time."""
        raise NotImplementedError

    @property
    def pointwise(self) -> bool:
        """Whether `apply` draws one number per cell, or per weight, and looks at no other.

        Then a large array can be programmed in blocks (`nvmc.hardware.blocks`).
        """
        return False

    @property
    def timed(self) -> bool:
        """Whether what it does depends on the time since programming."""
        return False

    @property
    def thermal(self) -> bool:
        """Whether what it does depends on the temperature."""
        return False

    @property
    def needs_conductance(self) -> bool:
        """Whether it is in microsiemens, so that the device must say what its levels conduct."""
        return False

    @property
    def profiles(self) -> tuple[tuple[float, ...], ...]:
        """Every list that holds one number per level."""
        return ()

    @property
    def needs_time(self) -> bool:
        """Whether it cannot act without a time since programming."""
        return False

    @property
    def needs_tiles(self) -> bool:
        """Whether it must know which tile a cell sits on, and where there."""
        return False

    @property
    def chip_wide(self) -> bool:
        """Whether its draws are shared by all arrays of a chip."""
        return False

    @property
    def shared(self) -> bool:
        """Whether cells share its draws, so that a reference column has those of its array."""
        return False

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source at the device's sigma, unless it states one of its own."""
        return self

    def with_temperature(self, celsius: float) -> NoiseSource:
        """This source at a temperature; itself where it does not depend on it."""
        return self

    def aged(self, time_s: float) -> float:
        """Seconds since programming as they count for it."""
        return time_s

    def read_law(self, cells: Any, draws: Draws) -> ReadLaw:
        """Of a source on reads: what they add to these cells, where `draws` is once for the chip.

        The source itself, where its `spread` draws nothing.
        """
        return cast(ReadLaw, self)


class GaussianSource(NoiseSource, frozen=True):
    """A source whose strength is a standard deviation; none means the device's sigma."""

    sigma: Positive | None = None

    def with_sigma(self, sigma: float) -> NoiseSource:
        """This source at the device's sigma, unless it states one of its own."""
        return self if self.sigma is not None else self.model_copy(update={"sigma": sigma})

    @property
    def strength(self) -> float:
        """Sigma, which `with_sigma` must have settled."""
        if self.sigma is None:
            raise ValueError(f"noise source {self.type!r} has no sigma yet; use Device.sources()")
        return self.sigma

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.strength != 0


def stream_names(sources: Sequence[NoiseSource]) -> list[str]:
    """What keys the streams of each source: its type; of the second of a type `type#1`."""
    types = [source.type for source in sources]
    counts = [types[:i].count(kind) for i, kind in enumerate(types)]
    return [f"{kind}#{n}" if n else kind for kind, n in zip(types, counts, strict=True)]
