"""What every method shares: the optimiser, its schedule, how chips are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.options import pairs, value_of

__all__ = ["AFFINE", "Augment", "Settings", "Width"]

Whole = Annotated[int, Field(ge=0, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Width = Annotated[float, Field(gt=1, allow_inf_nan=False)]


class Augment(Strict, frozen=True):
    """How training images (N, C, R, C) are moved each time they are shown; see `Moves`."""

    turn: Share = 0.0
    scale: Share = 0.0
    shift: Share = 0.0
    crop: Whole = 0
    flip: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0


AFFINE = "turn=12,scale=0.1,shift=2"
"""What the text `affine` stands for: how the zoo was trained."""


def _as_augment(given: Any) -> Any:
    """What a text such as `crop=2,flip=0.5`, or `affine`, stands for; anything else as it is."""
    if not isinstance(given, str):
        return given
    text = AFFINE if given == "affine" else given
    found = pairs("augment", text.split(","), "turn=12")
    return {key: value_of(value) for key, value in found.items()}


class Settings(Strict, frozen=True):
    """Everything about a training run that is no method's own.

    Attributes:
        epochs: Passes over the training images.
        batch: Images per step.
        optimizer: `adamw`, `adam` or `sgd`.
        rate: Learning rate, the highest of its schedule; `auto` is what the method does best with.
        decay: Weight decay.
        momentum: Of `sgd`.
        schedule: `cosine` falls from `rate` to zero, `one-cycle` rises first, `constant` stays.
        seed: Names every random number: order, augmentation, noise, new weights.
        chips: Chips that a KPP is taken over (TRICE's N_train, Alg. 2).
        percentile: k of the KPP.
        every: Epochs from one KPP to the next; 0 takes it only at the end.
        patience: KPPs without a better one after which training stops; 0 never stops early.
        keep: The weights of the epoch with the `best` KPP (the later among equals), or the `last`.
        init: `keep` trains on from the weights that are there, `random` starts anew.
        augment: Move the images, as a mapping or a text such as `crop=2,flip=0.5`; None shows them
            as they are.
        clip: Standard deviations of its own that each weight on crossbars, or each of its channels
            where these have a scale each, is clamped to after every step; None leaves them, `auto`
            is what the method does best with, and `learned` learns the width.
        estimator: Gradient of Sign: `straight-through` within -1 and 1, or IR-Net's `ede`.
        circuit: Whether the target's periphery is `trained` through, or only `judged`: gradients
            then see an ideal one.
        ranges: Whether calibrated ranges of DACs are `measured`, or `learned` and written into the
            network.
        accelerator: `cpu` or `cuda`.
    """

    epochs: Count = 100
    batch: Count = 128
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] = "auto"
    decay: Share = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: Literal["cosine", "one-cycle", "constant"] = "cosine"
    seed: Whole = 0
    chips: Count = 300
    percentile: Annotated[float, Field(ge=0, lt=100)] = 1.0
    every: Whole = 5
    patience: Whole = 0
    keep: Literal["best", "last"] = "best"
    init: Literal["keep", "random"] = "keep"
    augment: Annotated[Augment | None, BeforeValidator(_as_augment)] = None
    clip: Width | Literal["auto", "learned"] | None = "auto"
    estimator: Literal["straight-through", "ede"] = "straight-through"
    circuit: Literal["trained", "judged"] = "trained"
    ranges: Literal["measured", "learned"] = "measured"
    accelerator: Literal["cpu", "cuda"] = "cpu"

    def settled(self, defaults: Mapping[str, float | None]) -> Self:
        """With a method's own values for what is `auto`."""
        auto = {name for name in ("clip", "rate") if getattr(self, name) == "auto"}
        return self.model_copy(update={name: defaults[name] for name in auto})

    @property
    def highest_rate(self) -> float:
        """`rate` as a number; that of most methods before `auto` is known."""
        return 1e-3 if self.rate == "auto" else self.rate

    @property
    def width(self) -> float | None:
        """`clip` where it is a number of standard deviations."""
        return None if isinstance(self.clip, str) else self.clip

    def judges(self, epoch: int) -> bool:
        """Whether a KPP is taken after that epoch, counted from 1."""
        return epoch == self.epochs or (self.every > 0 and epoch % self.every == 0)
