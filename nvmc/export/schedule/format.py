"""What `schedule.json` of an export holds; docs/export.md says what each instruction does.

Its JSON Schema is published in `nvmc/export/schema/schedule.schema.json`. Keys that are null are
left out of the file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from nvmc.hardware.options import CheckedModel

__all__ = [
    "FORMAT",
    "Add",
    "Buffer",
    "Clear",
    "Convert",
    "Converter",
    "Digital",
    "Drive",
    "Encode",
    "Instruction",
    "Move",
    "Program",
    "Repeat",
    "Scale",
    "Sum",
    "Tile",
    "View",
    "When",
    "Write",
    "program_schema",
]

FORMAT = "nvmc.export.schedule/1"

Span = tuple[NonNegativeInt, PositiveInt, NonNegativeInt]
"""Neighbouring lines of a tile: the first, how many, and where the first one's number lies."""


_FROM: Any = Field(validation_alias="from", serialization_alias="from")


class _Row(CheckedModel, extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True):
    """A part of the file."""


class View(_Row, frozen=True):
    """Elements of a buffer, which is flat.

    Element (i, j, ...) is at offset + i strides[0] + j strides[1] + ... + loops["n"] n + ...

    Attributes:
        buffer: Its name.
        offset: Where the first one is.
        shape: How many there are along each axis; none for a single element.
        strides: From one to the next along each axis.
        loops: What the index of an enclosing `repeat` counts for.
    """

    buffer: str
    offset: NonNegativeInt = 0
    shape: tuple[PositiveInt, ...] = ()
    strides: tuple[NonNegativeInt, ...] = ()
    loops: dict[str, NonNegativeInt] | None = None


class Write(_Row, frozen=True):
    """Program the cells of a tile."""

    op: Literal["write"] = "write"
    tile: NonNegativeInt


class Encode(_Row, frozen=True):
    """Turn numbers into input codes; the first axis of `from` tells entries apart.

    Attributes:
        source, to: `from`, and where the codes go, of one shape.
        top: The largest code, of an entry that is driven without an offset.
        limit: The range of inputs; null where each entry has its own.
        half: The offset of an entry with negative inputs; null where it takes two phases.
        step: A number for each entry: the input that a code of 1 stands for.
        signed: A number for each entry: 1 where an input is negative, else 0.
        shift: A number for each entry: its offset; null where there are none.
    """

    op: Literal["encode"] = "encode"
    source: View = _FROM
    to: View
    top: float
    limit: float | None = None
    half: float | None = None
    step: str
    signed: str
    shift: str | None = None


class Move(_Row, frozen=True):
    """Copy elements; both views have one shape."""

    op: Literal["move"] = "move"
    source: View = _FROM
    to: View


class Clear(_Row, frozen=True):
    """Set elements to 0."""

    op: Literal["clear"] = "clear"
    to: View


class Drive(_Row, frozen=True):
    """Put input codes on word lines; all others of these tiles are at 0.

    Attributes:
        tiles: Which.
        source: `from`: the buffer of the codes.
        rows: Which word lines get which.
        phase: `+` drives the positive part of a code, `-` the negative one.
        bit: The `repeat` whose index says which bit of it; null for all of it at once.
        shift: Added to every code first; null for nothing.
    """

    op: Literal["drive"] = "drive"
    tiles: tuple[NonNegativeInt, ...]
    source: str = _FROM
    rows: tuple[Span, ...]
    phase: Literal["+", "-"] = "+"
    bit: str | None = None
    shift: View | None = None


class Convert(_Row, frozen=True):
    """Convert the currents of bit lines.

    Attributes:
        tile: Which.
        minus: The tile whose currents are subtracted ahead of the converters; null for none.
        converter: How they convert.
        columns: Which bit lines, and where in `to` their numbers go.
        to: A buffer.
    """

    op: Literal["convert"] = "convert"
    tile: NonNegativeInt
    minus: NonNegativeInt | None = None
    converter: NonNegativeInt
    columns: tuple[Span, ...]
    to: str


class Add(_Row, frozen=True):
    """to = to + from x factor x 2^index x by, element by element.

    Attributes:
        to, source: Of one shape; `source` is `from`.
        factor: A number.
        bit: The `repeat` whose index is the exponent of 2; null for 1.
        by: A single element; null for 1.
        set: Whether what was in `to` does not count.
    """

    op: Literal["add"] = "add"
    to: View
    source: View = _FROM
    factor: float = 1.0
    bit: str | None = None
    by: View | None = None
    set: Literal[True] | None = None


class Sum(_Row, frozen=True):
    """The sum of the elements of `from`, one after the other, into a single element."""

    op: Literal["sum"] = "sum"
    to: View
    source: View = _FROM


