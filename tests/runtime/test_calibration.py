import numpy as np
import onnx
import onnx_ir as ir
import pytest

from nvmc.errors import DataError, ModelError, OptionError
from nvmc.passes.quantize_activations import QuantizeActivations
from nvmc.runtime.calibration import calibrate
from onnx_text import model_of, proto_of, run

CNN = """g (float[N,1,6,6] x) => (float[N,3] y)
<float[4,1,3,3] w1, float[5,64] w2, float[5] b2, float[5,3] w3, float[3] b3> {
  [conv1] a = Conv (x, w1)
  [relu1] b = Relu (a)
  [flat] c = Flatten (b)
  [fc1] d = Gemm <transB: int = 1> (c, w2, b2)
  [tanh] e = Tanh (d)
  [fc2] f = MatMul (e, w3)
  [bias] y = Add (f, b3)
}"""
TENSORS = ["x", "c", "e"]


def images(count=50, seed=1):
    return np.random.default_rng(seed).standard_normal((count, 1, 6, 6)).astype(np.float32)


def values_of(tensors, data):
    """The tensors themselves, as outputs of the network."""
    outputs = ", ".join(f"float[N,K] {name}" for name in tensors if name != "x")
    model = model_of(CNN.replace("(float[N,3] y)", f"({outputs})"))
    found = dict(zip([t for t in tensors if t != "x"], run(model, x=data), strict=True))
    return {name: data if name == "x" else found[name] for name in tensors}


@pytest.mark.parametrize("batch", [1, 7, 50, 64])
def test_minmax_gives_the_extremes_whatever_the_batch(batch):
    data = images()
    ranges = calibrate(proto_of(CNN), TENSORS, data, batch=batch)
    assert list(ranges) == TENSORS
    for name, values in values_of(TENSORS, data).items():
        # Kernels may sum in another order for another batch: 65 terms of at most ~30.
        np.testing.assert_allclose(
            ranges[name], (values.min(), values.max()), rtol=0, atol=65 * 30 * 6e-8
        )
    assert ranges["c"][0] == 0.0
    assert ranges["x"] == (float(data.min()), float(data.max()))


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_whole_numbers_reach_an_input_of_whole_numbers(kind):
    """Data sets are float32; tokens are not."""
    network = f"g ({kind}[N] i) => (float[N,2] y) <float[3,4] t, float[4,2] w> "
    proto = proto_of(network + "{ h = Gather (t, i)  y = MatMul (h, w) }")
    table = onnx.numpy_helper.to_array(proto.graph.initializer[0])
    found = calibrate(proto, ["h"], np.array([2, 0], np.float32))
    assert found == {"h": (float(table[[0, 2]].min()), float(table[[0, 2]].max()))}


@pytest.mark.parametrize("batch", [10, 50])
def test_percentile_cuts_both_tails_to_within_a_bin(batch):
    data = images(200)
    low, high = calibrate(proto_of(CNN), ["x"], data, "percentile", batch, 90.0)["x"]
    # onnxruntime starts with 2048 bins over (-m, m) of the first batch and keeps their width; an
    # edge is off by one bin, and the quantile of 7200 normals between order statistics by less.
    width = 2 * np.abs(data[:batch]).max() / 2048
    order = np.sort(data.ravel())
    for found, share in ((low, 0.05), (high, 0.95)):
        at = int(share * order.size)
        assert order[at - 1] - 2 * width <= found <= order[at + 1] + 2 * width


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_histograms_stay_within_the_extremes(method):
    data = images()
    extremes = calibrate(proto_of(CNN), TENSORS, data)
    for name, (low, high) in calibrate(proto_of(CNN), TENSORS, data, method).items():
        assert extremes[name][0] <= low < high <= extremes[name][1]


def test_entropy_cuts_an_outlier_that_minmax_keeps():
    data = images(400)
    data[0, 0, 0, 0] = 100.0
    assert calibrate(proto_of(CNN), ["x"], data)["x"][1] == 100.0
    assert calibrate(proto_of(CNN), ["x"], data, "entropy", batch=400)["x"][1] < 50.0


def test_a_path_bytes_and_a_model_are_the_same_and_nothing_is_left_behind(tmp_path, capfd):
    proto = proto_of(CNN)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    found = [calibrate(m, TENSORS, images()) for m in (path, str(path), path.read_bytes(), proto)]
    assert found.count(found[0]) == 4
    for method in ("entropy", "percentile"):
        calibrate(path, ["x"], images(), method)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert capfd.readouterr() == ("", "")


