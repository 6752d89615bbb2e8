"""What is done to each network: one function a phase, each run in a process of its own.

All work on one folder: `m.onnx`, `inputs.npz` (named inputs and y), `m.nvmc`. Numbers are given
back by name; memory is the peak resident set above that of the imports, in bytes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PHASES", "Found"]

Found = dict[str, Any]
IMAGES, CHIPS, DEVICE, SIGMA = 8, 2, "fefet2", 0.05
LENGTH = 16
"""Of any free axis behind the first."""


def write(folder: Path) -> Found:
    """Draw inputs for the file that lies there, and what its source gives for them."""
    import onnx

    model = onnx.load(folder / "m.onnx", load_external_data=False)
    known = {value.name for value in model.graph.initializer}
    draws = np.random.default_rng(0)
    values = [value for value in model.graph.input if value.name not in known]
    inputs = {value.name: _drawn(value, draws) for value in values}
    outputs = _run(folder / "m.onnx", inputs)
    first = next(iter(outputs.values()))
    y = first.argmax(1) if first.ndim == 2 and first.shape[1] > 1 else first
    if first.dtype.kind in "iu":
        y = first
    np.savez(folder / "inputs.npz", **inputs, y=y.astype("i8" if y.dtype.kind in "iu" else "f4"))
    values = first.astype("i8" if first.dtype.kind in "iu" else "f4")
    np.savez(folder / "values.npz", **inputs, y=values)  # classes of random weights say little
    np.savez(folder / "source.npz", **outputs)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    size = sum(file.stat().st_size for file in folder.glob("m.onnx*"))
    return {"size": size, "opset": opset, "nodes": len(model.graph.node)}


def compile_phase(folder: Path) -> Found:
    """Compile it; the share of its weights' multiply-adds on crossbars."""
    from nvmc import compile_model

    with _measured() as found:
        compiled = compile_model(folder / "m.onnx", DEVICE, output=folder / "m.nvmc")
    manifest = compiled.manifest
    reasons = sorted({f"{entry.op}: {entry.reason}" for entry in manifest.digital})
    return {**found, "share": manifest.mapped_share, "digital": reasons}


def compare(folder: Path) -> Found:
    """The greatest difference of the ideal chip, its weights unrounded, to the source.

    Of each output as a share of its largest magnitude; of whole numbers, how many differ.
    """
    from nvmc import compile_model

    compiled = compile_model(folder / "m.onnx", "ideal", output=folder / "ideal.nvmc")
    batch = 1 if compiled.manifest.inputs[0].shape[:1] == [1] else IMAGES
    inputs = _inputs(folder)
    found, expected = _run(compiled.model_path, inputs), _run(folder / "m.onnx", inputs, batch)
    if list(found) != list(expected):
        return {"fault": f"outputs are {list(found)}; expected {list(expected)}"}
    return {"difference": max(_difference(found[name], expected[name]) for name in found)}


def simulate(folder: Path) -> Found:
    """Two chips, the first of them run once more as a standard model on a stock session."""
    from nvmc import open_compiled, program_chip
    from nvmc import simulate as simulated

    compiled = open_compiled(folder / "m.nvmc")
    with _measured() as found:
        result = simulated(
            compiled, runs=CHIPS, sigma=SIGMA, data=str(folder / "values.npz"), jobs=1
        )
    values = result.times[0].values
    program_chip(compiled, 0, folder / "chip.onnx", sigma=SIGMA)
    (scores, *_) = _run(folder / "chip.onnx", _inputs(folder)).values()
    value = _value(scores, np.load(folder / "values.npz")["y"])
    return {**found, "chips": values.tolist(), "again": value}


def train(folder: Path) -> Found:
    """One step of training; the result must differ from its source and run."""
    from nvmc import training

    settings = training.Settings(epochs=1, batch=IMAGES, chips=CHIPS, every=0)
    data = str(folder / "inputs.npz")
    task = training.make_task(data, DEVICE, validation=data, settings=settings)
    method = training.make_method("gaussian", {})
    with _measured() as found:
        training.train(folder / "m.onnx", task, method, output=folder / "trained.onnx")
    outputs = _run(folder / "trained.onnx", _inputs(folder))
    expected = np.load(folder / "source.npz")
    (name, *_) = outputs
    if not np.isfinite(outputs[name]).all():
        return {"fault": "the trained network gives NaN or infinity"}
    return {**found, "moved": _difference(outputs[name], expected[name])}


def _drawn(value: Any, draws: np.random.Generator) -> np.ndarray:
    """Seeded numbers for an input: normal, words, ones for a mask."""
    import onnx

    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
    shape = (IMAGES, *(size or LENGTH for size in sizes[1:]))
    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if kind.kind == "f":
        return draws.standard_normal(shape).astype(kind)
    return np.ones(shape, kind) if "mask" in value.name else draws.integers(3, 100, shape, kind)


def _inputs(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "inputs.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name != "y"}


def _run(path: Path, inputs: dict[str, np.ndarray], batch: int = IMAGES) -> dict[str, np.ndarray]:
    """Every output on a stock session that optimises nothing, in batches as large as it takes."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    sizes = [value.shape[0] for value in session.get_inputs()]
    batch = next((size for size in sizes if isinstance(size, int)), batch)
    parts = [
        session.run(None, {name: array[at : at + batch] for name, array in inputs.items()})
        for at in range(0, IMAGES, batch)
    ]
    names = [value.name for value in session.get_outputs()]
    return {
        name: np.concatenate(some)
        for name, some in zip(names, zip(*parts, strict=True), strict=True)
    }


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind != "f":
        return float((found != expected).mean())
    a, b = found.astype("f8"), expected.astype("f8")
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def _value(scores: np.ndarray, y: np.ndarray) -> float:
    """Accuracy of classes, R² of values: as docs/simulate.md defines them, in a few lines."""
    if y.dtype.kind == "i":
        return float(((scores.argmax(1) if scores.ndim > y.ndim else scores) == y).mean())
    scores, y = scores.astype("f8").reshape(IMAGES, -1), y.astype("f8").reshape(IMAGES, -1)
    return float(1 - ((scores - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum())


@contextmanager
def _measured() -> Iterator[Found]:
    """Processor's seconds, and the peak of memory above what was resident, of the block.

    A forked process has the pages of libraries only as it touches them: they do not count.
    """
    found: Found = {}
    gc.collect()
    before, started = _status("VmRSS") - _libraries(), time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on: man 5 proc
    yield found
    found["seconds"] = time.process_time() - started
    found["memory"] = _status("VmHWM") - _libraries() - before


def _libraries() -> int:
    """Bytes of libraries that are resident."""
    sizes, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("Rss:"):
            sizes += int(line.split()[1]) * 1024 if counts else 0
        elif "-" in line.split(" ", 1)[0]:
            counts = ".so" in line.rsplit("/", 1)[-1]
    return sizes


def _status(name: str) -> int:
    """A number of bytes in Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


PHASES: dict[str, Callable[[Path], Found]] = {
    "write": write,
    "compile": compile_phase,
    "compare": compare,
    "simulate": simulate,
    "train": train,
}
