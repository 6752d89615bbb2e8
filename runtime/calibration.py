"""The range of activations on calibration data, by onnxruntime's own calibrators."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nvmc.errors import DataError, ModelError, OptionError

__all__ = ["Method", "Serializable", "calibrate"]

Method = Literal["minmax", "entropy", "percentile"]

_ENTROPY_BINS = 512
"""Of the first histogram. onnxruntime's default, 128, leaves the search one candidate."""
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_FLOAT, _FLOAT16 = 1, 10  # TensorProto.DataType


class Serializable(Protocol):
    """What `onnx.ModelProto` is here."""

    def SerializeToString(self) -> bytes:
        """The model as bytes."""
        ...


def calibrate(
    model: Serializable | bytes | str | Path,
    tensors: Sequence[str],
    data: NDArray[Any] | Mapping[str, NDArray[Any]],
    method: Method = "minmax",
    batch: int = 32,
    percentile: float = 99.999,
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value that each tensor is to represent.

    Args:
        model: The float network: an `onnx.ModelProto`, its bytes, or a file without external data.
        tensors: Names of float tensors of the main graph, inputs included.
        data: Samples along the first axis, for the only input; or a mapping from inputs' names.
        method: `minmax` takes the extremes; `entropy` the range whose 128-level version loses the
            least information (Kullback-Leibler); `percentile` cuts both tails of a histogram.
        batch: Samples a run; a model with a fixed first dimension sets its own.
        percentile: Of `percentile`, the share of values to keep, in percent, 0 to 100.

    Returns:
        (low, high) in the tensors' units, in the order of `tensors`. The extremes do not depend on
        the batch; a histogram's bins follow the batches seen first.

    Cost: one inference of the data on the CPU; memory of one batch. `entropy` adds about half a
    second a tensor.

    Raises:
        DataError: There are no samples, they do not fit the model, or a tensor has NaN or infinity.
        ModelError: The model cannot be run, or has no such float tensor.
        OptionError: An unknown method, a batch below 1, a percentile outside 0 to 100.
    """
    if batch < 1 or not 0 <= percentile <= 100:
        raise OptionError(f"batch {batch}, percentile {percentile}: expected >= 1 and 0 to 100")
    if not tensors:
        return {}
    with _temporary_folder() as folder, _silence():
        calibrater = _calibrater(_written(model, folder), method, percentile)
        _choose(calibrater, list(dict.fromkeys(tensors)))
        watched = _Watched(calibrater, tensors)
        calibrater.infer_session = watched
        for feeds in _batches(watched.inputs, data, batch):
            calibrater.collect_data(_Once(feeds))
        found = calibrater.compute_data()
        ranges = {name: found[name].range_value for name in tensors}
    return {name: (_number(low), _number(high)) for name, (low, high) in ranges.items()}


class _Once:
    """A calibration data reader of a single batch."""

    def __init__(self, feeds: dict[str, NDArray[Any]]) -> None:
        self._feeds: dict[str, NDArray[Any]] | None = feeds

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        feeds, self._feeds = self._feeds, None
        return feeds


class _Watched:
    """The calibrator's session, which refuses tensors that are not finite.

    onnxruntime's ReduceMin and ReduceMax pass over NaN, and its calibrators do too. So for each
    tensor T the graph gets the output sum(T - T), which is zero only where all of T is finite.
    """

    def __init__(self, calibrater: Any, tensors: Sequence[str]) -> None:
        self._checks = {f"{name}_nvmc_finite": name for name in tensors}
        graph = calibrater.model.graph
        for check, name in self._checks.items():
            graph.node.add(op_type="Sub", input=[name, name], output=[f"{check}_zeros"])
            total = graph.node.add(op_type="ReduceSum", input=[f"{check}_zeros"], output=[check])
            total.attribute.add(name="keepdims", i=0, type=2)
            graph.output.add(name=check)
        options: Any = ort.SessionOptions()  # pyright: ignore[reportUnknownVariableType]
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = ort.InferenceSession(
                calibrater.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a type for each of its status codes
            raise ModelError(f"onnxruntime cannot run the model: {_line(error)}") from error
        self.inputs: list[Any] = self._session.get_inputs()
        self._outputs = [o for o in self._session.get_outputs() if o.name not in self._checks]

    def get_inputs(self) -> list[Any]:
        """As of an InferenceSession."""
        return self.inputs

    def get_outputs(self) -> list[Any]:
        """The outputs that the calibrator knows of."""
        return self._outputs

    def run(self, _: None, feeds: dict[str, NDArray[Any]]) -> list[Any]:
        """The calibrator's outputs for one batch."""
        names = [*self._checks, *(output.name for output in self._outputs)]
        try:
            values: list[Any] = self._session.run(names, feeds)
        except Exception as error:
            raise DataError(f"the model does not run on this data: {_line(error)}") from error
        for value, name in zip(values, self._checks.values(), strict=False):
            if value != 0:
                raise DataError(
                    f"tensor {name!r} has NaN or infinity on the calibration data; expected finite "
                    "numbers: check the data and its scaling"
                )
        return values[len(self._checks) :]


def _written(model: Serializable | bytes | str | Path, folder: Path) -> Path:
    """The model in a file of our own: the calibrators write beside it."""
    path = folder / "model.onnx"
    try:
        if isinstance(model, (str, Path)):
            content = Path(model).read_bytes()
        else:
            content = model if isinstance(model, bytes) else model.SerializeToString()
        path.write_bytes(content)
    except Exception as error:  # the file system's, or protobuf's beyond 2 GiB
        raise ModelError(f"cannot read the model to calibrate: {_line(error)}") from error
    return path


def _calibrater(path: Path, method: Method, percentile: float) -> Any:
    import onnxruntime.quantization.calibrate as library

    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "minmax": (library.MinMaxCalibrater, {}),
        "entropy": (library.EntropyCalibrater, {"num_bins": _ENTROPY_BINS}),
        "percentile": (library.PercentileCalibrater, {"percentile": percentile}),
    }
    if method not in kinds:
        raise OptionError(f"method {method!r} is unknown; expected one of {', '.join(kinds)}")
    kind, options = kinds[method]
    try:
        return kind(path, augmented_model_path=str(path.with_name("augmented.onnx")), **options)
    except Exception as error:  # onnx, protobuf and the file system each have their own
        raise ModelError(
            f"cannot load the model to calibrate: {_line(error)}; expected an ONNX model without "
            "external data"
        ) from error


