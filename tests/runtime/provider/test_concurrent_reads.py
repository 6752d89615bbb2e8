"""One session in sixteen threads: the reads of a sequential run, each once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from nvmc.hardware.devices import Periphery, Target, load_device, parse_noise
from nvmc.runtime.crossbar.ranges import RangeObserver
from nvmc.runtime.provider import make_session, observe_arrays, register_provider
from nvmc.runtime.provider.kernels import NodeKernel
from provider_networks import batch, codes_of, network

THREADS = 16
SCALE = np.float32(0.5).reshape(())

SEVERAL = """g (float[N, 4] x, float[N, 4] z, bool c)
  => (float[N, 4] p, float[N, 4] q, float[N, 4] r) {
  p = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale)
  q = nvmc.CrossbarMatMul <arrays = ["w"]> (z, w_codes, w_scale)
  r = nvmc.CrossbarMatMul <arrays = ["v"]> (x, v_codes, v_scale)
}"""
CHAIN = """g (float[N, 4] x, float[N, 4] z, bool c) => (float[N, 4] y) {
  a = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale)
  b = nvmc.CrossbarMatMul <arrays = ["v"]> (a, v_codes, v_scale)
  d = nvmc.CrossbarMatMul <arrays = ["w"]> (b, w_codes, w_scale)
  e = nvmc.CrossbarMatMul <arrays = ["w"]> (z, w_codes, w_scale)
  y = Add (d, e)
}"""
BRANCHES = """g (float[N, 4] x, float[N, 4] z, bool c) => (float[N, 4] p, float[N, 4] q) {
  p = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale)
  q = If (c) <
    then_branch = t () => (float[N, 4] a) {
      a = nvmc.CrossbarMatMul <arrays = ["w"]> (z, w_codes, w_scale) },
    else_branch = e () => (float[N, 4] b) {
      b = nvmc.CrossbarMatMul <arrays = ["w"]> (z, w_codes, w_scale) }
  >
}"""
LOOP = """g (float[N, 4] x, float[N, 4] z, bool c) => (float[N, 4] p, float[3, N, 4] q)
<int64 three = {3}, bool on = {1}> {
  p = nvmc.CrossbarMatMul <arrays = ["w"]> (x, w_codes, w_scale)
  q = Loop (three, on) <body = l (int64 i, bool go) => (bool stay, float[N, 4] a) {
    stay = Identity (go)
    a = nvmc.CrossbarMatMul <arrays = ["w"]> (z, w_codes, w_scale)
  }>
}"""
SCAN = """g (float[3, N, 4] x, float[N, 4] z, bool c) => (float[3, N, 4] q, float[N, 4] p) {
  q = Scan <num_scan_inputs = 1, body = s (float[N, 4] one) => (float[N, 4] a) {
    a = nvmc.CrossbarMatMul <arrays = ["w"]> (one, w_codes, w_scale)
  }> (x)
  p = nvmc.CrossbarMatMul <arrays = ["w"]> (z, w_codes, w_scale)
}"""
TEXTS = {"several": SEVERAL, "chain": CHAIN, "If": BRANCHES, "Loop": LOOP, "Scan": SCAN}


def cells(read: bool = True, periphery: bool = True) -> Target:
    """Noisy cells, behind a periphery, with noise of reads."""
    stated = {"dac_bits": 6, "adc_bits": 8} if periphery else {}
    made = Target.of(load_device("fefet2"), rows=8, periphery=Periphery.model_validate(stated))
    return made.on(None, [parse_noise("read:basis=level,sigma=0.2")]) if read else made


def model(name: str, target: Target | None = None) -> bytes:
    weights = {"w_codes": codes_of((4, 4)), "w_scale": SCALE}
    if "v_codes" in TEXTS[name]:
        weights |= {"v_codes": codes_of((4, 4), 1), "v_scale": SCALE}
    return network(TEXTS[name], weights, target or cells(), functions=("CrossbarMatMul",))


def feeds(name: str, condition: bool = True) -> dict[str, NDArray[Any]]:
    x = batch(2, 4, seed=1)
    given = {"x": np.stack([x] * 3) if name == "Scan" else x, "z": batch(2, 4, seed=2)}
    return {**given, "c": np.array(condition)}


def reads_of(outputs: list[NDArray[Any]]) -> list[tuple[int, bytes]]:
    """Which output, and what was read: one entry for each step of a loop."""
    steps = [(at, step) for at, y in enumerate(outputs) for step in (y if y.ndim == 3 else [y])]
    return [(at, step.tobytes()) for at, step in steps]


def at_once(work: Any, count: int = THREADS) -> list[Any]:
    """`work(0)` ... `work(count - 1)`, each in a thread of its own, all started at once."""
    barrier = Barrier(count)

    def start(index: int) -> Any:
        barrier.wait()
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each node all threads find that its arrays are not programmed yet."""
    barrier, programmed = Barrier(THREADS), NodeKernel._programmed

    def waiting(self: NodeKernel, given: dict[str, Any]) -> Any:
        barrier.wait(60)
        return programmed(self, given)

    monkeypatch.setattr(NodeKernel, "_programmed", waiting)


