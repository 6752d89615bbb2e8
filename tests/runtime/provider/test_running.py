"""What kernels are given, what becomes of what they return, and of what they raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from nvmc.hardware.chip import Array, Chip
from nvmc.runtime.crossbar.results import empty
from nvmc.runtime.provider import make_session
from provider_networks import batch, codes_of, fefet, matmul, network
from provider_standins import stand_in

Patch = pytest.MonkeyPatch
FEEDS = {"x": batch()}
SCALE = np.float32(0.5).reshape(())


def zeros(inputs: list[Any], *_: Any) -> list[Any]:
    return [np.zeros((inputs[0].shape[0], 3), np.float32)]


def run(model: bytes) -> Any:
    return make_session(model).run(None, FEEDS)[0]


def test_kernels_get_views_weights_and_attributes(monkeypatch: Patch):
    seen: dict[str, Any] = {}

    def kernel(inputs: list[Any], weights: list[Any], attributes: dict[str, Any]) -> list[Any]:
        seen["inputs"] = [None if i is None else i.copy() for i in inputs]
        seen["weights"], seen["attributes"] = weights, attributes
        return [np.full((2, 3), 7, np.float32)]

    stand_in(monkeypatch, "CrossbarGemm", kernel)
    text = """g (float[N, 4] x) => (float[N, 3] y) {
        y = nvmc.CrossbarGemm <arrays = ["w"], alpha = 0.25, transB = 1> (x, w_codes, w_scale) }"""
    codes = codes_of((3, 4))
    constants = {"w_codes": codes, "w_scale": SCALE}
    model = network(text, constants, fefet(), functions=("CrossbarGemm",))
    np.testing.assert_array_equal(run(model), np.full((2, 3), 7, np.float32))
    np.testing.assert_array_equal(seen["inputs"][0], FEEDS["x"])
    assert seen["inputs"][1:] == [None, None]
    assert seen["attributes"] == {"alpha": 0.25, "transB": 1}
    programmed = Chip.of(fefet(), 0, 0).program(Array("w", codes, SCALE, fefet())).weights
    np.testing.assert_array_equal(seen["weights"][0].values(), programmed)
    assert seen["weights"][0].values().dtype == np.float32


def test_list_attributes_and_omitted_outputs(monkeypatch: Patch):
    seen: dict[str, Any] = {}

    def kernel(inputs: list[Any], weights: list[Any], attributes: dict[str, Any]) -> list[Any]:
        seen["given"] = [i is not None for i in inputs]
        seen["attributes"] = attributes
        return [None, np.full((1, 2, 3), 5, np.float32), None]

    stand_in(monkeypatch, "CrossbarLSTM", kernel)
    text = """g (float[6, 2, 4] x, float[1, 2, 3] h) => (float[1, 2, 3] last) {
        omitted, last, unread = nvmc.CrossbarLSTM <arrays = ["w", "r"], hidden_size = 3,
            activations = ["Sigmoid", "Tanh", "Tanh"], activation_alpha = [0.5, 1.5, 2.5],
            direction = "forward">
            (x, w_codes, s, r_codes, s, , , h) }"""
    constants = {"w_codes": codes_of((1, 12, 4)), "r_codes": codes_of((1, 12, 3)), "s": SCALE}
    model = network(text, constants, fefet(), ("CrossbarLSTM",))
    feeds = {"x": np.zeros((6, 2, 4), np.float32), "h": np.zeros((1, 2, 3), np.float32)}
    result = make_session(model).run(None, feeds)[0]
    np.testing.assert_array_equal(result, np.full((1, 2, 3), 5, np.float32))
    #                        X     W      R      B      lens   h     c      P
    assert seen["given"] == [True, False, False, False, False, True, False, False]
    assert seen["attributes"] == {
        "hidden_size": 3,
        "activations": ["Sigmoid", "Tanh", "Tanh"],
        "activation_alpha": [0.5, 1.5, 2.5],
        "direction": "forward",
    }


@pytest.mark.parametrize(
    ("onnx_type", "dtype"),
    [("float16", np.float16), ("float", np.float32), ("double", np.float64), ("int32", np.int32)]
    + [("int64", np.int64), ("uint32", np.uint32), ("uint64", np.uint64)],
)
def test_types_pass_both_ways(monkeypatch: Patch, onnx_type: str, dtype: Any):
    stand_in(monkeypatch, "CrossbarMatMul", lambda inputs, *_: [inputs[0][:, :3] + dtype(1)])
    text = f"""g ({onnx_type}[N, 4] x) => ({onnx_type}[N, 3] y)
        {{ y = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale) }}"""
    model = network(
        text,
        {"w_codes": codes_of((4, 3)), "w_scale": SCALE},
        fefet(),
        functions=("CrossbarMatMul",),
    )
    x = np.arange(8).reshape(2, 4).astype(dtype)
    result = make_session(model).run(None, {"x": x})[0]
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, x[:, :3] + dtype(1))


def test_empty_batches_pass(monkeypatch: Patch):
    stand_in(monkeypatch, "CrossbarMatMul", zeros)
    session = make_session(matmul())
    assert session.run(None, {"x": np.zeros((0, 4), np.float32)})[0].shape == (0, 3)


def test_outputs_need_not_be_contiguous(monkeypatch: Patch):
    stand_in(
        monkeypatch, "CrossbarMatMul", lambda *_: [np.arange(6, dtype=np.float32).reshape(3, 2).T]
    )
    np.testing.assert_array_equal(run(matmul()), [[0, 2, 4], [1, 3, 5]])


def test_views_are_onnxruntimes_own_memory(monkeypatch: Patch):
    seen: dict[str, Any] = {}

    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        seen["pointer"], seen["owner"] = inputs[0].ctypes.data, inputs[0].flags.owndata
        return zeros(inputs)

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    session = make_session(matmul())
    x = batch(64)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(x)
    session.run_with_ort_values(None, {"x": value})
    assert seen == {"pointer": value.data_ptr(), "owner": False}


def test_views_refuse_writes(monkeypatch: Patch):
    def write(inputs: list[Any], *_: Any) -> list[Any]:
        with pytest.raises(ValueError, match="read-only"):
            inputs[0][0, 0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            inputs[0].flags.writeable = True
        return zeros(inputs)

    stand_in(monkeypatch, "CrossbarMatMul", write)
    assert not run(matmul()).any()


def test_returning_a_view_copies_it(monkeypatch: Patch):
    stand_in(monkeypatch, "CrossbarMatMul", lambda inputs, *_: [inputs[0][:, 1:]])
    np.testing.assert_array_equal(run(matmul()), FEEDS["x"][:, 1:])


KEPT: list[Callable[[Any], Any]] = [
    lambda view: view,
    lambda view: view[1:, ::2],
    lambda view: memoryview(view),
    lambda view: view.ctypes,
]


@pytest.mark.parametrize("keep", KEPT)
def test_a_kept_view_is_an_error(monkeypatch: Patch, keep: Callable[[Any], Any]):
    kept: list[Any] = []

    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        kept.append(keep(inputs[0]))
        return zeros(inputs)

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    with pytest.raises(Exception, match="'dense': the kernel kept a view of an input"):
        run(matmul())
    kept.clear()


def test_results_may_lie_in_onnxruntimes_own_memory(monkeypatch: Patch):
    owned: list[bool] = []

    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        made = empty((len(inputs[0]), 3), np.dtype(np.float32))
        other = empty((len(inputs[0]), 3), np.dtype(np.float64))  # the output has another type
        owned.extend([made.flags.owndata, other.flags.owndata])
        made[...] = np.arange(made.size).reshape(made.shape)
        return [made.reshape(-1).reshape(made.shape)]

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    found = run(matmul())
    np.testing.assert_array_equal(found, np.arange(found.size).reshape(found.shape))
    assert owned == [False, True]
    assert empty((2, 3), np.dtype(np.float32)).flags.owndata  # no kernel runs


def test_room_for_results_that_is_kept_is_an_error(monkeypatch: Patch):
    kept: list[Any] = []

    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        kept.append(empty((len(inputs[0]), 3), np.dtype(np.float32))[1:])
        return zeros(inputs)

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    with pytest.raises(Exception, match="kept a view of an input or of the room for its output"):
        run(matmul())
    kept.clear()


def test_a_view_kept_by_a_failing_kernel_is_named_beside_the_failure(monkeypatch: Patch):
    kept: list[Any] = []

    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        kept.append(inputs)
        raise ValueError("first trouble")

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    with pytest.raises(Exception, match="first trouble; moreover, the kernel kept a view"):
        run(matmul())
    kept.clear()


def test_a_view_in_a_garbage_cycle_is_not_kept(monkeypatch: Patch):
    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        cycle: list[Any] = [inputs[0]]
        cycle.append(cycle)
        return zeros(inputs)

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    assert not run(matmul()).any()


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("seven is odd"), "'dense': ValueError: seven is odd"),
        (KeyError("x"), "'dense': KeyError: 'x'"),
        (ValueError(), "'dense': ValueError"),
        (ValueError("naïve ∑"), "'dense': ValueError: naïve ∑"),
        (ValueError("\ud800"), r"'dense': ValueError \(its message cannot be printed\)"),
        (SystemExit(3), "'dense': SystemExit: 3"),
        (Unprintable(), r"'dense': Unprintable \(its message cannot be printed\)"),
    ],
)
def test_exceptions_carry_their_message_and_the_node(
    monkeypatch: Patch, error: BaseException, message: str
):
    def kernel(*_: Any) -> list[Any]:
        raise error

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    session = make_session(matmul())
    for _ in range(2):
        with pytest.raises(Exception, match=message) as raised:
            session.run(None, FEEDS)
        assert type(raised.value).__name__ == "Fail"  # EPFail would rerun on the CPU, noiseless


def test_a_node_without_a_name_is_named_by_its_output(monkeypatch: Patch):
    stand_in(monkeypatch, "CrossbarMatMul", lambda *_: 1 / 0)
    with pytest.raises(Exception, match="MatMul node that makes 'y': ZeroDivisionError"):
        run(matmul(name=""))


def test_an_interrupt_reaches_the_main_thread(monkeypatch: Patch):
    def kernel(*_: Any) -> list[Any]:
        raise KeyboardInterrupt

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    session = make_session(matmul())
    with pytest.raises(KeyboardInterrupt):
        try:
            session.run(None, FEEDS)
        except Exception as error:
            assert "KeyboardInterrupt" in str(error)
            for _ in range(10):  # signals are handled between the turns of a loop
                pass


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "returned no list of arrays"),
        ([], "returned 0 arrays, fewer than the node has outputs"),
        ([[1.0, 2.0]], "output 0 is a list; expected a NumPy array"),
        ([None], "output 0 is a NoneType; expected a NumPy array"),
        ([np.zeros((2, 3))], "output 0 is float64; expected float32"),
        ([np.zeros((2, 3), ">f4")], "output 0 is >f4; expected float32"),
        ([np.array(["a"], object)], "output 0 is object; expected float32"),
    ],
)
def test_wrong_results_are_errors(monkeypatch: Patch, result: Any, message: str):
    stand_in(monkeypatch, "CrossbarMatMul", lambda *_: result)
    with pytest.raises(Exception, match=f"'dense': .*{message}"):
        run(matmul())


def test_a_missing_kernel_fails_the_session(monkeypatch: Patch):
    stand_in(monkeypatch, "CrossbarMatMul", zeros)
    monkeypatch.delattr("provider_standins.current")
    with pytest.raises(Exception, match="ProviderError: operator CrossbarMatMul has no kernel"):
        make_session(matmul())


def test_a_damaged_target_fails_the_session():
    model = matmul().replace(b'"encoding":"sign-magnitude"', b'"encoding":"sign-magnitudo"')
    with pytest.raises(Exception, match="metadata 'nvmc.target' is damaged"):
        make_session(model)


TWO = """g (float[N, 3] x) => (float[N, 3] y) {
    [first] h = nvmc.CrossbarMatMul <arrays = ["w"]> (x, a_codes, w_scale)
    [second] y = nvmc.CrossbarMatMul <arrays = ["w"]> (h, b_codes, w_scale) }"""


def test_a_shared_array_is_programmed_once(monkeypatch: Patch):
    given: list[Any] = []

    def kernel(inputs: list[Any], weights: list[Any], _: Any) -> list[Any]:
        given.append(weights[0])
        return [np.zeros_like(inputs[0])]

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    codes = codes_of((3, 3))
    constants = {"a_codes": codes, "b_codes": codes.copy(), "w_scale": SCALE}
    model = network(TWO, constants, fefet(), functions=("CrossbarMatMul",))
    session = make_session(model)
    for _ in range(2):
        session.run(None, {"x": batch(2, 3)})
    assert len(given) == 4
    assert all(weights is given[0] for weights in given)


def test_an_array_with_two_contents_is_an_error():
    constants = {"a_codes": codes_of((3, 3)), "b_codes": codes_of((3, 3), 9), "w_scale": SCALE}
    model = network(TWO, constants, fefet(), functions=("CrossbarMatMul",))
    with pytest.raises(Exception, match="'second': ProviderError: array 'w' has other codes"):
        make_session(model).run(None, {"x": batch(2, 3)})


def test_numbers_beyond_float32_warn_of_nothing(monkeypatch: Patch):
    """As onnxruntime's own kernels; warnings are errors here, and were lines on the terminal."""

    def kernel(inputs: list[Any], *_: Any) -> list[Any]:
        huge = np.full((inputs[0].shape[0], 3), 3e38, np.float32)
        return [huge * 10 - huge * 10]

    stand_in(monkeypatch, "CrossbarMatMul", kernel)
    assert np.all(np.isnan(run(matmul())))