def _choose(calibrater: Any, tensors: list[str]) -> None:
    """Have the calibrator collect `tensors` and nothing else."""
    graph = calibrater.model.graph
    known = {value.name for value in graph.input}
    known.update(name for node in graph.node for name in node.output)
    infos = {info.name: info for info in (*graph.value_info, *graph.output, *graph.input)}
    for name in tensors:
        if name not in known:
            raise ModelError(f"the model has no tensor {name!r} in its main graph to calibrate")
        if name not in infos:  # shape inference found nothing: onnxruntime will tell if wrong
            infos[name] = graph.value_info.add(name=name)
            infos[name].type.tensor_type.elem_type = _FLOAT
        if infos[name].type.tensor_type.elem_type not in (_FLOAT, _FLOAT16):
            raise ModelError(f"tensor {name!r} is not float32 or float16; it has no range")

    def select(_: Any) -> tuple[list[str], dict[str, Any]]:
        return tensors, infos

    calibrater.select_tensors_to_calibrate = select
    calibrater.augment_graph()


def _batches(
    inputs: list[Any], data: NDArray[Any] | Mapping[str, NDArray[Any]], batch: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Feeds of `batch` samples; a fixed batch size repeats samples to fill the last one."""
    names = [value.name for value in inputs]
    arrays = dict(data) if isinstance(data, Mapping) else {names[0]: np.asarray(data)}
    if sorted(arrays) != sorted(names):
        raise DataError(f"calibration data is for {sorted(arrays)}; the inputs are {sorted(names)}")
    counts = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or not min(counts):
        raise DataError(
            f"calibration data has {sorted(counts)} samples; expected one or more, as many for "
            "every input"
        )
    count = counts.pop()
    fixed = next((v.shape[0] for v in inputs if v.shape and isinstance(v.shape[0], int)), None)
    size = fixed or batch
    for start in range(0, count, size):
        chosen = np.arange(start, start + size) % count if fixed else slice(start, start + size)
        yield {
            value.name: np.ascontiguousarray(arrays[value.name][chosen], _DTYPES.get(value.type))
            for value in inputs
        }


@contextlib.contextmanager
def _temporary_folder() -> Generator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="nvmc-") as folder:
            yield Path(folder)
    except OSError as error:
        raise DataError(
            f"calibration cannot write its temporary files ({error.strerror or error}); make room, "
            "or set TMPDIR to a folder with some"
        ) from error


@contextlib.contextmanager
def _silence() -> Generator[None]:
    """The calibrators print progress, and use NumPy in ways that warn; neither is for our users."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _number(value: Any) -> float:
    return float(np.asarray(value).item())


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
