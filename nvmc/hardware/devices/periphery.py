"""The periphery of a tile: what turns numbers into currents and currents into numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from nvmc.hardware.devices.adc.ideal import Ideal
from nvmc.hardware.devices.adc.kinds import AnyAdc
from nvmc.hardware.devices.later import Later
from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.devices.numbers import Positive

__all__ = [
    "EXACT_ADC",
    "MAX_CONVERTER_BITS",
    "Above0",
    "Accumulate",
    "AdcRange",
    "AdcRangeOf",
    "AdcRounding",
    "AdcSteps",
    "ArrayRange",
    "Bias",
    "ConverterBits",
    "DacMode",
    "DacRange",
    "Periphery",
    "Polarity",
    "Reference",
    "RowSplit",
    "RowsOn",
    "SignedInputs",
    "Subtract",
    "WaitingRows",
    "WireOhm",
    "WireSolution",
]

MAX_CONVERTER_BITS = 16
LLOYD_BITS = 10

ConverterBits = Annotated[int, Field(ge=1, le=MAX_CONVERTER_BITS, strict=True)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Ohm = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Scaled = Annotated[str, Field(pattern=r"^(calibrated|error):(\d+\.?\d*|\.\d+)$")]
AdcRange = Literal["full", "calibrated", "error"] | Scaled | Above0
AdcRangeOf = Literal["array", "slice", "column"]
AdcSteps = Literal["symmetric", "asymmetric", "lloyd-max"]
AdcRounding = Literal["nearest", "stochastic"]
DacMode = Literal["multi-level", "bit-serial"]
DacRange = Literal["dynamic", "calibrated", "error"]
SignedInputs = Literal["two-phase", "offset", "bipolar"]
Accumulate = Literal["digital", "analog"]
Bias = Literal["digital", "rows"]
Subtract = Literal["analog", "digital"]
Polarity = Literal["separate", "interleaved", "opposed"]
Reference = Literal["auto", "exact", "column", "none"]
RowSplit = Literal["filled", "even"]
WireSolution = Literal["auto", "exact", "approximate"]
WaitingRows = Literal["ground", "float", "off"]
RowsOn = Annotated[int, Field(ge=1, strict=True)]


class WireOhm(Strict, frozen=True):
    """Resistance of one wire segment, from one cell to the next, and of terminals, in ohm.

    Attributes:
        row: Along a word line.
        col: Along a bit line.
        driver: Of what drives a word line.
        sense: Between the end of a bit line and the virtual ground that senses it.
    """

    row: Ohm
    col: Ohm
    driver: Ohm = 0.0
    sense: Ohm = 0.0

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        """A number is the resistance of both wires."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"row": float(value), "col": float(value)}
        if isinstance(value, WireOhm):
            return value
        expected = (
            "expected ohm of a segment along rows and along columns, as in "
            "{ row = 1.0, col = 2.5 }, with driver and sense where terminals have any"
        )
        if not isinstance(value, Mapping):
            raise ValueError(expected)
        given = dict(cast(Mapping[str, Any], value))
        missing = [name for name in ("row", "col") if name not in given]
        if missing and given.keys() <= cls.model_fields.keys():
            raise ValueError(f"{' and '.join(missing)} is missing; {expected}")
        return given

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler):
        """Without terminals that have no resistance; see `Periphery`."""
        found: dict[str, Any] = handler(self)
        return {name: v for name, v in found.items() if v or name in ("row", "col")}

    @property
    def any(self) -> bool:
        """Whether anything has resistance."""
        return max(self.row, self.col, self.driver, self.sense) > 0

    def __str__(self) -> str:
        """As `--wire-ohm` takes it."""
        terminals = (self.driver, self.sense) if self.driver or self.sense else ()
        return ",".join(f"{ohm:g}" for ohm in (self.row, self.col, *terminals))


class ArrayRange(Later, frozen=True):
    """What calibration data showed at one array.

    Attributes:
        array: Its name in the manifest.
        input: Largest magnitude of its inputs, in the network's units.
        current: What the ADC's range has to reach, in level steps x input steps; None where the
            ADC is not calibrated.
        lowest: The most negative current in range, where ranges need not be symmetric.
        parts: What the range of each slice has to reach, or of each column, as `Adc.parts`.
        levels: What the codes stand for, ascending, where their steps are not even.
    """

    later: ClassVar[tuple[str, ...]] = ("lowest", "parts", "levels")

    array: str
    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    current: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    lowest: Annotated[float, Field(le=0, allow_inf_nan=False)] | None = None
    parts: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] | None = None
    levels: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] | None = None


