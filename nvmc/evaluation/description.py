"""What a result is of: one description, in every result, file, figure and store of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from nvmc import __version__
from nvmc.compiled.rounding import AgainstSource
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.reading import Reading
from nvmc.hardware.compensation import Compensation, Marks, Needs
from nvmc.hardware.devices.settings import LayerTarget, number_text, own_texts

__all__ = [
    "UNITS",
    "Compensated",
    "Description",
    "Fidelity",
    "as_cells",
    "in_common",
    "noise_text",
    "noise_words",
]


@dataclass(frozen=True)
class Compensated:
    """What chips do against their noise, and what it costs each of them.

    Attributes:
        by: The compensation.
        needs: What it needs.
        left: Layers that it leaves as they are, since they have no output columns of their own.
    """

    by: Compensation
    needs: Needs
    left: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The keys of one of `compensation` in `--json`."""
        return {"type": self.by.type, "needs": self.needs.to_json(), "left": list(self.left)}


Fidelity = Literal["cells", "circuit"]
"""Which of the two models of a chip ran: an ideal periphery, or the circuit."""


@dataclass(frozen=True)
class Description:
    """A population of chips and what it was run on: all that decides the values of its chips.

    Attributes:
        network: Name of the compiled network.
        network_sha256: Of its model, with external data.
        mapped_share: Share of the weights' multiply-adds that is on crossbars; None where that is
            not known (`nvmc.compiled.work.Work`).
        clip: What `--clip` its weights were clipped by as it was compiled; None where they were
            not.
        activation_bits: Bits of what enters its mapped layers, as it was compiled; None where
            these are not rounded.
        calibration: What the images are that chips are calibrated on, and their SHA-256; None where
            they are on none.
        marks: Which weights chips verify; None where they verify none.
        against_source: Its ideal chip against the network it was compiled from, as that was
            compiled; None where it was not compared.
        setup: Target (device, every noise source, layout, periphery), sigma and time.
        fidelity: `cells`, or `circuit` where the periphery or read noise was in the loop.
        mc_passes: Stochastic passes that were averaged; None where the network draws nothing.
        reading: The output that was scored, what it holds and along which axes, and why it was
            read so.
        metric: `accuracy` or, where values are to be met, `r2`; without labels `agreement` (or
            `agreement-r2`) with the ideal chip.
        data: What the images are.
        data_sha256: Of their content; None for seeded inputs.
        images: Images each chip was run on.
        limit: At most so many were asked for; None for all.
        data_note: That these are not like all of the data, in a sentence; empty where they may be.
        seed: Population of chips.
        first: Index of the first chip.
        runs: Number of chips.
        noisy_places: The nodes whose inputs have noise, by the name of its source.
    """

    network: str
    network_sha256: str
    mapped_share: float | None
    clip: str | None
    activation_bits: int | None
    calibration: tuple[str, str] | None
    marks: Marks | None
    against_source: AgainstSource | None
    setup: Setup
    fidelity: Fidelity
    mc_passes: int | None
    reading: Reading
    metric: str
    data: str
    data_sha256: str | None
    images: int
    limit: int | None
    seed: int
    first: int
    runs: int
    noisy_places: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    data_note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know beside a caption, in sentences."""
        return (f"Note: {self.data_note}.",) if self.data_note else ()

    @property
    def output(self) -> str:
        """The output that was scored."""
        return self.reading.output

    def to_json(self) -> dict[str, Any]:
        """The keys of `description` in `--json` and of the store; docs/results.md names them."""
        target, against = self.setup.target, self.against_source
        return {
            "nvmc": __version__,
            "network": self.network,
            "network_sha256": self.network_sha256,
            "mapped_share": self.mapped_share,
            "clip": self.clip,
            "activation_bits": self.activation_bits,
            "source_agreement": None if against is None else against.agreement,
            "source_r2": None if against is None else against.r2,
            "source_data": None if against is None or against.reason else against.data,
            "device": target.device.name,
            "sigma": self.setup.strength,
            "time_s": self.setup.age,
            "noise": [
                source.model_dump(mode="json", exclude_none=True) for source in target.device.noise
            ],
            **self._places(),
            "compensate": self.setup.compensations,
            "calibration_data": None if self.calibration is None else self.calibration[0],
            "calibration_sha256": None if self.calibration is None else self.calibration[1],
            "verified_data": None if self.marks is None else self.marks.data,
            "verified_sha256": None if self.marks is None else self.marks.sha256,
            "weight_bits": target.weight_bits,
            "bits": _by_glob(target.layers, "weight_bits"),
            "layer_cell_bits": _by_glob(target.layers, "cell_bits"),
            "layers": own_texts(target.layers),
            "cell_bits": target.cell_bits if target.weight_bits is not None else None,
            "encoding": target.encoding,
            "per_channel": target.per_channel,
            "tile": f"{target.rows}x{target.cols}",
            "periphery": target.periphery.model_dump(mode="json", exclude={"ranges"}),
            "fidelity": self.fidelity,
            "mc_passes": self.mc_passes,
            **self.reading.to_json(),
            "metric": self.metric,
            "data": self.data,
            "data_sha256": self.data_sha256,
            "images": self.images,
            "limit": self.limit,
            **({"data_note": self.data_note} if self.data_note else {}),
            "seed": self.seed,
            "first": self.first,
            "runs": self.runs,
        }

    def _places(self) -> dict[str, Any]:
        """Where activations have noise; nothing where none has, as before there was such noise."""
        if not self.noisy_places:
            return {}
        return {"noisy_places": {name: list(at) for name, at in self.noisy_places.items()}}


def _by_glob(parts: Sequence[LayerTarget], name: str) -> list[str]:
    """`GLOB=VALUE` of all parts that state a setting."""
    return [f"{one.glob}={getattr(one, name)}" for one in parts if getattr(one, name) is not None]


def in_common(descriptions: Sequence[Description]) -> dict[str, Any]:
    """What several descriptions agree in, as JSON.

    Of a periphery and of each noise source, which are the same but for a parameter, the entries
    that are equal; no noise where sources are of other types. The ADC's range is that of those
    which have an ADC.
    """
    shared, *others = [description.to_json() for description in descriptions]
    periphery, noise = shared["periphery"], shared["noise"]
    for other in others:
        shared = _equal(shared, other)
        periphery = _equal(periphery, other["periphery"])
        if noise is not None and _types(noise) == _types(other["noise"]):
            noise = [_equal(*both) for both in zip(noise, other["noise"], strict=True)]
        else:
            noise = None
    around: list[dict[str, Any]] = [each.to_json()["periphery"] for each in descriptions]
    ranges = [each.get("adc_range") for each in around if each.get("adc_bits") is not None]
    if ranges and all(each == ranges[0] for each in ranges):
        periphery["adc_range"] = ranges[0]
    found = {**shared, "periphery": periphery, "noise": noise}
    return found if noise is not None else {k: v for k, v in found.items() if k != "noise"}


def _types(noise: Sequence[Mapping[str, Any]]) -> list[str]:
    return [source["type"] for source in noise]


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key in other and value == other[key]}


def as_cells(facts: Mapping[str, Any]) -> dict[str, str | int | float | None]:
    """A description's JSON as a row of a table: lists, objects, true and false as JSON texts."""
    return {
        key: json.dumps(value, separators=(",", ":"))
        if isinstance(value, list | dict | bool)
        else value
        for key, value in facts.items()
    }


