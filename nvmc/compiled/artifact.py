"""The compiled network: a folder `NAME.nvmc/` with `model.onnx` and `manifest.json`.

`model.onnx` is standard ONNX plus `nvmc` model-local functions, and carries the target in its
metadata under `nvmc.target`. `manifest.json` says what was mapped where; its JSON Schema is
published in `schema/manifest.schema.json`. `tiles.json` is the graph of tiles and data flow in
networkx's node-link form, and the one place that lists each tile. `results.sqlite` is what its
chips have come to (docs/results.md).

The manifest has the digests of the other files, which are checked when the folder is opened and
whenever they are read. `nvmc.compiled.generations` says how one network replaces another.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import field_validator, model_validator

from nvmc.arguments import checked
from nvmc.compiled.chip_cells import WithChips
from nvmc.compiled.converters import AdcCodes
from nvmc.compiled.digests import FileEntry
from nvmc.compiled.generations import (
    MANIFEST_FILE,
    MODEL_FILE,
    RESULTS_FILE,
    TILES_FILE,
    current,
    is_compiled,
    replacing_file,
    steadily,
    written,
)
from nvmc.compiled.held import hold
from nvmc.compiled.options import Calibration, CompileOptions
from nvmc.compiled.rounding import AgainstSource, Outliers, Rounding
from nvmc.compiled.shown import ShownNetwork
from nvmc.compiled.staging import LOCK_FILE, is_data
from nvmc.compiled.work import DigitalEntry, Entry, LayerEntry, Work
from nvmc.errors import ArtifactError
from nvmc.hardware.devices import Target

__all__ = [
    "FORMAT",
    "MANIFEST_FILE",
    "MODEL_FILE",
    "RESULTS_FILE",
    "TARGET_KEY",
    "TILES_FILE",
    "ArrayEntry",
    "Compiled",
    "Manifest",
    "Origin",
    "SourceEntry",
    "TensorEntry",
    "check_folder",
    "files_in",
    "find_compiled",
    "manifest_schema",
    "newest_folder",
    "open_compiled",
    "replacing_file",
]

FORMAT = "nvmc.compiled/3"
TARGET_KEY = "nvmc.target"


class Origin(NamedTuple):
    """What a network was compiled from, as it was given.

    Attributes:
        source: A path, a model or a module.
        example: An input of a module.
        target: The cells, before calibration.
        options: How it was compiled.
    """

    source: Any
    example: Any
    target: Target
    options: CompileOptions


class SourceEntry(Entry):
    """The network that was compiled."""

    file: str
    sha256: str
    opset: int


class TensorEntry(Entry):
    """An input or output of the network; a dynamic dimension is its name, or null."""

    name: str
    dtype: str
    shape: list[int | str | None] | None


class ArrayEntry(Entry):
    """One weight tensor on crossbars, programmed once however many layers use it.

    Attributes:
        name: Name of the array, the weight's name in the source network.
        shape: The weight's ONNX shape.
        groups, rows, cols: The matrices a crossbar computes with (`nvmc.hardware.tiling.Matrix`).
        planes: Places for cells per weight, each in a crossbar of its own: slices, times two where
            the sign is kept by two polarities.
        tiles: Number of tiles, all planes.
        cells: Places for cells that weights take, all planes. Under `sign-magnitude` one of the two
            polarities holds the cell, and the other's place stays unformed.
        utilization: Places taken over all places in its tiles.
        codes: Name of the initializer with the signed codes in model.onnx.
        scale: Name of the initializer with the step.
        grid: What became of the codes that a quantised network has for it: `kept int8 per channel`,
            `refitted from int8 per channel to 4 bits`; empty where the network has none.
        weight_bits, cell_bits: H and B of this array; null of analog weights.
        inputs: What the DAC does to inputs that the network has rounded itself: `codes of 8 bits
            are the DAC's`, or `are rounded again by the DAC`; empty without either.
        rounding: What rounding its weights to codes changed; null of analog weights, of parameters,
            and in networks that were compiled before it was counted.
        outliers: What its largest weights cost; null of parameters, of one bit, of a quantised
            network's codes, on a device whose strength of noise is not known, and in networks that
            were compiled before it was found.
        adc_codes: Which codes of its ADCs it reaches; null without ADC, of parameters, and in
            networks that were compiled before it was found.
    """

    name: str
    shape: list[int]
    groups: int
    rows: int
    cols: int
    planes: int
    tiles: int
    cells: int
    utilization: float
    codes: str
    scale: str
    grid: str = ""
    weight_bits: int | None = None
    cell_bits: int | None = None
    inputs: str = ""
    rounding: Rounding | None = None
    outliers: Outliers | None = None
    adc_codes: AdcCodes | None = None


class Manifest(Entry):
    """Everything `manifest.json` holds.

    Attributes:
        format: Of the folder.
        files: The other files of the network, by name.
        nvmc: Version that compiled it.
        source: The network that was compiled.
        target: The cells and how they are used.
        options: How it was compiled beside that.
        calibration: The images that ranges come from; null where there are no such ranges.
        inputs, outputs: The network's.
        arrays: Weights on crossbars.
        layers: Nodes that run on them.
        digital: Nodes that do not.
        work: The multiply-adds of both; null in networks that were compiled before it was counted.
        refusal: Why `nvmc simulate` and `nvmc train` refuse the network; null where nothing is
            known against it.
        assumptions: What is computed otherwise than the network says, a sentence each.
        against_source: The ideal chip compared with the source; null in networks that were compiled
            before it was.
    """

    format: Literal["nvmc.compiled/3"] = FORMAT
    files: dict[str, FileEntry]
    nvmc: str
    source: SourceEntry
    target: Target
    options: CompileOptions
    calibration: Calibration | None
    inputs: list[TensorEntry]
    outputs: list[TensorEntry]
    arrays: list[ArrayEntry]
    layers: list[LayerEntry]
    digital: list[DigitalEntry]
    work: Work | None = None
    refusal: str | None = None
    assumptions: list[str] = []
    against_source: AgainstSource | None = None

    @field_validator("files")
    @classmethod
    def _complete(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        apart = {name for name in files if is_data(name, MODEL_FILE)}
        if set(files) - apart != {MODEL_FILE, TILES_FILE}:
            raise ValueError(f"files are {sorted(files)}; expected {MODEL_FILE} and {TILES_FILE}")
        return files

    @model_validator(mode="after")
    def _adds_up(self) -> Manifest:
        work = self.work
        if work is not None and work != Work.of(self.layers, self.digital, work.assumed):
            raise ValueError("work is not the sum of that of layers and digital")
        return self

    @property
    def mapped_share(self) -> float | None:
        """Share of the weights' multiply-adds that is on crossbars; None where not known."""
        return None if self.work is None else self.work.share


