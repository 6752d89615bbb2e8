"""How many bits weights and cells have, of a target and of the layers with bits of their own."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from nvmc.errors import OptionError
from nvmc.hardware.devices.device import Device
from nvmc.hardware.devices.settings import LayerTarget, Settings
from nvmc.hardware.encoding import Encoding

__all__ = [
    "bits_of",
    "cell_bits_of",
    "check_bits",
    "most_cell_bits",
    "named",
    "resolved",
    "without",
]


def bits_of(device: Device, given: int | Literal["none"] | None) -> int | None:
    """Weight bits as asked for, or the device's; None for analog weights.

    Raises:
        OptionError: Nobody says how many, on a device whose cells have a number of levels.
    """
    chosen = device.defaults.weight_bits if given is None else given
    if chosen is None and device.levels != "continuous":
        raise OptionError(
            f"device {device.name!r} has {device.levels} levels per cell and does not say how many "
            "bits a weight has; give --weight-bits 1 to 16 (none: analog weights), or "
            "defaults.weight_bits in its file"
        )
    return chosen if isinstance(chosen, int) else None


def most_cell_bits(device: Device, weight_bits: int | None, encoding: Encoding) -> int:
    """The most bits that a cell can hold: the device's, and no more than a weight needs.

    A code of H bits and its sign need H + 1 of one cell; one bit is the sign.
    """
    if weight_bits is None:
        return device.max_cell_bits
    return min(device.max_cell_bits, weight_bits + (encoding == "offset" and weight_bits > 1))


def cell_bits_of(
    device: Device, weight_bits: int | None, given: int | None, encoding: Encoding
) -> int:
    """Bits of a cell as asked for, or the device's; at most what a weight has.

    One more, which holds the sign of an offset array's weights in the same cell, only if asked for.

    Raises:
        OptionError: The device's cells hold fewer.
    """
    cell = given or device.defaults.cell_bits or device.max_cell_bits
    if not 1 <= cell <= device.max_cell_bits:
        raise OptionError(
            f"cell bits are {cell}, but a cell of {device.name!r} has {device.levels} levels; "
            f"expected 1 to {device.max_cell_bits}"
        )
    most = weight_bits or cell
    return min(cell, most if given is None else most_cell_bits(device, weight_bits, encoding))


def check_bits(
    own: int | None,
    layers: Mapping[str, int],
    cell_bits: int | None,
    per_channel: bool,
    parts: Sequence[LayerTarget] = (),
    encoding: Encoding = "sign-magnitude",
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
    stated = [part.weight_bits for part in parts if isinstance(part.weight_bits, int)]
    most = max(own or 0, *layers.values(), *stated, 0)
    more = encoding == "offset" or any(part.encoding == "offset" for part in parts)
    if (
        own is not None
        and cell_bits is not None
        and not 1 <= cell_bits <= most + (more and most > 1)
    ):
        one = " and one for the sign" if more and most > 1 else ""
        raise OptionError(f"cell bits are {cell_bits}; expected 1 to the weight bits ({most}){one}")


def resolved(
    part: LayerTarget, device: Device, weight_bits: int | None, given: Settings
) -> LayerTarget:
    """A layer's entry with all of its bits and, on a device of its own, its encoding.

    Args:
        part: What was stated.
        device: The target's.
        weight_bits: The target's.
        given: What was asked for in the target; what is not there are defaults of its device.

    Raises:
        OptionError: The entry does not fit itself, or its device.
    """
    part = without(part, device)
    bits: dict[str, Any] = {}
    with named(part):
        stated = part.weight_bits
        if part.device is not None:
            stated = stated or given.weight_bits
            bits["encoding"] = part.encoding or given.encoding or part.device.defaults.encoding
        if part.device is not None or stated is not None:
            weight_bits = bits_of(part.device or device, stated)
        if weight_bits is None and (part.cell_bits is not None or part.per_channel):
            raise OptionError("the weights are analog; state weight_bits 1 to 16 as well")
        cells = part.device or device
        encoding = bits.get("encoding") or part.encoding or given.encoding
        encoding = encoding or device.defaults.encoding
        most = most_cell_bits(cells, weight_bits, encoding)
        if weight_bits is not None and (part.cell_bits or 0) > max(most, weight_bits):
            raise OptionError(
                f"cell_bits is {part.cell_bits}; expected 1 to {max(most, weight_bits)}"
            )
        cell = part.cell_bits or given.cell_bits
        bits["cell_bits"] = cell_bits_of(cells, weight_bits, cell, encoding)
    bits["weight_bits"] = weight_bits or "none"
    if weight_bits is None and given.per_channel:
        bits["per_channel"] = False
    return part.model_copy(update=bits)


@contextmanager
def named(part: LayerTarget) -> Generator[None]:
    """In the block, errors begin with the layers they are about."""
    try:
        yield
    except OptionError as error:
        raise OptionError(f"layers {part.glob!r}: {error}") from error


def without(part: LayerTarget, device: Device) -> LayerTarget:
    """The entry, without the device where that is the target's: it is then none of its own."""
    return part if part.device != device else part.model_copy(update={"device": None})
