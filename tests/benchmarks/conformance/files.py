"""Files that other tools wrote or changed: scikit-learn's, onnx's own, optimised, quantised."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from conformance import nets
from conformance.case import Case, export

__all__ = ["CASES"]

KIND = "changed files"


class _Small(nn.Module):
    """Convolutions, normalisation, a residual and two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1)
        self.norm, self.c, self.d = nn.BatchNorm2d(16), nn.Linear(16 * 49, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        x = torch.max_pool2d(torch.relu(self.norm(self.b(x)) + x), 4)
        return self.d(torch.relu(self.c(x.flatten(1))))


def _small(path: Path, opset: int = 17) -> None:
    torch.manual_seed(0)
    export(_Small(), [torch.randn(2, 1, 28, 28)], path, opset=opset, dynamo=False)


def _encoder(path: Path) -> None:
    torch.manual_seed(0)
    export(nets.Encoder(), [torch.randn(2, 12, 32)], path, opset=17, dynamo=False)


def _from(write: Callable[[Path], None], change: Callable[[Path, Path], None]) -> Any:
    """Write a file, then change it."""

    def both(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.onnx"
            write(source)
            change(source, path)

    return both


def _optimised(level: str) -> Callable[[Path, Path], None]:
    def change(source: Path, path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    return change


class _Reader:
    """Seeded calibration data."""

    def __init__(self, source: Path) -> None:
        model = onnx.load(source, load_external_data=False)
        draws = np.random.default_rng(0)
        self.rows: Iterator[dict[str, Any]] = iter(
            {
                value.name: draws.standard_normal(
                    [4, *(d.dim_value for d in value.type.tensor_type.shape.dim[1:])]
                ).astype("f4")
                for value in model.graph.input
            }
            for _ in range(2)
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self.rows, None)


def _static(
    weights: str, activations: str, form: str = "QDQ", **options: Any
) -> Callable[[Path, Path], None]:
    def change(source: Path, path: Path) -> None:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        quantize_static(
            source,
            path,
            _Reader(source),
            quant_format=getattr(QuantFormat, form),
            weight_type=getattr(QuantType, weights),
            activation_type=getattr(QuantType, activations),
            **options,
        )

    return change


def _dynamic(source: Path, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, path)


def _four_bits(source: Path, path: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=16, is_symmetric=True)
    quantizer.process()
    quantizer.model.save_model_to_file(str(path))


def _half(**options: Any) -> Callable[[Path, Path], None]:
    def change(source: Path, path: Path) -> None:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(source), **options), path)

    return change


def _external(source: Path, path: Path) -> None:
    where = f"{path.name}.weights"
    onnx.save(onnx.load(source), path, save_as_external_data=True, location=where, size_threshold=0)


def _newer(source: Path, path: Path) -> None:
    onnx.save(onnx.version_converter.convert_version(onnx.load(source), 21), path)


def _sklearn(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        from skl2onnx import to_onnx
        from sklearn import linear_model, neural_network, svm
        from sklearn.datasets import load_digits
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        x, y = load_digits(return_X_y=True)
        x = x.astype("f4")
        models = {
            "MLPClassifier": neural_network.MLPClassifier((32,), max_iter=20, random_state=0),
            "MLPRegressor": neural_network.MLPRegressor((32,), max_iter=20, random_state=0),
            "LogisticRegression": linear_model.LogisticRegression(max_iter=50),
            "LinearSVC": svm.LinearSVC(random_state=0),
            "Ridge": linear_model.Ridge(),
        }
        net = models[name]
        pipeline = name in ("MLPClassifier", "LogisticRegression")
        model = make_pipeline(StandardScaler(), PCA(20), net) if pipeline else net
        options = {"zipmap": False} if name in ("MLPClassifier", "LogisticRegression") else {}
        with warnings.catch_warnings(action="ignore"):
            model.fit(x, y)
            made = to_onnx(model, x[:1], options={id(model): options} if options else None)
        path.write_bytes(made.SerializeToString())

    return write


def _light(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        onnx.save(
            onnx.load(Path(onnx.__file__).parent / f"backend/test/data/light/{name}.onnx"), path
        )

    return write


LIGHT = [
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
]
LEVELS = {"basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED", "all": "ORT_ENABLE_ALL"}
CHANGES: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    **{
        f"saved at {key}": ("saved by onnxruntime", _optimised(value))
        for key, value in LEVELS.items()
    },
    "QDQ int8": ("onnxruntime static", _static("QInt8", "QInt8")),
    "QDQ per channel": ("onnxruntime static", _static("QInt8", "QUInt8", per_channel=True)),
    "QDQ uint16 inputs": ("onnxruntime static", _static("QInt8", "QUInt16")),
    "QOperator": ("onnxruntime static", _static("QInt8", "QUInt8", form="QOperator")),
    "dynamic int8": ("onnxruntime dynamic", _dynamic),
    "float16": ("converted", _half()),
    "float16, float32 outside": ("converted", _half(keep_io_types=True)),
    "external data": ("saved by onnx", _external),
    "opset 21": ("version converter", _newer),
}


def _cases() -> list[Case]:
    found: list[Case] = []
    for base, write in (("CNN", _small), ("encoder", _encoder)):
        for name, (made, change) in CHANGES.items():
            found.append(Case(f"{base}, {name}", KIND, made, _from(write, change)))
    found.append(
        Case("encoder, MatMulNBits", KIND, "onnxruntime, 4 bits", _from(_encoder, _four_bits))
    )
    for name in ("MLPClassifier", "MLPRegressor", "LogisticRegression", "LinearSVC", "Ridge"):
        found.append(Case(f"sklearn {name}", "scikit-learn", "skl2onnx", _sklearn(name)))
    found += [
        Case(f"light {name}", "onnx's own", "onnx", _light(f"light_{name}")) for name in LIGHT
    ]
    return found


CASES = _cases()