def files_in(folder: Path) -> dict[str, FileEntry]:
    """The manifest's entries for the files in a folder that is being written."""
    paths = sorted(path for path in folder.iterdir() if path.name != LOCK_FILE)
    return {path.name: entry for path in paths if (entry := FileEntry.of_file(path)) is not None}


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of `manifest.json`; `nvmc/compiled/schema/manifest.schema.json` holds it."""
    schema = Manifest.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": FORMAT, **schema}


@checked
class Compiled(WithChips, ShownNetwork):
    """A compiled network on disk: the one that was opened, or an error where it was replaced.

    Attributes:
        folder: The folder `NAME.nvmc`.
        manifest: What was mapped where.
        origin: What this process compiled it from; None where another did.
    """

    def __init__(self, folder: Path, manifest: Manifest, origin: Origin | None = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.origin = origin
        hold(self, folder)

    @property
    def model_path(self) -> Path:
        """The ONNX file, of the network that is in the folder now (`load_compiled` checks it)."""
        return current(self.folder, MODEL_FILE)

    @property
    def tiles_path(self) -> Path:
        """The graph of tiles, node-link JSON, as `model_path`."""
        return current(self.folder, TILES_FILE)

    @property
    def results_path(self) -> Path:
        """The store of results, which may not be there yet."""
        return self.folder / RESULTS_FILE

    @property
    def network_sha256(self) -> str:
        """What the network is called in results: SHA-256 over those of its model's files."""
        files = self.manifest.files
        digests = [files[name].sha256 for name in sorted(files) if name.startswith(MODEL_FILE)]
        return hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()

    def read_tiles(self) -> bytes:
        """The graph of tiles, node-link JSON.

        Raises:
            ArtifactError: It is not what was opened.
        """

        def read() -> bytes:
            try:
                content = self.tiles_path.read_bytes()
            except OSError as error:
                raise self.refusal(TILES_FILE, None) from error
            self.check(TILES_FILE, FileEntry.of_bytes(content))
            return content

        return steadily(self.folder, read)

    def check(self, name: str, found: FileEntry | None = None) -> None:
        """Hold one of its files against the manifest.

        Args:
            name: The file.
            found: What was read of it; None to read it now.

        Raises:
            ArtifactError: It is not what was opened.
        """
        try:
            found = found or FileEntry.of_file(current(self.folder, name))
        except OSError as error:
            path = str(self.folder / name)
            raise ArtifactError(f"cannot read {path!r}: {error.strerror or error}") from error
        if found != self.manifest.files[name]:
            raise self.refusal(name, found)

    def refusal(self, name: str, found: FileEntry | None) -> ArtifactError:
        """The error for a file that is not what was opened, though `found` was read of it."""
        path, expected = self.folder / name, self.manifest.files[name]
        try:
            replaced = _manifest_in(self.folder).files != self.manifest.files
        except ArtifactError:
            replaced = True
        if replaced:
            return ArtifactError(
                f"{str(self.folder)!r} no longer holds the network that was opened: it was "
                "compiled again or removed; open it again, or compile it with another output="
            )
        return ArtifactError(
            f"{str(path)!r} is not the file that {MANIFEST_FILE} was written with: found "
            f"{found or 'no such file'}, expected {expected}; files of two networks are mixed, or "
            "one is damaged: compile again"
        )


