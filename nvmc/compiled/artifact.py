"""The compiled network: a folder `NAME.nvmc/` with `model.onnx` and `manifest.json`.

`model.onnx` is standard ONNX plus `nvmc` model-local functions, and carries the target in its
metadata under `nvmc.target`. `manifest.json` says what was mapped where; its JSON Schema is
published in `schema/manifest.schema.json`. `tiles.json` is the graph of tiles and data flow in
networkx's node-link form, and the one place that lists each tile. `results.sqlite` is what its
chips have come to (docs/results.md).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from nvmc.arguments import checked
from nvmc.compiled.options import Calibration, CompileOptions
from nvmc.compiled.rounding import AgainstSource, Rounding
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
    "SourceEntry",
    "TensorEntry",
    "find_compiled",
    "manifest_schema",
    "open_compiled",
    "replacing_file",
    "replacing_folder",
]

FORMAT = "nvmc.compiled/2"
TARGET_KEY = "nvmc.target"
MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
TILES_FILE = "tiles.json"
RESULTS_FILE = "results.sqlite"


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


class Manifest(Entry):
    """Everything `manifest.json` holds.

    Attributes:
        format: Of the folder.
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
        against_source: The ideal chip held against the source; null in networks that were compiled
            before it was.
    """

    format: Literal["nvmc.compiled/2"] = FORMAT
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

    @property
    def mapped_share(self) -> float | None:
        """Share of the weights' multiply-adds that is on crossbars; None where not known."""
        return None if self.work is None else self.work.share

    against_source: AgainstSource | None = None


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of `manifest.json`; `nvmc/compiled/schema/manifest.schema.json` holds it."""
    schema = Manifest.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": FORMAT, **schema}


@checked
class Compiled:
    """A compiled network on disk.

    Attributes:
        folder: The folder `NAME.nvmc`.
        manifest: What was mapped where.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL_FILE

    @property
    def tiles_path(self) -> Path:
        """The graph of tiles, node-link JSON."""
        return self.folder / TILES_FILE

    @property
    def results_path(self) -> Path:
        """The store of results, which may not be there yet."""
        return self.folder / RESULTS_FILE

    def check_arrays(self, found: Iterable[str]) -> None:
        """Make sure that `found`, the arrays in the model, are those of the manifest.

        Raises:
            ArtifactError: They are not; another file took the model's place.
        """
        if set(found) != {entry.name for entry in self.manifest.arrays}:
            raise ArtifactError(
                f"{str(self.model_path)!r} does not hold the arrays that {MANIFEST_FILE} lists; "
                "compile again"
            )


@checked
def open_compiled(folder: str | Path) -> Compiled:
    """The compiled network in `folder`.

    Raises:
        ArtifactError: There is none, or it is damaged or of another format.
    """
    path = Path(folder)
    manifest = path / MANIFEST_FILE
    if not manifest.is_file() or not (path / MODEL_FILE).is_file():
        raise ArtifactError(
            f"{str(folder)!r} is not a compiled network (no {MANIFEST_FILE} and {MODEL_FILE} in "
            "it); make one with `nvmc compile MODEL --device NAME`"
        )
    try:
        content: Any = json.loads(manifest.read_bytes())
        found = content.get("format") if isinstance(content, dict) else None  # pyright: ignore
        if found != FORMAT:
            raise ArtifactError(
                f"{str(manifest)!r} has format {found!r}; expected {FORMAT!r}: compile again"
            )
        return Compiled(path, Manifest.model_validate(content))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        detail = str(error).splitlines()[0]
        raise ArtifactError(f"{str(manifest)!r} is damaged ({detail}); compile again") from error


@checked
def find_compiled(folder: str | Path = ".") -> Compiled:
    """The newest `*.nvmc` in `folder`.

    Raises:
        ArtifactError: There is none.
    """
    candidates = [p for p in Path(folder).glob("*.nvmc") if (p / MANIFEST_FILE).is_file()]
    if not candidates:
        raise ArtifactError(
            f"no *.nvmc in {str(Path(folder).resolve())!r}; make one with "
            "`nvmc compile MODEL --device NAME`, or name one"
        )
    return open_compiled(max(candidates, key=lambda p: (p / MANIFEST_FILE).stat().st_mtime_ns))


@contextmanager
def replacing_folder(folder: Path) -> Generator[Path]:
    """A new folder that takes `folder`'s place when the block ends well, and is gone otherwise.

    The store of results moves over from the old folder, as the same files on disk: a process that
    is writing to it goes on and notices nothing.

    Raises:
        ArtifactError: `folder` exists and is not a compiled network, or cannot be written.
    """
    if folder.exists() and not (folder / MANIFEST_FILE).is_file():
        raise ArtifactError(
            f"{str(folder)!r} exists and is not a compiled network; remove it or choose another -o"
        )
    with _writing(folder):
        temporary, retired = _beside(folder), _beside(folder)
        try:
            temporary.mkdir()
            yield temporary
            if folder.exists():
                os.rename(folder, retired)
                _move_results(retired, temporary)
            os.rename(temporary, folder)
        finally:
            if retired.exists() and not folder.exists():
                _move_results(temporary, retired)
                os.rename(retired, folder)
            for rest in (temporary, retired):
                shutil.rmtree(rest, ignore_errors=True)


@contextmanager
def replacing_file(path: Path) -> Generator[Path]:
    """A temporary path that takes `path`'s place when the block ends well, and is gone otherwise.

    The temporary file lies in a hidden folder beside `path`; further files that the block leaves
    in that folder (external data) move along with it.

    Raises:
        ArtifactError: `path` lies in a compiled network, is a device or the like, or cannot be
            written.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ArtifactError(f"{str(path)!r} is no regular file, so none is put in its place")
    if (path.parent / MANIFEST_FILE).is_file():
        raise ArtifactError(f"{str(path)!r} lies in a compiled network; choose another -o")
    with _writing(path):
        holder = _beside(path)
        try:
            holder.mkdir()
            yield holder / path.name
            for file in sorted(holder.iterdir(), key=lambda f: f.name == path.name):
                os.replace(file, path.parent / file.name)
        finally:
            shutil.rmtree(holder, ignore_errors=True)


def _move_results(old: Path, new: Path) -> None:
    """Move the store with the files that SQLite keeps beside it while processes use it.

    No name that SQLite knows leads to `old` or `new`, so none of these files is made, or deleted,
    while they move.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        file = old / f"{RESULTS_FILE}{suffix}"
        if file.exists():
            os.rename(file, new / file.name)


def _beside(path: Path) -> Path:
    """A new hidden name beside `path`, known before it is made: an interruption can come then."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}"


@contextmanager
def _writing(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"cannot write {str(path)!r}: {error.strerror or error}; nothing was changed there"
        ) from error
