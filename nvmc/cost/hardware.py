"""Hardware: the components that a chip is built of, with what each costs; a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from nvmc.arguments import checked
from nvmc.cost.components import COMPONENTS, REQUIRED, Adc, Array, Component, Leakage
from nvmc.cost.counts import Counts, Use
from nvmc.cost.mesh import Mesh
from nvmc.cost.quantity import Length
from nvmc.errors import HardwareError, unknown
from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.devices.numbers import Above
from nvmc.hardware.options import OneLine, problem

__all__ = ["Calibration", "Hardware", "hardware_names", "load_hardware", "parse_hardware"]


class Calibration(Strict, frozen=True):
    """Factors on what the components come to, so that named macros' published figures are met.

    Attributes:
        macros: Chips of `nvmc.cost.macros` whose figures went into the factors; empty where the
            components are taken as they are.
        source: How the factors were found.
        energy, time, area: The factors.
    """

    macros: tuple[str, ...] = ()
    source: str = ""
    energy: Above = 1.0
    time: Above = 1.0
    area: Above = 1.0


class Hardware(OneLine, Strict, frozen=True):
    """What a chip is built of.

    Attributes:
        name: Short name, as typed after `--hardware`.
        title: One line for people.
        source: Where it comes from as a whole.
        node: Technology node.
        calibration: Factors on all of it.
        mesh: How cores lie and are wired; None where the file does not say, so that nothing can
            be placed on it.
        components: Its sections, by their name in `COMPONENTS`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: str
    source: Annotated[str, Field(min_length=3)]
    node: Length
    calibration: Calibration = Calibration()
    mesh: Mesh | None = None
    components: dict[str, SerializeAsAny[Component]]

    @model_validator(mode="after")
    def _complete(self) -> Hardware:
        for name, component in self.components.items():
            kinds = COMPONENTS.get(name, {})
            if type(component) not in kinds.values():
                raise ValueError(f"component {name!r} is no kind of it; expected {list(kinds)}")
        missing = [name for name in REQUIRED if name not in self.components]
        if missing:
            raise ValueError(f"section {missing[0]!r} is missing; every hardware has {REQUIRED}")
        if self.mesh is not None and "router" not in self.components:
            raise ValueError("section 'router' is missing; hardware with a [mesh] has one")
        return self

    def headline(self) -> str:
        """Name, node, sections, and what it is calibrated on."""
        on = ", ".join(self.calibration.macros) or "nothing"
        parts = f"{len(self.components)} components"
        return f"{self.name}: {self.node.si * 1e9:g} nm, {parts}, calibrated on {on}"

    @property
    def left_out(self) -> list[str]:
        """Components that it says nothing of, which cost nothing here."""
        return [name for name in COMPONENTS if name not in self.components]

    @property
    def array(self) -> Array:
        """Its cells."""
        return cast(Array, self.components["array"])

    @property
    def adc(self) -> Adc:
        """Its ADC."""
        return cast(Adc, self.components["adc"])

    @property
    def leakage(self) -> Leakage | None:
        """What a waiting tile takes; None where it does not say."""
        return cast(Leakage | None, self.components.get("leakage"))

    def energies_j(self, counts: Counts, use: Use) -> dict[str, float]:
        """Joules for the events of one image, by component."""
        factor = self.calibration.energy
        return {name: factor * c.energy_j(counts, use) for name, c in self.components.items()}

    def areas_m2(self, counts: Counts, use: Use) -> dict[str, float]:
        """Square metres of what serves these tiles, by component."""
        factor = self.calibration.area
        return {name: factor * c.area_m2(counts, use) for name, c in self.components.items()}

    def tiles_s(self, counts: Counts, use: Use) -> float:
        """Seconds in which tiles read and convert all vectors and pulses of one image.

        Reading and converting follow one another; where a sample-and-hold lets them overlap, they
        are a pipeline of two stages: n max(r, c) + min(r, c). Where k pulses are converted
        together, c is a k-th of a conversion's time, and the rest k min(r, c).
        """
        number = counts.vectors * counts.pulses
        read, convert = self._stages(counts, use)
        last = min(read, convert) if self._overlapping and not self.adc.integrates else 0.0
        filling = use.held * last if number else 0.0
        return number * self.pulse_s(counts, use) + self.calibration.time * filling

    def pulse_s(self, counts: Counts, use: Use) -> float:
        """Seconds from one pulse to the next, on average."""
        read, convert = self._stages(counts, use)
        return self.calibration.time * (max(read, convert) if self._overlapping else read + convert)

    @property
    def _overlapping(self) -> bool:
        return any(part.overlaps() for part in self.components.values())

    def _stages(self, counts: Counts, use: Use) -> tuple[float, float]:
        parts = self.components.values()
        read = sum(part.read_s(use) for part in parts)
        return read, sum(part.convert_s(counts, use) for part in parts) / use.held

    def layer_s(self, counts: Counts, use: Use) -> float:
        """Seconds of a layer: of its tiles, or of what takes longer beside them."""
        parts = self.components.values()
        beside = max((part.layer_s(counts, use) for part in parts), default=0.0)
        return max(self.tiles_s(counts, use), self.calibration.time * beside)

    def idle_j(self, tile_seconds: float) -> float:
        """Joules of waiting tiles, where it says what these take."""
        leakage = self.leakage
        if leakage is None:
            return 0.0
        return self.calibration.energy * leakage.idle_j(tile_seconds)

    def notes(self, use: Use) -> list[str]:
        """What its components assumed, a sentence each."""
        held = ["What adds up currents ahead of ADCs takes no energy, time or area here."]
        notes = [note for part in self.components.values() for note in part.notes(use)]
        return notes if use.held == 1 else [*notes, *held]


