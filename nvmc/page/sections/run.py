"""What was run: command, networks by hash, every noise source, images, versions."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from nvmc import __version__
from nvmc.data.items import in_items
from nvmc.evaluation.description import Description
from nvmc.evaluation.parameters import duration_text
from nvmc.hardware.devices import Device
from nvmc.page.blocks import Block, DataTable, Paragraph, Quotation
from nvmc.page.report import Report
from nvmc.page.values import counted

__all__ = ["run"]

Told = list[tuple[Description, str]]

LIBRARIES = ("numpy", "onnx", "onnxruntime", "scipy")
"""What has a part in a chip's value; their versions are stated."""
ONCE = ("noise", "periphery", "reading", "data_note")
"""Keys of a description that have a table or a sentence of their own."""
NAMES = {
    "nvmc": "version of nvmc",
    "clip": "clipping of weights",
    "activation_bits": "bits of activations",
    "source_agreement": "ideal chip against its source: agreement",
    "source_r2": "ideal chip against its source: R²",
    "source_data": "ideal chip against its source: data",
    "sigma": "strength of the noise (sigma)",
    "noisy_places": "where activations have noise",
    "compensate": "compensation on the chip",
    "calibration_sha256": "calibration data's SHA-256",
    "verified_data": "data for which weights were chosen to be verified",
    "verified_sha256": "SHA-256 of verified weights",
    "weight_bits": "bits of a weight",
    "bits": "layers with bits of their own",
    "layer_cell_bits": "cell bits of these layers",
    "layers": "layers with settings of their own",
    "cell_bits": "bits of a cell",
    "encoding": "how a sign is stored",
    "per_channel": "a scale for each channel",
    "tile": "cells of a tile",
    "fidelity": "what is simulated",
    "class_axis": "axis of the classes",
    "batch_axis": "axis of the batch",
    "images": "images",
    "limit": "most images (limit)",
    "first": "number of the first chip",
    "runs": "chips",
    "network_sha256": "network's SHA-256",
    "mapped_share": "share of multiply-adds on crossbars",
    "time_s": "seconds since programming",
    "data_sha256": "data's SHA-256",
    "mc_passes": "stochastic passes",
}
"""How a key is called where its own words would not say it."""


def run(report: Report) -> Iterator[Block]:
    """Everything that decides the values of the chips."""
    if report.command:
        yield Quotation("command", "Command", report.command)
    told: Told = []
    for one in report.populations:
        if one.description not in [description for description, _ in told]:
            told.append((one.description, one.label))
    yield _facts(told)
    yield from _noise(told)
    yield from _periphery(told)
    yield from _devices(told)
    yield _versions()
    others = sum(one.elsewhere.chips for one in report.populations)
    if others:
        checked = sum(one.elsewhere.checked for one in report.populations)
        yield Paragraph(
            f"{counted(others, 'chip')} came from results that another user or machine had "
            f"written; {checked:,} of them were run again here, with the same result.",
            "note",
        )


def _facts(told: Told) -> DataTable:
    """A row for each key, a column for each population."""
    facts = [one.to_json() for one, _ in told]
    keys = [key for key in facts[0] if key not in ONCE]
    labels = ("", *(label for _, label in told))
    shown = [
        (_named(key, told[0][0].data), *(_text(key, one.get(key)) for one in facts))
        for key in keys
        if any(one.get(key) not in (None, [], "") for one in facts)
    ]
    title = in_items("Networks, chips and images", told[0][0].data)
    return DataTable.of("setup", title, labels, shown, open=True)


def _named(key: str, data: str) -> str:
    """What a key is called, with the word for a data set's rows."""
    return in_items(NAMES.get(key, key.replace("_", " ")), data)


def _text(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if key == "time_s":
        return f"{value:g} ({duration_text(value)})"
    if key in ("mapped_share", "source_agreement"):
        return f"{100 * value:.2f} %"
    if isinstance(value, list):
        return "; ".join(map(_plain, cast(list[Any], value))) or "none"
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value)


def _noise(told: Told) -> Iterator[Block]:
    """Every noise source with all that it is given."""
    lines: list[tuple[str, str, str, str]] = []
    for one, label in told:
        for number, source in enumerate(one.to_json()["noise"], 1):
            settings = {key: value for key, value in source.items() if key != "type"}
            given = ", ".join(f"{key} = {_short(value)}" for key, value in settings.items())
            lines.append((label, str(number), str(source["type"]), given or "no settings"))
    if lines:
        columns = ("chips of", "order", "noise source", "settings")
        yield DataTable.of("noise", "Noise sources, in the order in which they act", columns, lines,
                           open=True)  # fmt: skip
    else:
        yield Paragraph("The device has no noise: every chip is the ideal chip.", "note")


def _short(value: Any) -> str:
    text = _plain(value) if not isinstance(value, list | dict) else json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _periphery(told: Told) -> Iterator[Block]:
    """DAC, ADC and wires, by key, where one is not ideal."""
    found = [one.setup.target for one, _ in told]
    if all(target.ideal for target in found):
        yield Paragraph("Converters and wires are ideal.")
        return
    each = [one.to_json()["periphery"] for one, _ in told]
    keys = [key for key in each[0] if any(one[key] is not None for one in each)]
    shown = [(key.replace("_", " "), *(_short(one[key]) for one in each)) for key in keys]
    labels = ("", *(label for _, label in told))
    yield DataTable.of("periphery", "Converters and wires", labels, shown)


def _devices(told: Told) -> Iterator[Block]:
    """Where the numbers of each device come from."""
    devices: dict[str, Device] = {}
    for one, _ in told:
        devices |= {device.name: device for device in one.setup.target.devices}
    shown = [(name, device.title, device.source) for name, device in devices.items()]
    columns = ("device", "what it is", "where its numbers come from")
    yield DataTable.of("devices", "Devices", columns, shown, open=True)


def _versions() -> DataTable:
    shown = [("nvmc", __version__), ("Python", platform.python_version())]
    shown += [(name, _version(name)) for name in LIBRARIES]
    shown.append(("processor", platform.machine()))
    return DataTable.of("versions", "Versions", ("software", "version"), shown, open=True)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