def test_a_fixed_batch_size_uses_every_sample():
    proto = proto_of(CNN.replace("[N,", "[4,"))
    data = images(6)
    data[5, 0, 0, 0] = 50.0
    assert calibrate(proto, ["x"], data)["x"] == (float(data.min()), 50.0)
    assert calibrate(proto, ["x"], data[5:])["x"] == (float(data[5].min()), 50.0)


def test_several_inputs_take_a_mapping():
    proto = proto_of("g (float[N,2] x, float[N,2] z) => (float[N,2] y) { y = Sub (x, z) }")
    data = {"z": np.full((3, 2), 2.0), "x": np.array([[1, 2], [3, 4], [5, 6]])}
    assert calibrate(proto, ["y", "z"], data) == {"y": (-1.0, 4.0), "z": (2.0, 2.0)}
    with pytest.raises(DataError, match=r"the inputs are \['x', 'z'\]"):
        calibrate(proto, ["y"], np.ones((3, 2), np.float32))
    with pytest.raises(DataError, match=r"\[3, 4\] samples"):
        calibrate(proto, ["y"], {**data, "z": np.ones((4, 2))})


def test_nothing_to_calibrate():
    assert calibrate(proto_of(CNN), [], images()) == {}


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite_wherever_it_stands(method, bad):
    data = images(40)
    data[37, 0, 3, 2] = bad
    with pytest.raises(DataError, match="has NaN or infinity"):
        calibrate(proto_of(CNN), TENSORS, data, method)


def test_refuses_what_is_not_finite_only_inside():
    proto = proto_of("g (float[N,2] x) => (float[N,2] y) { a = Log (x) \n y = Relu (a) }")
    with pytest.raises(DataError, match="'a' has NaN or infinity"):
        calibrate(proto, ["x", "a"], np.array([[1.0, 2.0], [3.0, -1.0]], np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.empty((0, 1, 6, 6), np.float32), r"\[0\] samples"),
        (np.float32(3), r"\[0\] samples"),
        (np.ones((2, 1, 5, 6), np.float32), "does not run on this data"),
    ],
)
def test_refuses_data_that_does_not_fit(data, message):
    with pytest.raises(DataError, match=message):
        calibrate(proto_of(CNN), TENSORS, data)


def test_refuses_bad_models_and_options(tmp_path):
    proto = proto_of(CNN)
    with pytest.raises(ModelError, match="no tensor 'nowhere'"):
        calibrate(proto, ["nowhere"], images())
    with pytest.raises(ModelError, match="cannot load the model"):
        calibrate(b"\xff\xff not a model", TENSORS, images())
    with pytest.raises(ModelError, match="cannot read the model"):
        calibrate(tmp_path / "none.onnx", TENSORS, images())
    with pytest.raises(OptionError, match="'best' is unknown"):
        calibrate(proto, TENSORS, images(), "best")
    with pytest.raises(OptionError, match="batch 0"):
        calibrate(proto, TENSORS, images(), batch=0)
    shapes = proto_of("g (float[N,2] x) => (int64[2] y) { y = Shape (x) }")
    with pytest.raises(ModelError, match="'y' is not float32"):
        calibrate(shapes, ["y"], np.ones((1, 2), np.float32))


def test_says_when_there_is_no_room_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"temporary files \(No such file .* TMPDIR"):
        calibrate(proto_of(CNN), TENSORS, images())


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
def test_the_calibrated_grid_is_within_half_a_step_of_what_it_saw(bits):
    data = images()
    model = model_of(CNN)
    ranges = calibrate(ir.to_proto(model), ["x"], data)
    QuantizeActivations(bits, ranges)(model)
    model.graph.outputs[:] = [v for n in model.graph for v in n.outputs if v.name == "x_quantized"]
    step = np.abs(data).max() / (2 ** (bits - 1) - 1)
    # Half a step, and three float32 roundings of a value below 8 (step, quotient, product).
    assert np.abs(run(model, x=data)[0] - data).max() <= step / 2 + 3 * 8 * 6e-8


def test_the_calibrated_network_gets_better_with_every_two_bits():
    data = images(200)
    exact = run(model_of(CNN), x=data)[0]
    ranges = calibrate(proto_of(CNN), TENSORS, data)
    errors = []
    for bits in range(2, 17, 2):
        model = model_of(CNN)
        QuantizeActivations(bits, ranges)(model)
        errors.append(np.sqrt(np.mean((run(model, x=data)[0] - exact) ** 2)))
    assert all(after < before for before, after in zip(errors, errors[1:], strict=False))