def hardware_names() -> list[str]:
    """The names of the hardware that comes with nvmc, sorted."""
    folder = resources.files("nvmc.cost") / "library"
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


@checked
def load_hardware(name: str | Path | Hardware) -> Hardware:
    """Hardware by library name, or from a user's own TOML file; hardware is what it is.

    Args:
        name: A name of `hardware_names()`, or a path to a file ending in .toml.

    Raises:
        HardwareError: No such hardware or file, or the file is not valid.
    """
    if isinstance(name, Hardware):
        return name
    text = str(name)
    if text.endswith(".toml") or "/" in text:
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            raise HardwareError(
                f"cannot read hardware file {text!r}: {error.strerror or error}; give the path of "
                "a TOML file, or one of the names in `nvmc hardware`"
            ) from error
        return parse_hardware(content, text)
    if text not in hardware_names():
        raise HardwareError(unknown("hardware", text, [*hardware_names(), "FILE.toml"]))
    library = resources.files("nvmc.cost") / "library" / f"{text}.toml"
    return parse_hardware(library.read_bytes(), text)


def parse_hardware(content: bytes, where: str) -> Hardware:
    """Hardware from the content of a TOML file; `where` is its name, for messages.

    Raises:
        HardwareError: It is not valid.
    """
    try:
        given: dict[str, Any] = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise HardwareError(f"hardware file {where!r} is not TOML: {error}") from error
    own = Hardware.model_fields.keys() - {"components"}
    known = {key: value for key, value in given.items() if key in own}
    sections = {key: value for key, value in given.items() if key not in own}
    for name in sections:
        if name not in COMPONENTS:
            names = [*sorted(own), *COMPONENTS]
            raise HardwareError(f"hardware file {where!r}: {unknown('section', name, names)}")
    components = {name: _component(name, sections[name], where) for name in sections}
    try:
        return Hardware.model_validate({**known, "components": components})
    except ValidationError as error:
        raise HardwareError(f"hardware file {where!r}: {problem(error, Hardware)}") from error


def _component(name: str, section: Any, where: str) -> Component:
    kinds = COMPONENTS[name]
    begin = f"hardware file {where!r}: {name}"
    if not isinstance(section, Mapping):
        raise HardwareError(f"{begin} is {section!r}; expected a section [{name}]")
    fields = dict(cast(Mapping[str, Any], section))
    kind = fields.pop("kind", next(iter(kinds)) if len(kinds) == 1 else None)
    if kind is None:
        raise HardwareError(f"{begin} has no kind; expected one of {', '.join(kinds)}")
    if kind not in kinds:
        raise HardwareError(f"{begin}: {unknown('kind', str(kind), kinds)}")
    try:
        return kinds[kind].model_validate(fields)
    except ValidationError as error:
        raise HardwareError(f"{begin}.{problem(error, kinds[kind])}") from error
