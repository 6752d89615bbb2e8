"""What a simulation would refuse is said when a network is compiled."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from nvmc import Compiled, compile_model, simulate
from nvmc.errors import NvmcError
from onnx_text import proto_of

REFUSED = {
    "g () => (float[2,4] y) <float[8,4] w, float[2,8] x> { y = MatMul (x, w) }": "no input",
    "g (float[N,8] x, float k) => (float[N,4] y) <float[8,4] w> "
    "{ h = MatMul (x, w) y = Mul (h, k) }": "nvmc compile --input k=VALUE",
    "g (float[T,N,8] x) => (float[N,4] y) <float[8,4] w, int64[1] z = {0}> "
    "{ h = MatMul (x, w) y = ReduceSum <keepdims = 0> (h, z) }": "images along 'N'",
    "g (float[N,8] x) => (float[N,4] y) <float[8,4] w> { h = MatMul (x, w)"
    " s = ReduceMax <keepdims = 0> (x) t = Cast <to = 9> (s) "
    "y = If (t) <then_branch = a () => (float[N,4] p) { p = RandomNormalLike (h) },"
    " else_branch = b () => (float[N,4] q) { q = Identity (h) }> }": "lies in a subgraph",
}
BOXES = (
    "g (float[N,8,6] x) => (int64[K,3] y) <float[6,4] w, float[6,3] v> { b = MatMul (x, w) "
    "p = MatMul (x, v) s = Transpose <perm = [0, 2, 1]> (p) y = NonMaxSuppression (b, s) }"
)


def compiled(text: str, folder: Path) -> Compiled:
    onnx.save(proto_of(text), folder / "m.onnx")
    return compile_model(folder / "m.onnx", "fefet2", output=folder / "m.nvmc")


@pytest.mark.parametrize("text", REFUSED)
def test_compile_says_what_simulate_refuses(text: str, tmp_path: Path) -> None:
    network = compiled(text, tmp_path)
    with pytest.raises(NvmcError) as caught:
        simulate(network, runs=1)
    assert REFUSED[text] in str(caught.value)
    assert network.manifest.refusal is not None
    assert REFUSED[text] in network.manifest.refusal


def test_rows_that_depend_on_the_image(tmp_path: Path) -> None:
    """Boxes that are left are as many as the image has; scores beside them can be judged."""
    network = compiled(BOXES, tmp_path)
    assert "rows depend on the image" in str(network.manifest.refusal)
    with pytest.raises(NvmcError, match="one row per image .* NonMaxSuppression"):
        simulate(network, runs=1)
    beside = BOXES.replace("(int64[K,3] y)", "(int64[K,3] y, float[N,8,3] p)")
    assert compiled(beside, tmp_path).manifest.refusal is None


def test_nothing_is_said_of_others(tmp_path: Path) -> None:
    """Noise of a size that only the data fix is no reason."""
    network = compiled(
        "g (float[N,T,8] x) => (float[N,T,4] y) <float[8,4] w> "
        "{ h = MatMul (x, w) r = RandomNormalLike (h) y = Add (h, r) }",
        tmp_path,
    )
    assert network.manifest.refusal is None
    x = np.random.default_rng(0).standard_normal((6, 5, 8), np.float32)
    one, four = (simulate(network, runs=2, data=(x, x[..., :4]), batch=n).values for n in (1, 4))
    assert np.array_equal(one, four)
