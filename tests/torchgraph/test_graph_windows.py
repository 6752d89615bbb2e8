"""Operators with windows, borders and scales against onnxruntime, over their settings."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx_ir as ir
import pytest
import torch

from nvmc.errors import TrainingError
from nvmc.torchgraph.graph import Graph
from onnx_models import run_proto
from onnx_text import proto_of

SIZE = (2, 4, 7, 8)
ROLLED = ["strides = [2,3]", "dilations = [2,1]", "strides = [3,2], dilations = [1,2]"]
BORDERS = ["", "pads = [0,1,1,0]", 'auto_pad = "VALID"']
SAME = ['auto_pad = "SAME_UPPER"', 'auto_pad = "SAME_LOWER"']
CEILED = "pads = [1,1,1,1], ceil_mode = 1"
WINDOWS = [*product(BORDERS, ROLLED), *product(SAME, ["", "strides = [2,3]"])]
TRANSPOSED = [
    "pads = [1,0,1,0]",
    "pads = [0,1,2,0], strides = [2,3]",
    "strides = [2,3], output_padding = [1,2]",
    "strides = [2,2], output_padding = [1,1], pads = [1,1,1,1]",
    "strides = [2,3], dilations = [2,1], group = 2",
    'auto_pad = "SAME_UPPER", strides = [2,3]',
    'auto_pad = "SAME_LOWER", strides = [2,3]',
    "output_shape = [15,17], strides = [2,2]",
    'output_shape = [15,18], strides = [2,2], auto_pad = "SAME_UPPER"',
    "output_shape = [12,13], strides = [2,2]",
]
COORDINATES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
SCALES = ["1.0, 1.0, 2.0, 3.0", "1.0, 1.0, 0.6, 1.7", "1.0, 1.0, 0.4, 0.5"]


def compare(node: str, constants: str = "", opset: int = 21, atol: float = 1e-5) -> None:
    """Run `y = NODE` on x of `SIZE` both ways; the tolerance is for sums of tens of products."""
    constants = f"<{constants}>" if constants else ""
    shape = ",".join(map(str, SIZE))
    text = f"g (float[{shape}] x) => (float[A,B,C,D] y) {constants} {{ y = {node} }}"
    proto = proto_of(text, opset=opset)
    graph = Graph.of(ir.from_proto(proto)).eval()
    x = np.random.default_rng(0).standard_normal(SIZE, dtype=np.float32)
    (wanted,) = run_proto(proto, {"x": x})
    y = graph(torch.from_numpy(x)).detach().numpy()
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize(("border", "rolled"), [*WINDOWS, *product([CEILED], ROLLED)])
def test_pools(op: str, border: str, rolled: str) -> None:
    settings = ", ".join(filter(None, ["kernel_shape = [3,2]", border, rolled]))
    compare(f"{op} <{settings}> (x)")


@pytest.mark.parametrize(("border", "rolled"), list(product(["pads = [0,1,1,0]", CEILED], ROLLED)))
def test_averages_that_count_the_padding(border: str, rolled: str) -> None:
    settings = ", ".join(filter(None, ["kernel_shape = [3,2]", border, rolled]))
    compare(f"AveragePool <{settings}, count_include_pad = 1> (x)")


@pytest.mark.parametrize(("border", "rolled"), WINDOWS)
def test_convolutions(border: str, rolled: str) -> None:
    settings = ", ".join(filter(None, ["group = 2", border, rolled]))
    compare(f"Conv <{settings}> (x, w, b)", "float[6,2,3,2] w, float[6] b")


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool", "LpPool"])
def test_automatic_padding_of_dilated_windows_is_refused(op: str) -> None:
    weight = ", w" if op == "Conv" else ""
    settings = 'kernel_shape = [3,2], auto_pad = "SAME_LOWER", dilations = [1,2]'
    with pytest.raises(TrainingError, match=f"{op} 'y' .* SAME_LOWER with dilations"):
        compare(f"{op} <{settings}> (x{weight})", "float[6,4,3,2] w")


@pytest.mark.parametrize("settings", TRANSPOSED)
def test_transposed_convolutions(settings: str) -> None:
    size = 3 if "group" in settings else 6
    compare(f"ConvTranspose <{settings}> (x, w, b)", f"float[4,{size},3,4] w, float[6] b")


@pytest.mark.parametrize(
    ("mode", "coordinates", "scales"), list(product(["linear", "cubic"], COORDINATES, SCALES))
)
def test_resizing_by_scales(mode: str, coordinates: str, scales: str) -> None:
    settings = f'mode = "{mode}", coordinate_transformation_mode = "{coordinates}"'
    constants = f"float[0] roi, float[4] scales = {{{scales}}}"
    # onnxruntime works out places in single precision: 2**-24 of a size below 24, times slopes.
    compare(f"Resize <{settings}> (x, roi, scales)", constants, atol=1e-4)


@pytest.mark.parametrize(
    ("rounding", "coordinates"),
    list(product(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"], COORDINATES)),
)
def test_resizing_to_the_nearest(rounding: str, coordinates: str) -> None:
    settings = f'nearest_mode = "{rounding}", coordinate_transformation_mode = "{coordinates}"'
    compare(f"Resize <{settings}> (x, , , to)", "int64[4] to = {2, 4, 14, 5}")


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_resizing_to_sizes(policy: str) -> None:
    settings = f'mode = "linear", axes = [2,3], keep_aspect_ratio_policy = "{policy}"'
    compare(f"Resize <{settings}> (x, , , to)", "int64[2] to = {11, 10}", atol=1e-4)


@pytest.mark.parametrize("antialias", ["linear", "cubic"])
def test_resizing_without_aliases(antialias: str) -> None:
    settings = f'mode = "{antialias}", antialias = 1, exclude_outside = 1'
    constants = "float[0] roi, float[4] scales = {1.0, 1.0, 0.5, 0.6}"
    compare(f"Resize <{settings}> (x, roi, scales)", constants, atol=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsampling_of_old_models(mode: str) -> None:
    constants = "float[4] scales = {1.0, 1.0, 2.0, 3.0}"
    compare(f'Upsample <mode = "{mode}"> (x, scales)', constants, opset=9, atol=1e-4)
    compare(f'Resize <mode = "{mode}"> (x, scales)', constants, opset=10, atol=1e-4)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", ["0,0,1,2,0,0,3,1", "1,2,0,0,0,1,0,4", "0,0,-2,1,0,0,1,-1"])
def test_padding(mode: str, pads: str) -> None:
    pads = pads.replace("2,0,0,0,1,0,4", "1,0,0,0,1,0,4") if mode == "reflect" else pads
    constants = f"int64[8] pads = {{{pads}}}, float v = {{0.5}}"
    compare(f'Pad <mode = "{mode}"> (x, pads, v)', constants)


@pytest.mark.parametrize(
    ("mode", "border", "corners"),
    list(product(["linear", "nearest", "cubic"], ["zeros", "border", "reflection"], [0, 1])),
)
def test_sampling_along_a_grid(mode: str, border: str, corners: int) -> None:
    settings = f'mode = "{mode}", padding_mode = "{border}", align_corners = {corners}'
    compare(f"GridSample <{settings}> (x, grid)", "float[2,5,6,2] grid", atol=1e-4)
