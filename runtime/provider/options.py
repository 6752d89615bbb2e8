"""The provider's options: which chip a session runs on, and which images before it has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from nvmc.errors import OptionError, unknown
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target, load_device
from nvmc.hardware.devices.checks import check_cells_only
from nvmc.runtime.crossbar.operand import Start

__all__ = ["IDEAL", "ProviderOptions"]

IDEAL = "ideal"

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class ProviderOptions:
    """Which chip a session runs on.

    Attributes:
        device: Library name or TOML file; None for the device of the compiled network.
        sigma: Strength of the device's noise, in its basis; None for the device's own.
        seed: Population of chips.
        chip: Which chip of it; None for the ideal chip.
        time: Seconds since programming; None for the device's own.
        first_image: Images that the chip has seen before: reads go on from there.
        images: Images that each run of the session brings; None where `first_image` is 0.
        turns: Steps that a network with states takes in each run: so often its arrays are read for
            the same images.

    Raises:
        OptionError: A number is out of range.
    """

    device: str | None = None
    sigma: float | None = None
    seed: int = 0
    chip: int | None = 0
    time: float | None = None
    first_image: int = 0
    images: int | None = None
    turns: int = 1

    def __post_init__(self) -> None:
        if self.sigma is not None and not 0 <= self.sigma < float("inf"):
            raise OptionError(f"sigma is {self.sigma}; expected a finite number of at least 0")
        lowest_of = {"seed": 0, "chip": 0, "first_image": 0, "images": 1, "turns": 1}
        for key, lowest in lowest_of.items():
            number = getattr(self, key)
            if number is not None and number < lowest:
                raise OptionError(
                    f"{key} is {number}; expected a whole number of at least {lowest}"
                )
        if self.first_image and self.images is None:
            raise OptionError(
                f"first_image is {self.first_image} without images; say how many each run brings"
            )

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> ProviderOptions:
        """Options from the strings that onnxruntime carries.

        Raises:
            OptionError: An unknown option, or a value that it cannot have.
        """
        known = ("device", "sigma", "seed", "chip", "time", "first_image", "images", "turns")
        for key in texts:
            if key not in known:
                raise OptionError(unknown("provider option", key, known))
        return cls(
            device=texts.get("device"),
            sigma=None if "sigma" not in texts else _number("sigma", texts["sigma"], float),
            seed=_number("seed", texts.get("seed", "0"), int),
            chip=_chip(texts.get("chip", "0")),
            time=None if "time" not in texts else _number("time", texts["time"], float),
            first_image=_number("first_image", texts.get("first_image", "0"), int),
            images=None if "images" not in texts else _number("images", texts["images"], int),
            turns=_number("turns", texts.get("turns", "1"), int),
        )

    @property
    def texts(self) -> dict[str, str]:
        """The strings that onnxruntime carries."""
        values: dict[str, Any] = {"seed": self.seed, "chip": self.chip, "sigma": self.sigma}
        values["device"], values["time"] = self.device, self.time
        values["first_image"], values["images"] = self.first_image or None, self.images
        values["turns"] = self.turns if self.turns > 1 else None
        if self.chip is None:
            values["chip"] = IDEAL
        return {key: str(value) for key, value in values.items() if value is not None}

    @property
    def start(self) -> Start:
        """Where among the images of a longer run the session starts."""
        return Start(self.first_image, self.images or 1, self.turns)

    def chip_of(self, target: Target) -> tuple[Target, Chip]:
        """The cells and the chip that a network compiled for `target` runs on.

        Raises:
            DeviceError: No such device.
            OptionError: The device, sigma, seed or chip does not fit.
        """
        if self.device is not None:
            target = target.on(load_device(self.device))
        if self.chip is None:
            return target, Chip.ideal()
        check_cells_only(target.device.noise, "the execution provider cannot draw it")
        return target, Chip.of(target, self.seed, self.chip, self.sigma, self.time)


def _number(key: str, text: str, kind: Callable[[str], _Number]) -> _Number:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise OptionError(f"provider option {key} is {text!r}; expected {what}") from None


def _chip(text: str) -> int | None:
    if text == IDEAL:
        return None
    try:
        return int(text)
    except ValueError:
        raise OptionError(
            f"provider option chip is {text!r}; expected a whole number of at least 0, or {IDEAL!r}"
        ) from None
