"""Target files: a target as people write it in TOML, and those that come with nvmc.

The folder `targets/` is the table of the latter: `NAME.toml` is target NAME.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from nvmc.arguments import checked
from nvmc.errors import DeviceError, OptionError, unknown
from nvmc.hardware.devices.device import Device
from nvmc.hardware.devices.periphery import Periphery
from nvmc.hardware.devices.reading import load_device
from nvmc.hardware.devices.settings import Glob, LayerTarget, Settings
from nvmc.hardware.devices.target import Target
from nvmc.hardware.options import problem

__all__ = ["LayerFile", "TargetFile", "as_target", "make_target", "read_target", "target_names"]


class LayerFile(Settings, frozen=True):
    """An entry of `[[layers]]`: what some layers have of their own.

    Attributes:
        match: A glob of the names of layers or of their weights.
        device: Name or file of their device; None for the target's.
    """

    match: Glob
    device: str | None = None


class TargetFile(Settings, frozen=True):
    """What a target file holds.

    Attributes:
        name: Short name; the file's by default.
        title: One line for people.
        source: Where the numbers come from.
        left_out: What the source's circuit has and nvmc does not model.
        device: Name of a device, or its file as the target file sees it.
        layers: Layers with settings of their own; of several that match one, the first counts.
    """

    device: str
    name: str = ""
    title: str = ""
    source: str = ""
    left_out: tuple[str, ...] = ()
    layers: tuple[LayerFile, ...] = ()

    def target(
        self,
        stated: Settings | None = None,
        device: Device | str | Path | None = None,
        bits: Mapping[str, int] | None = None,
    ) -> Target:
        """The target.

        Args:
            stated: What overrides the file for all layers that do not state it themselves.
            device: In place of the file's, likewise.
            bits: Weight bits by globs of layers, where the file has no layers.

        Raises:
            DeviceError: There is no such device.
            OptionError: The settings do not fit each other or the device.
        """
        if bits and self.layers:
            globs = ", ".join(repr(layer.match) for layer in self.layers)
            raise OptionError(
                f"--bits and the target's [[layers]] ({globs}) both say what layers have; state "
                "weight_bits in the target file"
            )
        all_of_it: dict[str, Any] = {**self.stated, **({} if stated is None else stated.stated)}
        around: dict[str, Any] = {
            name: None if (value := all_of_it.pop(name)) == "none" else value
            for name in list(all_of_it)
            if name in Periphery.model_fields
        }
        layers = [
            LayerTarget(
                glob=layer.match,
                device=None if layer.device is None else load_device(layer.device),
                **layer.stated,
            )
            for layer in self.layers
        ]
        return Target.of(
            load_device(device or self.device),
            periphery=Periphery(**around),
            bits=bits or None,
            layers=layers,
            **all_of_it,
        )

    def beside(self, folder: Path) -> TargetFile:
        """The file with its devices' files as seen from here; it lies in `folder`."""
        layers = [
            layer.model_copy(update={"device": _beside(layer.device, folder)})
            for layer in self.layers
        ]
        device = _beside(self.device, folder)
        return self.model_copy(update={"device": device, "layers": tuple(layers)})


def _beside(device: str | None, folder: Path) -> str | None:
    return str(folder / device) if device and _is_file(device) else device


def _is_file(text: str) -> bool:
    return text.endswith(".toml") or "/" in text


def target_names() -> list[str]:
    """The names of the targets that come with nvmc, sorted."""
    folder = resources.files("nvmc.hardware.devices") / "targets"
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


def read_target(name: str | Path) -> TargetFile:
    """A target by name, or from a user's own TOML file.

    Args:
        name: A name of `target_names()`, or a path to a file ending in .toml.

    Raises:
        DeviceError: No such target or file, or the file is not valid.
    """
    text = str(name)
    if not _is_file(text):
        if text not in target_names():
            raise DeviceError(unknown("target", text, [*target_names(), "FILE.toml"]))
        kept = resources.files("nvmc.hardware.devices") / "targets" / f"{text}.toml"
        return _parsed(kept.read_bytes(), text).model_copy(update={"name": text})
    found = _parsed(_content(Path(name)), text)
    found = found.model_copy(update={"name": found.name or Path(name).stem})
    return found.beside(Path(name).parent)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeviceError(
            f"cannot read target file {str(path)!r}: {error.strerror or error}; give the path of a "
            "TOML file, or one of the names in `nvmc targets`"
        ) from error


def _parsed(content: bytes, where: str) -> TargetFile:
    table = _table(content, where)
    try:
        return TargetFile.model_validate(table)
    except ValidationError as error:
        raise DeviceError(f"target file {where!r}: {problem(error, TargetFile)}") from error


def _table(content: bytes, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DeviceError(f"target file {where!r} is not TOML: {error}") from error


def as_target(target: Target | Device | str | Path) -> Target:
    """A target as it is; by its name or its file; or of a device, its name or its file.

    A device is used as by default. A file with the key `device` is a target's.
    """
    return target if isinstance(target, Target) else make_target(target)


@checked
def make_target(
    name: Device | str | Path,
    *,
    device: Device | str | Path | None = None,
    bits: Mapping[str, int] | None = None,
    **settings: Annotated[Any, Settings],
) -> Target:
    """A target by its name or file, or of a device, with settings of one's own.

        nvmc.make_target("fefet2", weight_bits=4, cell_bits=2, adc_bits=5, adc_range="calibrated")
        nvmc.make_target("mine.toml", rows=64, cols=64)

    Args:
        name: A target or a device: a name that comes with nvmc, or a TOML file; a file with the
            key `device` is a target's. A device is used as by default.
        device: In place of the device of a target file.
        bits: Weight bits by globs of layers, where the file has no layers.
        **settings: Keys of target files (docs/targets.md): those of `Settings`. They override a
            file's for all layers that do not state them themselves; `"none"` states that there is
            none, such as exact currents for `adc_bits`.

    Raises:
        DeviceError: There is no such target or device, or its file is not valid.
        OptionError: A setting is unknown, or does not fit the device or the others.
    """
    file = TargetFile(device="")
    if isinstance(name, str | Path) and _is_target(str(name)):
        file = read_target(name)
    elif device is not None:
        raise OptionError(
            f"make_target: {str(getattr(name, 'name', name))!r} is a device and another is given; "
            "give one of them, or a target's name or file"
        )
    else:
        device = load_device(name)
    try:
        return file.target(Settings.model_validate(settings), device, bits)
    except ValidationError as error:
        raise OptionError(f"make_target: {problem(error, Settings)}") from error


def _is_target(text: str) -> bool:
    """Whether a name or a file is a target's, not a device's."""
    if _is_file(text) and Path(text).is_file():
        return "device" in _table(_content(Path(text)), text)
    return text in target_names()