@checked
def open_compiled(folder: str | Path) -> Compiled:
    """The compiled network in `folder`, its files checked against the manifest.

    Where another process compiles into the folder meanwhile, this is the old network or the new.

    Cost: every file is read once.

    Raises:
        ArtifactError: There is none, or it is damaged or of another format.
    """
    path = check_folder(folder)

    def read() -> Compiled:
        compiled = Compiled(path, _manifest_in(path))
        for name in compiled.manifest.files:
            compiled.check(name)
        return compiled

    return steadily(path, read)


@checked
def find_compiled(folder: str | Path = ".") -> Compiled:
    """The newest `*.nvmc` in `folder`.

    Raises:
        ArtifactError: There is none, or it cannot be opened.
    """
    return open_compiled(newest_folder(Path(folder)))


def check_folder(folder: str | Path) -> Path:
    """The folder, which has a compiled network, though perhaps one that cannot be opened.

    Raises:
        ArtifactError: It has none.
    """
    path = Path(folder)
    if path.is_file() and is_compiled(path.parent):
        raise ArtifactError(
            f"{str(folder)!r} is a file of the compiled network {str(path.parent)!r}; give that"
        )
    if not is_compiled(path):
        raise ArtifactError(
            f"{str(folder)!r} is not a compiled network (no {MANIFEST_FILE} and {MODEL_FILE} in "
            "it); make one with `nvmc compile MODEL --device NAME`"
        )
    return path


def newest_folder(folder: Path) -> Path:
    """The newest `*.nvmc` in `folder`, which is not opened.

    Raises:
        ArtifactError: There is none.
    """
    candidates = [path for path in folder.glob("*.nvmc") if is_compiled(path)]
    if not candidates:
        raise ArtifactError(
            f"no *.nvmc in {str(folder.resolve())!r}; make one with "
            "`nvmc compile MODEL --device NAME`, or name one"
        )
    return max(candidates, key=written)


def _manifest_in(folder: Path) -> Manifest:
    path = current(folder, MANIFEST_FILE)
    try:
        content: Any = json.loads(path.read_bytes())
        found = content.get("format") if isinstance(content, dict) else None  # pyright: ignore
        if found == FORMAT:
            return Manifest.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:
        detail = str(error).splitlines()[0]
        raise ArtifactError(f"{str(path)!r} is damaged ({detail}); compile again") from error
    raise ArtifactError(
        f"{str(path)!r} has format {found!r}; expected {FORMAT!r}: compile again, which keeps "
        "the results"
    )