def check_reads(name: str, session: Any, content: bytes) -> None:
    """Sixteen runs at once have the reads of sixteen in turn, and the next run has its bits."""
    given = feeds(name)
    found = at_once(lambda _: session.run(None, given))
    alone = make_session(content, quiet=True)
    in_turn = [alone.run(None, given) for _ in range(THREADS)]
    if name != "chain":  # there, what the second array sees depends on what the first one read
        seen = Counter(read for outputs in found for read in reads_of(outputs))
        expected = Counter(read for outputs in in_turn for read in reads_of(outputs))
        assert seen == expected and set(seen.values()) == {1}
    after, then = session.run(None, given), alone.run(None, given)
    assert reads_of(after) == reads_of(then)


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("name", ["several", "chain", "If"])
def test_the_first_runs_at_once_number_no_node_twice(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = model(name)
    session, given = make_session(content, quiet=True), feeds(name)
    at_once(lambda _: session.run(None, given))
    monkeypatch.undo()
    alone = make_session(content, quiet=True)
    for _ in range(THREADS):
        alone.run(None, given)
    assert reads_of(session.run(None, given)) == reads_of(alone.run(None, given))


@pytest.mark.parametrize("name", TEXTS)
def test_fresh_sessions_in_sixteen_threads(name: str) -> None:
    content = model(name)
    for _ in range(5):
        check_reads(name, make_session(content, quiet=True), content)


@pytest.mark.parametrize("target", [cells(False), cells(False, False)], ids=["circuit", "cells"])
@pytest.mark.parametrize("name", TEXTS)
def test_without_noise_of_reads_every_run_has_the_same_bits(name: str, target: Target) -> None:
    content, given = model(name, target), feeds(name)
    expected = reads_of(make_session(content, quiet=True).run(None, given))
    session = make_session(content, quiet=True)
    for found in at_once(lambda _: [session.run(None, given) for _ in range(3)]):
        assert all(reads_of(outputs) == expected for outputs in found)


def test_which_branch_runs_first_counts_for_nothing() -> None:
    """Numbers given at the first call would swap the noise of the two branches."""
    content = model("If")
    one, other = (make_session(content, quiet=True) for _ in range(2))
    first = [one.run(None, feeds("If", c))[1] for c in (True, False)]
    second = [other.run(None, feeds("If", c))[1] for c in (False, True)]
    np.testing.assert_array_equal(first[0], second[1])
    np.testing.assert_array_equal(first[1], second[0])
    assert np.any(first[0] != first[1])


def test_onnxruntimes_own_threads_read_as_one_does() -> None:
    content, given = model("several"), feeds("several")
    expected = [reads_of(y) for y in map(make_session(content).run, [None] * 3, [given] * 3)]
    for _ in range(10):
        settings = onnxruntime.SessionOptions()
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        settings.inter_op_num_threads = 4
        settings.add_provider_for_devices(register_provider(), {})
        session = onnxruntime.InferenceSession(content, settings)
        assert [reads_of(session.run(None, given)) for _ in range(3)] == expected


def test_a_session_of_its_own_gives_each_thread_the_sequential_bits() -> None:
    """With `first_image` the noise of a run does not depend on what else runs."""
    content, images = model("chain"), 2
    given = feeds("chain")
    alone = make_session(content, quiet=True)
    in_turn = [alone.run(None, given)[0] for _ in range(THREADS)]

    def work(index: int) -> Any:
        session = make_session(content, first_image=index * images, images=images, quiet=True)
        return session.run(None, given)[0]

    for found, expected in zip(at_once(work), in_turn, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_calibration_sees_what_all_threads_show_it() -> None:
    content = model("several", cells(False))
    x = [batch(64, 4, seed=i) for i in range(THREADS)]
    seen: list[Any] = []
    for runner in (at_once, lambda work: [work(i) for i in range(THREADS)]):
        with observe_arrays(RangeObserver) as observers:
            session = make_session(content, chip="ideal", quiet=True)

        def work(index: int, session: Any = session) -> None:
            for _ in range(4):
                session.run(None, {"x": x[index], "z": x[index], "c": np.array(True)})

        runner(work)
        seen.append({k: (o._counts.tolist(), o.range_of(k, True)) for k, o in observers.items()})
    assert seen[0] == seen[1]


def test_sessions_are_made_and_ended_in_threads() -> None:
    content, given = model("several"), feeds("several")
    make = partial(make_session, content, quiet=True)
    expected = [reads_of(make(chip=chip).run(None, given)) for chip in range(THREADS)]

    def work(index: int) -> bool:
        return all(reads_of(make(chip=index).run(None, given)) == expected[index] for _ in range(5))

    assert all(at_once(work))
