"""A target: a device and how its cells are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nvmc.arguments import checked
from nvmc.errors import OptionError
from nvmc.hardware.devices.device import Bits, Device
from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.devices.noise import BitFlip, NoiseSource
from nvmc.hardware.devices.periphery import Periphery
from nvmc.hardware.devices.reading import load_device
from nvmc.hardware.encoding import Encoding, Layout

__all__ = ["LayerTarget", "Target", "as_target"]

Size = Annotated[int, Field(ge=1, strict=True)]


class LayerTarget(Strict, frozen=True):
    """How the cells of some layers are used, where that is not as the target says.

    Attributes:
        glob: Of the names of layers or of their weights; of several that match, the first counts.
        weight_bits: H of these layers.
        cell_bits: B of these layers.
        arrays: The arrays that hold them; empty until the network is mapped.
    """

    glob: Annotated[str, Field(min_length=1)]
    weight_bits: Bits
    cell_bits: Bits
    arrays: tuple[str, ...] = ()

    def fits(self, layer: str, weight: str) -> bool:
        """Whether a weight of a layer is meant."""
        return fnmatchcase(layer, self.glob) or fnmatchcase(weight, self.glob)


class Target(Strict, frozen=True):
    """A device and how its cells are used.

    Attributes:
        device: The cells.
        weight_bits: H, or None for analog weights.
        cell_bits: B; not used by analog weights.
        encoding: How the sign is represented.
        per_channel: One scale per output channel instead of one per tensor.
        rows: Word lines of a tile.
        cols: Bit lines of a tile.
        periphery: What surrounds the tiles; ideal by default.
        layers: Layers that use their cells otherwise.
    """

    device: Device
    weight_bits: Bits | None
    cell_bits: Bits
    encoding: Encoding
    per_channel: bool = False
    rows: Size = 128
    cols: Size = 128
    periphery: Periphery = Periphery()
    layers: tuple[LayerTarget, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Target:
        for part in (self, *self.layers):
            limit = min(self.device.max_cell_bits, part.weight_bits or self.device.max_cell_bits)
            if part.cell_bits > limit:
                raise ValueError(f"cell_bits is {part.cell_bits}; expected at most {limit}")
        return self

    @classmethod
    @checked
    def of(
        cls,
        device: Device | str | Path,
        *,
        weight_bits: int | Literal["none"] | None = None,
        cell_bits: int | None = None,
        encoding: Encoding | None = None,
        per_channel: bool = False,
        rows: int = 128,
        cols: int = 128,
        periphery: Periphery | None = None,
        bits: Mapping[str, int] | None = None,
    ) -> Target:
        """A target with the defaults of a device, its name or file where an argument is None.

        `bits` are weight bits by globs of the names of layers or weights, where not `weight_bits`;
        the first glob that matches counts. Their cells hold as many bits as `cell_bits` and the
        layer's weights allow.

        Raises:
            OptionError: The bits do not fit the device or each other, an argument needs
                quantised weights and they are analog, or nobody says how many bits a weight has on
                a device whose cells have a number of levels.
        """
        device = load_device(device)
        own, layers = _bits_of(device, weight_bits), dict(bits or {})
        _check_bits(own, layers, cell_bits, per_channel)
        cell = cell_bits
        if cell is None:
            cell = device.defaults.cell_bits or device.max_cell_bits
            cell = min(cell, max((own or cell, *layers.values())))
        if not 1 <= cell <= device.max_cell_bits:
            raise OptionError(
                f"cell bits are {cell}, but a cell of {device.name!r} has {device.levels} levels; "
                f"expected 1 to {device.max_cell_bits}"
            )
        if rows < 1 or cols < 1:
            raise OptionError(f"tile is {rows}x{cols}; expected at least 1x1")
        target = cls(
            device=device,
            weight_bits=own,
            cell_bits=min(cell, own or cell),
            encoding=encoding or device.defaults.encoding,
            per_channel=per_channel,
            rows=rows,
            cols=cols,
            periphery=periphery or Periphery(),
            layers=tuple(
                LayerTarget(glob=glob, weight_bits=each, cell_bits=min(cell, each))
                for glob, each in layers.items()
            ),
        )
        target.check_sources(device.noise)
        return target

    def of_layer(self, layer: str, weight: str) -> Target:
        """How the cells of a layer's weight are used, by the names of the node and the weight."""
        return self._of(next((part for part in self.layers if part.fits(layer, weight)), None))

    def of_array(self, name: str) -> Target:
        """How the cells of an array of a mapped network are used, by its name."""
        return self._of(next((part for part in self.layers if name in part.arrays), None))

    def _of(self, part: LayerTarget | None) -> Target:
        if not self.layers:
            return self
        own = {} if part is None else part.model_dump(include={"weight_bits", "cell_bits"})
        return self.model_copy(update={**own, "layers": ()})

    def placed(self, layers: Mapping[str, str]) -> Target:
        """This target with the arrays that its layers use.

        Args:
            layers: Name of the layer that uses an array, by the array's name.
        """
        left, found = dict(layers), list[LayerTarget]()
        for part in self.layers:
            arrays = tuple(array for array, name in left.items() if part.fits(name, array))
            found.append(part.model_copy(update={"arrays": arrays}))
            left = {a: name for a, name in left.items() if a not in arrays}
        return self.model_copy(update={"layers": tuple(found)})

    @property
    def layout(self) -> Layout:
        """How cells represent codes."""
        return Layout(self.weight_bits, self.cell_bits, self.encoding, self.device.analog_top)

    @property
    def highest_level(self) -> float:
        """Level of a cell at its highest conductance, in level steps.

        The device's highest level even where cells hold fewer bits and so never aim for it. Where
        levels are not evenly spaced, a step is an even share of the range of those that are used.
        """
        levels, used = self.device.levels, self._uneven
        if levels == "continuous":
            return self.layout.highest_target
        if used is None:
            return float(levels - 1)
        top = int(self.layout.highest_target)
        return top * ((used[-1] - used[0]) / (used[top] - used[0]))

    @property
    def places(self) -> tuple[float, ...] | None:
        """Where each level lies, in level steps; None where level l lies at l, or is not aimed for.

        Digits are read as if the levels in use were evenly spaced from the lowest to the highest
        of them, which are exact: a cell for level l adds places[l] - l to what it should.
        """
        used = self._uneven
        if used is None:
            return None
        top = int(self.layout.highest_target)
        return tuple(top * ((g - used[0]) / (used[top] - used[0])) for g in used)

    @property
    def _uneven(self) -> tuple[float, ...] | None:
        """What every level conducts, where weights are digits and the device lists it."""
        stated = self.device.conductance
        return None if stated is None or self.weight_bits is None else stated.levels_us

    @property
    def step_us(self) -> float | None:
        """Microsiemens in one level step; None where the device states no conductance."""
        range_us = self.device.conductance
        return (
            None if range_us is None else (range_us.max_us - range_us.min_us) / self.highest_level
        )

    def check_wires(self) -> None:
        """Complain of wires between cells whose conductance is not known.

        Raises:
            OptionError: There are some, and the device states no conductance.
        """
        if self.periphery.wire_ohm is not None and self.device.conductance is None:
            raise OptionError(
                f"device {self.device.name!r} states no conductance, which wires need; add "
                "conductance = { min_us, max_us } to its file, or leave --wire-ohm out"
            )

    @property
    def off_level(self) -> float:
        """What a cell at level 0 conducts, in level steps; 0 where the device does not say.

        Wires carry it for every cell; how it is kept out of results says `reference`.
        """
        range_us, step = self.device.conductance, self.step_us
        return 0.0 if range_us is None or step is None else range_us.min_us / step

    @property
    def reference(self) -> Literal["exact", "column", "none"]:
        """`Periphery.reference`, with `auto` resolved.

        Under sign-magnitude a column's off-current depends on which of its cells are formed, so
        neither one reference column nor the sum of the inputs could take it off.
        """
        chosen = self.periphery.reference
        if chosen != "auto":
            return chosen
        return "exact" if self.encoding == "sign-magnitude" else "none"

    @property
    def off_at_adc(self) -> float:
        """What a formed cell at level 0 adds to the current that an ADC converts, in level steps.

        Nothing where the two cells of a pair are subtracted before the ADC.
        """
        cancels = self.encoding == "differential" and self.periphery.subtract == "analog"
        return 0.0 if cancels or self.reference == "exact" else self.off_level

    def check_reference(self) -> None:
        """Complain of reference columns that could not do what they are for.

        Raises:
            OptionError: There are some.
        """
        if self.periphery.reference != "column":
            return
        wrong = ""
        if self.encoding == "sign-magnitude":
            wrong = "sign-magnitude leaves cells unformed, so that every column needs another"
        elif self.encoding == "differential" and self.periphery.subtract == "analog":
            wrong = "pairs that are subtracted before the ADC need none"
        elif self.periphery.wired:
            wrong = "wires in tiles with a reference column are not modelled"
        if wrong:
            raise OptionError(
                f"reference is 'column', but {wrong}; give --reference exact or none, or encoding "
                "offset without --wire-ohm"
            )

    def on(self, device: Device | None, noise: Iterable[NoiseSource] = ()) -> Target:
        """The same codes on another device (None: this one), or with more noise sources.

        Raises:
            OptionError: The cells hold more bits than the other device's, or a source cannot act
                on them.
        """
        chosen = (device or self.device).with_noise(noise)
        if chosen == self.device:
            return self
        if self.weight_bits is None and self.device.levels == "continuous" != chosen.levels:
            raise OptionError(
                f"the weights are analog, compiled for the continuous levels of "
                f"{self.device.name!r}, but a cell of {chosen.name!r} has {chosen.levels} levels; "
                "compile for that device"
            )
        moved = Target.of(
            chosen,
            weight_bits=self.weight_bits or "none",
            cell_bits=self.cell_bits if self.weight_bits else None,
            encoding=self.encoding,
            per_channel=self.per_channel,
            rows=self.rows,
            cols=self.cols,
            periphery=self.periphery,
        ).model_copy(update={"layers": self.layers})
        for part in self.layers:
            if part.cell_bits > chosen.max_cell_bits:
                raise OptionError(
                    f"cells of layers {part.glob!r} hold {part.cell_bits} bits, but a cell of "
                    f"{chosen.name!r} has {chosen.levels} levels; expected at most "
                    f"{chosen.max_cell_bits}"
                )
        moved.check_sources(chosen.noise)
        return moved

    def at_temperature(self, celsius: float | None) -> Target:
        """The same codes on hotter or colder cells; itself for None.

        Raises:
            OptionError: Nothing of the device depends on the temperature, or it is out of range.
        """
        return self if celsius is None else self.on(self.device.at_temperature(celsius))

    def check_sources(self, sources: Iterable[NoiseSource]) -> None:
        """Raise OptionError where a noise source cannot act on this target."""
        stored = any(self._of(part).layout.code_bits for part in (None, *self.layers))
        for source in sources:
            if source.quantized_only and self.weight_bits is None:
                raise OptionError(
                    f"noise source {source.type!r} acts on stored bits, but the weights are "
                    "analog; compile with --weight-bits 1 to 16"
                )
            if isinstance(source, BitFlip) and source.bits == "cells" and not stored:
                raise OptionError(
                    "noise source 'bitflip' acts on bits in cells, but a 1-bit weight under "
                    "sign-magnitude is its sign alone; use bits=all, or encoding offset"
                )
            if isinstance(source, BitFlip) and source.bits == "sign" and not self.layout.signed:
                raise OptionError(
                    f"noise source 'bitflip' acts on sign bits, which encoding {self.encoding!r} "
                    "does not store; use sign-magnitude, or bits=cells"
                )