class Periphery(Later, frozen=True):
    """DAC, ADC and wires, and which rows they serve. All defaults are ideal; see docs/physics.md.

    Attributes:
        dac_bits: Bits of an input code; None for inputs of any precision.
        dac_mode: `multi-level` drives a row with the whole code at once, `bit-serial` with one
            slice of its bits after the other.
        dac_slice_bits: Bits of such a slice, the lowest first; the last may have fewer.
        accumulate: How results of an input's slices are added up: `digital` converts each;
            `analog` adds charges, weighed by powers of two, and converts their sum once.
        dac_inl: Standard deviation of the bow and of the S of each DAC's curve, at their peaks, in
            steps of its code; drawn for every row and chip.
        dac_range: `dynamic` scales to the largest magnitude of each batch entry on its own;
            `calibrated` to the one seen on calibration data, and clips there; `error` clips where
            the squared error of the inputs is least on these data.
        signed_inputs: How negative inputs are driven: `two-phase` applies the positive and then
            the negative part and subtracts digitally; `offset` adds half the range and subtracts
            what that adds; `bipolar` drives rows with voltages of both signs at once. An entry
            without negative inputs is driven unsigned.
        adc_bits: Bits of an output code; None for currents read exactly.
        adc_range: `full` is the worst case of the tile; `calibrated` what calibration data showed;
            `error` where the squared error of the outputs is least on these data; `error:0.7` is
            0.7 times that, `calibrated:0.7` likewise; a number is in level steps x input steps.
        adc_range_of: What has a range of its own: an `array`, each `slice` (and polarity) of its
            weights, or each `column`.
        adc_steps: How codes lie in a calibrated range: `symmetric` about no current; `asymmetric`,
            from the lowest current to the highest; `lloyd-max`, uneven, where the squared error of
            what was seen is least.
        adc: The kind of ADC and its errors (`nvmc.hardware.devices.adc`), a text of them as in
            `sar:mismatch=0.01`.
        adc_share: Neighbouring columns of a tile that one ADC converts in turn, so that they have
            its errors in common.
        adc_rounding: `nearest`, or `stochastic`: up with the probability of what is above the code.
        subtract: Whether the two polarities are subtracted before the ADC (`analog`) or after it
            (`digital`).
        polarity: Where the two polarities of a weight lie, which matters behind wires. `separate`:
            on tiles of their own. `interleaved`: on neighbouring bit lines of one tile of twice as
            many. `opposed`: on neighbouring word lines, which are driven with opposite voltages
            onto one bit line (`nvmc.runtime.crossbar.interleaved`).
        reference: How what cells conduct at level 0 is kept out of results. `exact` takes it off
            before the ADC, without error; `column` subtracts what the ADC says of a column of
            cells at level 0; `none` leaves it in the ADC's range, and its nominal value is taken
            off digitally. `auto` is `exact` for sign-magnitude and `none` for other encodings.
        bias: Whether biases are added digitally, or are rows of cells that a constant input drives
            (`nvmc.passes.map_bias`).
        wire_ohm: Wire resistance; None for none.
        wire_solution: How a tile with wires is solved. `approximate` puts each cell behind its own
            word line and its own bit line alone, and takes cells that are not linear to lose what
            linear ones lose. `exact` solves the tile: once for linear cells, read by read for
            others, which is slow. `auto` is `exact` for linear cells and `approximate` for others.
        read_v: The voltage of the highest drive, at which the cells' own law of the current
            counts (`Device.iv`); None for currents that are proportional to the drive.
        row_split: How a matrix of more rows than a tile has is spread over tiles: `filled` fills
            one after the other, `even` gives as many tiles numbers of rows that differ by one at
            most.
        rows_on: The most rows of a tile that are driven at a time; those of a tile are read in
            turn, with a conversion each, and added up digitally. None for all of them.
        waiting_rows: What becomes of rows whose turn it is not (`rows_on`), which matters behind
            wires. `ground`: at 0 V, so that their cells load the bit lines. `float`: on nothing, as
            in an array without selectors; currents sneak from one bit line to another through
            them. `off`: their cells' selectors are off, and nothing flows.
        column_limit: Where the current of a column saturates ahead of the ADC, of either sign, in
            level steps x input steps; None for nowhere.
        ranges: What calibration data showed, an entry per array.
    """

    later: ClassVar[tuple[str, ...]] = (
        "dac_slice_bits",
        "accumulate",
        "dac_inl",
        "adc_range_of",
        "adc_steps",
        "adc",
        "adc_share",
        "adc_rounding",
        "wire_solution",
        "read_v",
        "row_split",
        "rows_on",
        "waiting_rows",
        "column_limit",
        "polarity",
        "bias",
    )

    dac_bits: ConverterBits | None = None
    dac_mode: DacMode = "multi-level"
    dac_slice_bits: ConverterBits = 1
    accumulate: Accumulate = "digital"
    dac_inl: Positive = 0.0
    dac_range: DacRange = "dynamic"
    signed_inputs: SignedInputs = "two-phase"
    adc_bits: ConverterBits | None = None
    adc_range: AdcRange = "full"
    adc_range_of: AdcRangeOf = "array"
    adc_steps: AdcSteps = "symmetric"
    adc: AnyAdc = Ideal()
    adc_share: Annotated[int, Field(ge=1, strict=True)] = 1
    adc_rounding: AdcRounding = "nearest"
    subtract: Subtract = "analog"
    polarity: Polarity = "separate"
    reference: Reference = "auto"
    wire_ohm: WireOhm | None = None
    wire_solution: WireSolution = "auto"
    read_v: Above0 | None = None
    row_split: RowSplit = "filled"
    rows_on: RowsOn | None = None
    waiting_rows: WaitingRows = "ground"
    column_limit: Above0 | None = None
    bias: Bias = "digital"
    ranges: tuple[ArrayRange, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Periphery:
        _check_inputs(self)
        if isinstance(self.adc_range, str) and self.adc_rule[1] == 0:
            raise ValueError(f"adc_range is {self.adc_range!r}; expected a factor above 0")
        if self.rows_on is None and self.waiting_rows != "ground":
            raise ValueError(
                f"waiting_rows is {self.waiting_rows!r}, but all rows are driven together and none "
                "waits; give rows_on"
            )
        for name in _OF_ADC:
            if self.adc_bits is None and self.changed(name):
                raise ValueError(f"{name} needs adc_bits; give 1 to 16")
        _check_spread(self)
        _check_polarity(self)
        return self

    @property
    def input_slices(self) -> int:
        """Pulses of an input of one sign."""
        if self.dac_mode != "bit-serial" or self.dac_bits is None:
            return 1
        return -(-self.dac_bits // self.dac_slice_bits)

    @property
    def held(self) -> int:
        """Pulses whose currents are added up before they are converted."""
        return self.input_slices if self.accumulate == "analog" else 1

    @property
    def adc_errs(self) -> bool:
        """Whether some conversion is not that of an ideal ADC that rounds to the nearest code."""
        return self.adc.active or self.adc_rounding != "nearest"

    @property
    def adc_split(self) -> bool:
        """Whether the range of an array's ADCs is more than one magnitude."""
        return self.changed("adc_range_of") or self.changed("adc_steps")

    @property
    def ideal(self) -> bool:
        """Whether an array computes x W exactly, whatever its inputs."""
        exact = self.dac_bits is None and self.adc_bits is None
        linear = not self.clips and self.column_limit is None
        return exact and not self.wired and linear and self.reference != "column"

    @property
    def wired(self) -> bool:
        """Whether wires or their terminals have resistance."""
        return self.wire_ohm is not None and self.wire_ohm.any

    @property
    def clips(self) -> bool:
        """Whether inputs beyond a calibrated range are clipped."""
        return self.dac_range != "dynamic"

    @property
    def adc_calibrated(self) -> bool:
        """Whether the ADC's ranges come from calibration data."""
        found = isinstance(self.adc_range, str) and self.adc_range != "full"
        return self.adc_bits is not None and found

    @property
    def adc_rule(self) -> tuple[str, float]:
        """How the ADC's ranges are found on calibration data, and what they are multiplied by."""
        rule, _, width = str(self.adc_range).partition(":")
        return rule, float(width or 1)

    @property
    def needs_data(self) -> bool:
        """Whether some range comes from calibration data."""
        return self.clips or self.adc_calibrated

    def spread_by(self, seen: ArrayRange) -> bool:
        """Whether what was seen of an array says how its codes are spread."""
        wanted = {
            "parts": self.changed("adc_range_of"),
            "lowest": self.adc_steps == "asymmetric",
            "levels": self.adc_steps == "lloyd-max",
        }
        return all(not need or getattr(seen, name) is not None for name, need in wanted.items())

    def range_of(self, array: str) -> ArrayRange | None:
        """What calibration showed at an array; None where it was not calibrated."""
        return next((entry for entry in self.ranges if entry.array == array), None)


def _check_inputs(periphery: Periphery) -> None:
    """Raise ValueError where inputs cannot be driven so."""
    bits, size = periphery.dac_bits, periphery.dac_slice_bits
    if periphery.dac_mode != "bit-serial":
        for name in ("dac_slice_bits", "accumulate"):
            if periphery.changed(name):
                raise ValueError(
                    f"{name} is {getattr(periphery, name)}, but multi-level inputs have one pulse; "
                    "give dac_mode bit-serial"
                )
    elif bits is None:
        raise ValueError("bit-serial inputs need dac_bits; give 1 to 16")
    elif size > bits:
        raise ValueError(f"dac_slice_bits is {size}; expected at most the {bits} dac_bits")
    one_bit = bits == 1 or (periphery.dac_mode == "bit-serial" and size == 1)
    if periphery.dac_inl and (bits is None or one_bit):
        what = "inputs are exact" if bits is None else "DACs of 1 bit have no codes between ends"
        raise ValueError(
            f"dac_inl is {periphery.dac_inl:g}, but {what}; give dac_bits (and, bit by "
            "bit, dac_slice_bits) of at least 2, or leave dac_inl out"
        )
    if periphery.signed_inputs == "offset" and bits == 1:
        raise ValueError("offset inputs need at least 2 dac_bits; got 1")
    if periphery.signed_inputs == "bipolar" and periphery.read_v is not None:
        raise ValueError(
            "bipolar inputs put negative voltages on cells, of which laws of their current say "
            "nothing; leave read_v out, or give signed_inputs two-phase or offset"
        )


def _check_polarity(periphery: Periphery) -> None:
    """Raise ValueError where polarities cannot lie so."""
    if periphery.polarity == "separate":
        return
    wrong = ""
    if periphery.polarity == "opposed" and periphery.subtract == "digital":
        wrong = "subtracts in the bit line; give subtract analog"
    elif periphery.read_v is not None:
        wrong = "is modelled for linear cells; leave read_v out"
    if wrong:
        raise ValueError(f"polarity {periphery.polarity} {wrong}, or give polarity separate")


def _check_spread(periphery: Periphery) -> None:
    """Raise ValueError where codes cannot be spread so over the ADC's ranges."""
    of, steps, (rule, _) = periphery.adc_range_of, periphery.adc_steps, periphery.adc_rule
    stated = [f"{of} ranges"] * (of != "array") + [f"{steps} steps"] * (steps != "symmetric")
    wrong = ""
    if len(stated) == 2:
        wrong = "are not both modelled; leave one at its default"
    elif stated and not periphery.adc_calibrated:
        wrong = f"come from data, but adc_range is {periphery.adc_range}; give calibrated or error"
    elif rule == "error" and (of == "column" or steps == "asymmetric"):
        wrong = "are not found by least error; give adc_range calibrated"
    elif of == "column" and periphery.reference == "column":
        wrong = "leave none for reference columns; give reference exact or none"
    elif steps == "lloyd-max" and (periphery.adc_bits or 0) > LLOYD_BITS:
        wrong = f"need a table of all codes; give at most {LLOYD_BITS} adc_bits"
    if wrong:
        raise ValueError(f"{' and '.join(stated)} {wrong}")


_OF_ADC = tuple(name for name in Periphery.later if name.startswith("adc"))

EXACT_ADC: dict[str, Any] = {
    "adc_bits": None,
    "adc_range": "full",
    **{name: Periphery.model_fields[name].default for name in _OF_ADC},
}
"""What a periphery without ADC states."""
