"""How a network is compiled, and what calibrated it: rows of the manifest, and training's too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast, get_args

from pydantic import ConfigDict

from nvmc.arguments import checked
from nvmc.errors import OptionError

__all__ = ["LOOPED", "STEPS", "Calibration", "CompileOptions", "Kind"]

STEPS = "steps"
"""Name of the axis of steps of a network that runs over sequences (`CompileOptions.state`)."""
LOOPED = "nvmc.looped"
"""Metadata key of a model that does."""

Kind = Literal["bias", "norm"]
"""Parameters that may be kept in cells beside the weights."""


@partial(checked, types=False)  # a list, or one text, becomes a tuple
@dataclass(frozen=True)
class CompileOptions:
    """What decides a compiled network beside its source, its target and its calibration data.

    Attributes:
        skip: Globs of the names of nodes, or of their weights, that stay digital.
        store: `bias` and `norm` keep those parameters in cells too.
        fold_batchnorm: Fold BatchNormalization into the layer before it.
        activation_bits: Bits of what enters the mapped layers, 1 to 16; None leaves it exact.
        passes: Passes to run on the float network, as `name:key=value`.
        clip: How far the weights of crossbar layers reach: `auto` for the width of least expected
            error under the target's noise, `2.5` for as many standard deviations, `99.9%` for that
            percentile of their magnitudes; None leaves them.
        require_mapped: Least share of the weights' multiply-adds that has to be on crossbars, 0 to
            1; None asks for nothing.
        shape: Sizes of inputs, `input=1x3x224x224`; a name in the place of a number leaves an axis
            free.
        inputs: Inputs that hold the same for every image, `input=zeros`, `ones`, a number or
            `FILE.npy`; of a state, what it begins with.
        state: State inputs that take an output of the step before, `input=output`: the network is
            one step, and runs over sequences.

    Raises:
        OptionError: Bits or a kind of parameter that there is not.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    skip: tuple[str, ...] = ()
    store: tuple[Kind, ...] = ()
    fold_batchnorm: bool = False
    activation_bits: int | None = None
    passes: tuple[str, ...] = ()
    clip: str | None = None
    require_mapped: float | None = None
    shape: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    state: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values; a list is taken as a tuple, a text as the only one of its kind."""
        for name in ("skip", "store", "passes", "shape", "inputs", "state"):
            given: Any = getattr(self, name)
            texts: Any = (given,) if isinstance(given, str) else given
            if not isinstance(texts, list | tuple):
                raise OptionError(f"{name} is {given!r}; expected a list of texts")
            listed = cast(Sequence[Any], texts)
            if not all(isinstance(text, str) for text in listed):
                raise OptionError(f"{name} is {given!r}; expected a list of texts")
            object.__setattr__(self, name, tuple(listed))
        for kind in self.store:
            if kind not in get_args(Kind):
                raise OptionError(f"store is {kind!r}; expected {' or '.join(get_args(Kind))}")
        fold: Any = self.fold_batchnorm
        if not isinstance(fold, bool):
            raise OptionError(f"fold_batchnorm is {fold!r}; expected True or False")
        bits: Any = self.activation_bits
        if bits is not None and (isinstance(bits, bool) or bits not in range(1, 17)):
            raise OptionError(f"activation bits is {bits!r}; expected a whole number from 1 to 16")
        share: Any = self.require_mapped
        numeric = isinstance(share, int | float) and not isinstance(share, bool)
        if share is not None and not (numeric and 0 <= share <= 1):
            raise OptionError(
                f"require_mapped is {share!r}; expected a share from 0 to 1 (0.99 is 99 %)"
            )


@dataclass(frozen=True)
class Calibration:
    """The images that ranges come from: the first of a data set's training split.

    Attributes:
        data: The data set's name.
        sha256: Digest of its images and of what is known of them (`Dataset.sha256`).
        activation_images: Images that the ranges of `activation_bits` come from; 0 without.
        converter_images: Images that the ranges of DAC and ADC come from; 0 where none is
            calibrated.
    """

    data: str
    sha256: str
    activation_images: int
    converter_images: int

    def __str__(self) -> str:
        """In a line, for people."""
        counts = (("activation", self.activation_images), ("converter", self.converter_images))
        told = [f"{what} ranges from {n:,} image{'s' * (n != 1)}" for what, n in counts if n]
        return f"{' and '.join(told)} of {self.data}"