def _bits_of(device: Device, given: int | Literal["none"] | None) -> int | None:
    """Weight bits as asked for, or the device's; None for analog weights."""
    chosen = device.defaults.weight_bits if given is None else given
    if chosen is None and device.levels != "continuous":
        raise OptionError(
            f"device {device.name!r} has {device.levels} levels per cell and does not say how many "
            "bits a weight has; give --weight-bits 1 to 16 (none: analog weights), or "
            "defaults.weight_bits in its file"
        )
    return chosen if isinstance(chosen, int) else None


def _check_bits(
    own: int | None, layers: Mapping[str, int], cell_bits: int | None, per_channel: bool
) -> None:
    """Raise OptionError where bits are out of range, or asked for of analog weights."""
    for what, bits in (("weight bits", own), *((f"bits of {g!r}", b) for g, b in layers.items())):
        if bits is not None and not 1 <= bits <= 16:
            none = ", or none for analog" if what == "weight bits" else ""
            raise OptionError(f"{what} are {bits}; expected 1 to 16{none}")
    if own is None and (cell_bits is not None or per_channel or layers):
        given = f"B is {cell_bits}" if cell_bits is not None else "some layers have bits"
        given = "channels have scales of their own" if per_channel else given
        raise OptionError(
            f"{given}, but the weights are analog; give --weight-bits 1 to 16 as well"
        )
    most = max(own or 0, *layers.values(), 0)
    if own is not None and cell_bits is not None and not 1 <= cell_bits <= most:
        raise OptionError(f"cell bits are {cell_bits}; expected 1 to the weight bits ({most})")


def as_target(target: Target | Device | str | Path) -> Target:
    """A target as it is; or a device, its name or its file with the device's defaults."""
    return target if isinstance(target, Target) else Target.of(target)