class Scale(_Row, frozen=True):
    """to = from x (step x (unit x factor)), element by element."""

    op: Literal["scale"] = "scale"
    to: View
    source: View = _FROM
    step: View
    unit: View
    factor: float


class Digital(_Row, frozen=True):
    """A node of graph.onnx.

    Attributes:
        node: Its name.
        type: Its operator, with the domain ahead where it is not a standard one.
        source, to: `from` and `to`: the values of its inputs and outputs; empty where one is left
            out.
    """

    op: Literal["digital"] = "digital"
    node: str
    type: str
    source: tuple[str, ...] = _FROM
    to: tuple[str, ...]


class Repeat(_Row, frozen=True):
    """The body so many times, with index 0, 1, ..."""

    op: Literal["repeat"] = "repeat"
    index: str
    count: PositiveInt
    body: tuple[Instruction, ...]


class When(_Row, frozen=True):
    """The body where an element is not 0."""

    op: Literal["when"] = "when"
    flag: View
    body: tuple[Instruction, ...]


Instruction = Annotated[
    Write | Encode | Move | Clear | Drive | Convert | Add | Sum | Scale | Digital | Repeat | When,
    Field(discriminator="op"),
]


class Tile(_Row, frozen=True):
    """One physical tile.

    Attributes:
        array: The weight on it.
        number: Of the tile in tiles.json of the compiled network.
        slice: Which digit of the weights.
        polarity: `+` or `-`; null where cells have no sign.
        groups, rows, columns: First and one past the last, of the array's matrices.
        shape: Word lines and bit lines in use.
        off: What a cell conducts at level 0, in level steps, where it reaches the converters.
        codes: The level of every cell in tiles.npz, of `shape`.
        levels: The level on the chip, likewise; null for the ideal chip.
        cores: The core of every copy of the tile; null where no placement was given.
    """

    array: str
    number: NonNegativeInt
    slice: NonNegativeInt
    polarity: Literal["+", "-"] | None = None
    groups: tuple[NonNegativeInt, PositiveInt]
    rows: tuple[NonNegativeInt, PositiveInt]
    columns: tuple[NonNegativeInt, PositiveInt]
    shape: tuple[PositiveInt, PositiveInt]
    off: float = 0.0
    codes: str
    levels: str | None = None
    cores: tuple[NonNegativeInt, ...] | None = None


class Converter(_Row, frozen=True):
    """How currents become codes: by even steps, or by a table.

    Attributes:
        bits: Of an ADC.
        inverse: Codes in a unit of current; null with a table.
        low, high: The lowest and the highest code.
        limit: Where columns saturate; null for nowhere.
        thresholds, levels: Names in tiles.npz: of each curve, in codes; null without a table.
        curve, inverses, worth: Names in tiles.npz: of each column, its curve, the codes in a unit
            of current, and what a level counts for. `worth` is null where all count 1.
    """

    bits: PositiveInt
    inverse: float | None = None
    low: float
    high: float
    limit: float | None = None
    thresholds: str | None = None
    levels: str | None = None
    curve: str | None = None
    inverses: str | None = None
    worth: str | None = None


class Buffer(_Row, frozen=True):
    """Numbers that instructions read and write.

    Attributes:
        name: Of the buffer; of a value of the graph, the value's.
        shape: Null where the graph does not say.
        type: Of its elements, as NumPy calls it.
        holds: What it has before the first instruction: `zeros`; an `input` of the network; an
            initializer of `graph.onnx`; an array of `tiles.npz`; or `nothing`.
    """

    name: str
    shape: tuple[NonNegativeInt, ...] | None = None
    type: str
    holds: Literal["zeros", "input", "graph", "tiles", "nothing"]


class Program(_Row, frozen=True):
    """Everything that `schedule.json` of an export holds.

    Attributes:
        format: Of the file.
        nvmc: Version that wrote it.
        graph, cells: Names of the files beside it.
        inputs, outputs: Buffers of the network's inputs and outputs.
        tiles, converters: By number.
        buffers: All of them.
        setup: Instructions that program the tiles, once.
        program: Those of one run.
    """

    format: Literal["nvmc.export.schedule/1"] = FORMAT
    nvmc: str
    graph: str
    cells: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tiles: tuple[Tile, ...]
    converters: tuple[Converter, ...]
    buffers: tuple[Buffer, ...]
    setup: tuple[Instruction, ...]
    program: tuple[Instruction, ...]


def program_schema() -> dict[str, Any]:
    """The JSON Schema; `nvmc/export/schema/schedule.schema.json` holds it."""
    schema = Program.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": FORMAT, **schema}
