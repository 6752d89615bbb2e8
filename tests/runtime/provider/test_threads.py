"""Sessions in several threads, and one session in several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import onnxruntime
import pytest

from nvmc.hardware.chip import Chip
from nvmc.runtime.provider import make_session, register_provider
from provider_networks import batch, codes_of, fefet, matmul, network

THREADS = 8


def in_threads(work: Any, count: int = THREADS) -> list[Any]:
    """`work(0)` ... `work(count - 1)`, all started at once, each in a thread of its own."""
    barrier = Barrier(count)

    def start(index: int) -> Any:
        barrier.wait()
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def test_registering_again_from_any_thread_is_no_error():
    counts = in_threads(lambda _: len(register_provider()))
    assert counts == [1] * THREADS


def test_one_session_serves_many_threads_and_programs_once(monkeypatch: pytest.MonkeyPatch):
    programmed: list[str] = []
    original = Chip.weights

    def counting(self: Chip, array: Any) -> Any:
        programmed.append(array.name)
        return original(self, array)

    monkeypatch.setattr(Chip, "weights", counting)
    session = make_session(matmul())
    batches = [batch(16, seed=i) for i in range(THREADS)]

    def work(index: int) -> list[Any]:
        return [session.run(None, {"x": batches[index]})[0] for _ in range(20)]

    results = in_threads(work)
    assert programmed == ["w"]
    for x, outputs in zip(batches, results, strict=True):
        alone = session.run(None, {"x": x})[0]
        for output in outputs:
            np.testing.assert_array_equal(output, alone)


def test_every_thread_has_its_own_chip():
    x = {"x": batch()}

    def work(index: int) -> Any:
        return make_session(matmul(), chip=index).run(None, x)[0]

    for index, output in enumerate(in_threads(work)):
        np.testing.assert_array_equal(output, work(index))


@pytest.mark.parametrize("binding", [False, True])
def test_onnxruntimes_own_threads_run_kernels(binding: bool):
    branches = "\n".join(
        f'h{i} = nvmc.CrossbarMatMul <arrays = ["w{i}"]> (x, w_codes, w_scale)' for i in range(4)
    )
    text = f"g (float[N, 4] x) => (float[N, 3] y) {{ {branches}\n y = Sum (h0, h1, h2, h3) }}"
    constants = {"w_codes": codes_of((4, 3)), "w_scale": np.float32(0.5).reshape(())}
    model = network(text, constants, fefet(), functions=("CrossbarMatMul",))
    settings = onnxruntime.SessionOptions()
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    settings.inter_op_num_threads = 4
    settings.add_provider_for_devices(register_provider(), {})
    session = onnxruntime.InferenceSession(model, settings)
    x = batch(64)
    expected = make_session(model).run(None, {"x": x})[0]
    for _ in range(20):
        if binding:
            bound = session.io_binding()
            bound.bind_cpu_input("x", x)
            bound.bind_output("y")
            session.run_with_iobinding(bound)
            (output,) = bound.copy_outputs_to_cpu()
        else:
            (output,) = session.run(None, {"x": x})
        np.testing.assert_array_equal(output, expected)
