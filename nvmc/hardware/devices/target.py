"""A target: a device and how its cells are used, for all layers and for some.

`Target.of_layer` and `Target.of_array` resolve the target of one layer. Everything that knows a
layer or an array asks one of them; what is asked of a target as a whole asks `variants`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from nvmc.arguments import checked
from nvmc.errors import OptionError
from nvmc.hardware.devices.bits import (
    bits_of,
    cell_bits_of,
    check_bits,
    most_cell_bits,
    named,
    resolved,
    without,
)
from nvmc.hardware.devices.by_name import ByName
from nvmc.hardware.devices.checks import check_reading, check_reference, check_sources
from nvmc.hardware.devices.currents import CurrentLaw
from nvmc.hardware.devices.device import Bits, Device
from nvmc.hardware.devices.noise import NoiseSource
from nvmc.hardware.devices.periphery import EXACT_ADC, Periphery
from nvmc.hardware.devices.reading import load_device
from nvmc.hardware.devices.settings import LayerTarget, Settings, Size
from nvmc.hardware.encoding import Encoding, Layout
from nvmc.hardware.options import problem

__all__ = ["Target"]


class Target(ByName, frozen=True):
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
        layers: What layers have of their own, by globs; of several that match, the first counts.
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
        for part in (None, *self.layers):
            own, where = self._of(part), "" if part is None else f"layers {part.glob!r}: "
            limit = most_cell_bits(own.device, own.weight_bits, own.encoding)
            if own.cell_bits > limit:
                raise ValueError(f"{where}cell_bits is {own.cell_bits}; expected at most {limit}")
            try:
                Periphery.model_validate(own.periphery.model_dump())
            except ValidationError as error:
                raise ValueError(f"{where}{problem(error, Periphery)}") from error
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
        layers: Sequence[LayerTarget] = (),
    ) -> Target:
        """A target with the defaults of a device, its name or file where an argument is None.

        `bits` are weight bits by globs of the names of layers or weights, where not `weight_bits`;
        the first glob that matches counts. Their cells hold as many bits as `cell_bits` and the
        layer's weights allow. `layers` are entries with anything else of their own, in place of
        `bits`. A layer that states a device and no bits or encoding has those that are given here,
        or the device's defaults.

        Raises:
            OptionError: The bits do not fit the device or each other, an argument needs
                quantised weights and they are analog, or nobody says how many bits a weight has on
                a device whose cells have a number of levels.
        """
        device = load_device(device)
        chosen = encoding or device.defaults.encoding
        own, by_glob = bits_of(device, weight_bits), dict(bits or {})
        if by_glob and layers:
            raise OptionError("bits and layers are both given; state weight_bits in the layers")
        check_bits(own, by_glob, cell_bits, per_channel, layers, chosen)
        parts = [LayerTarget(glob=glob, weight_bits=each) for glob, each in by_glob.items()]
        if rows < 1 or cols < 1:
            raise OptionError(f"tile is {rows}x{cols}; expected at least 1x1")
        given = Settings(
            weight_bits=weight_bits,
            cell_bits=cell_bits,
            encoding=encoding,
            per_channel=per_channel,
        )
        found = tuple(resolved(part, device, own, given) for part in (*parts, *layers))
        target = cls(
            device=device,
            weight_bits=own,
            cell_bits=cell_bits_of(device, own, cell_bits, chosen),
            encoding=chosen,
            per_channel=per_channel,
            rows=rows,
            cols=cols,
            periphery=periphery or Periphery(),
            layers=found,
        )
        target.check_sources(device.noise)
        for part in found:
            if part.device is not None:
                with named(part):
                    target._of(part).check_sources(part.device.noise)
        return target

    @classmethod
    @checked
    def load(
        cls,
        name: str | Path,
        stated: Settings | None = None,
        *,
        device: Device | str | Path | None = None,
        bits: Mapping[str, int] | None = None,
    ) -> Target:
        """A target from a target file, or by the name of one that comes with nvmc.

        Args:
            name: A name of `target_names()`, or a path to a file ending in .toml.
            stated: What overrides the file for all layers that do not state it themselves.
            device: In place of the file's, likewise.
            bits: Weight bits by globs of layers, where the file has no layers.

        Raises:
            DeviceError: No such target or file, or the file is not valid.
            OptionError: What overrides the file does not fit it.
        """
        from nvmc.hardware.devices.target_file import read_target  # it makes targets

        return read_target(name).target(stated or Settings(), device, bits)

    def of_layer(self, layer: str, weight: str) -> Target:
        """How the cells of a layer's weight are used, by the names of the node and the weight."""
        return self._of(next((part for part in self.layers if part.fits(layer, weight)), None))

    def of_array(self, name: str) -> Target:
        """How the cells of an array of a mapped network are used, by its name."""
        return self._of(next((part for part in self.layers if name in part.arrays), None))

    def _of(self, part: LayerTarget | None) -> Target:
        if not self.layers and part is None:
            return self
        own = {} if part is None else part.own
        behind = {name: own.pop(name) for name in list(own) if name in Periphery.model_fields}
        if behind.get("adc_bits", 0) is None:
            behind = {**EXACT_ADC, **behind}
        periphery = self.periphery.model_copy(update=behind)
        return self.model_copy(update={**own, "periphery": periphery, "layers": ()})

    @property
    def variants(self) -> tuple[Target, ...]:
        """The target of layers without anything of their own, then that of each of `layers`."""
        return tuple(self._of(part) for part in (None, *self.layers))

    @property
    def devices(self) -> tuple[Device, ...]:
        """The device, then those that layers have of their own, each once."""
        return tuple(dict.fromkeys(part.device for part in self.variants))

    @property
    def ideal(self) -> bool:
        """Whether every periphery is (`Periphery.ideal`), and cells are read as proportional."""
        return all(part.periphery.ideal and part.iv is None for part in self.variants)

    @property
    def needs_data(self) -> bool:
        """Whether the range of some converter comes from calibration data."""
        return any(part.periphery.needs_data for part in self.variants)

    def age(self, time_s: float | None = None) -> float | None:
        """Seconds since programming: `time_s`, or the default of the first device that ages.

        Raises:
            OptionError: As `Device.time`; of devices that do not age only where none does.
        """
        ageing = [device for device in self.devices if device.timed] or [self.device]
        return [device.time(time_s) for device in ageing][0]

    def everywhere(self, **settings: Any) -> Target:
        """The target with settings of the periphery that no layer has otherwise."""
        shared = dict.fromkeys(settings.keys() & Settings.model_fields.keys())
        layers = tuple(part.model_copy(update=shared) for part in self.layers)
        periphery = self.periphery.model_copy(update=settings)
        return self.model_copy(update={"periphery": periphery, "layers": layers})

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

    def check_reading(self) -> None:
        """Complain of cells that cannot be read as the periphery says.

        Raises:
            OptionError: Wires or a read voltage need what a device does not state.
        """
        for own in self.variants:
            check_reading(own.device, own.periphery, own.encoding)

    @property
    def iv(self) -> CurrentLaw | None:
        """The law of its cells' current, where they are read at a voltage at which it counts."""
        return None if self.periphery.read_v is None else self.device.iv

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
        cancels = self.layout.paired and self.periphery.subtract == "analog"
        return 0.0 if cancels or self.reference == "exact" else self.off_level

    def check_reference(self) -> None:
        """Complain of reference columns that could not do what they are for.

        Raises:
            OptionError: There are some.
        """
        for own in self.variants:
            check_reference(own.periphery, own.encoding)

    def on(self, device: Device | None, noise: Iterable[NoiseSource] = ()) -> Target:
        """The same codes on another device (None: this one), or with more noise sources.

        Layers with a device of their own keep it as it is; the device's own noise alone acts there.

        Raises:
            OptionError: The cells hold more bits than the other device's, or a source cannot act
                on them.
        """
        chosen = (device or self.device).with_noise(noise)
        if chosen == self.device:
            return self
        moving = [self, *(self._of(part) for part in self.layers if part.device is None)]
        analog = any(part.weight_bits is None for part in moving)
        if analog and self.device.levels == "continuous" != chosen.levels:
            raise OptionError(
                f"the weights are analog, compiled for the continuous levels of "
                f"{self.device.name!r}, but a cell of {chosen.name!r} has {chosen.levels} levels; "
                "compile for that device"
            )
        base = Target.of(
            chosen,
            weight_bits=self.weight_bits or "none",
            cell_bits=self.cell_bits if self.weight_bits else None,
            encoding=self.encoding,
            per_channel=self.per_channel,
            rows=self.rows,
            cols=self.cols,
            periphery=self.periphery,
        )
        moved = base.model_copy(
            update={"layers": tuple(without(part, chosen) for part in self.layers)}
        )
        for part in moved.layers:
            cells = part.cell_bits or 0
            if part.device is None and cells > chosen.max_cell_bits:
                raise OptionError(
                    f"cells of layers {part.glob!r} hold {cells} bits, but a cell of "
                    f"{chosen.name!r} has {chosen.levels} levels; expected at most "
                    f"{chosen.max_cell_bits}"
                )
        moved.check_sources(chosen.noise)
        return moved

    def at_temperature(self, celsius: float | None) -> Target:
        """The same codes on hotter or colder cells, of every device; itself for None.

        Raises:
            OptionError: No device depends on the temperature, or it is out of range.
        """
        if celsius is None:
            return self
        others = [device for device in self.devices[1:] if device.thermal]
        hot = {device: device.at_temperature(celsius) for device in others}
        alone = others and not self.device.thermal
        moved = self if alone else self.on(self.device.at_temperature(celsius))
        layers = tuple(
            part if part.device not in hot else part.model_copy(update={"device": hot[part.device]})
            for part in moved.layers
        )
        return moved.model_copy(update={"layers": layers})

    def check_sources(self, sources: Iterable[NoiseSource]) -> None:
        """Raise OptionError where a source of the device's cannot act on cells of this target."""
        cells = [part for part in self.variants if part.device == self.device]
        check_sources(sources, [(own.layout, own.weight_bits is None) for own in cells])