def noise_text(source: Mapping[str, Any]) -> str:
    """A noise source on one line as `--noise` takes it; laws and tables of a device as `…`.

    A compensation likewise, as `--compensate` takes it.
    """
    if source["type"] == "own":
        texts = [source["law"], *(f"{k}={_plain(v)}" for k, v in source["keys"].items())]
        return f"{','.join(texts)} (SHA-256 {source['sha256'][:12]})"
    options = {key: value for key, value in source.items() if key != "type"}
    texts = ",".join(f"{key}={_plain(value)}" for key, value in options.items())
    return f"{source['type']}{':' if texts else ''}{texts}"


UNITS = {
    "level": "in level steps",
    "full_range": "in shares of the full range",
    "value": "in shares of the value",
    "us": "in µS",
    "inverse": "in shares of the inverse conductance",
    "log": "of the logarithm",
}
"""A basis of noise -> what it says of sigma, or of an amplitude."""


def noise_words(source: Mapping[str, Any]) -> str:
    """A noise source for a caption or heading: `programming (sigma=0.1, in level steps)`."""
    if source["type"] == "own":
        return noise_text(source)
    texts = [f"{k}={_plain(v)}" for k, v in source.items() if k not in ("type", "basis")]
    texts += [UNITS[source["basis"]]] if "basis" in source else []
    return f"{source['type']} ({', '.join(texts)})" if texts else source["type"]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list):
        entries = list(map(_plain, cast(list[Any], value)))
        return "…" if "…" in entries else ";".join(entries)
    return "…" if isinstance(value, Mapping) else str(value)
