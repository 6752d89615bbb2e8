"""Whole networks as circuits: the same chips as at `cells`, chosen where needed, any batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compiled_networks import load_circuit, load_network
from nvmc import Compiled, Target, compile_model, load_device, make_session, simulate
from nvmc.compiled.artifact import open_compiled
from nvmc.errors import DataError, OptionError
from nvmc.evaluation.population import Threads
from nvmc.evaluation.workload import fidelity_of, set_up
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Periphery, parse_noise
from nvmc.hardware.encoding import Encoding
from nvmc.models import resolve_model
from nvmc.runtime.crossbar.ranges import RangeObserver
from nvmc.runtime.montecarlo import Feed, Network, evaluate_chips, open_session, outputs_of
from nvmc.runtime.provider import observe_arrays
from onnx_models import MAPPED, feeds_of
from onnx_text import proto_of

SEED, INDEX = 5, 3
READ = parse_noise("read:basis=level,sigma=0.2")


def target(encoding: Encoding = "sign-magnitude", bits: int | str = 4, **periphery: Any) -> Target:
    return Target.of(
        load_device("fefet2" if bits != "none" else "reram-lognormal"),
        weight_bits=bits,
        encoding=encoding,
        periphery=Periphery.model_validate(periphery),
    )


def compiled_network(name: str, cells: Target, folder: Path) -> tuple[onnx.ModelProto, Compiled]:
    proto = proto_of(MAPPED[name][1])
    onnx.save(proto, folder / "m.onnx")
    return proto, compile_model(folder / "m.onnx", cells, output=folder / "m.nvmc")


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("lenet") / "m.nvmc"
    cells = target(dac_bits=6, adc_bits=8)
    return compile_model(resolve_model("zoo:lenet5-digits"), cells, output=folder)


@pytest.mark.parametrize(
    ("encoding", "bits", "subtract"),
    [
        ("sign-magnitude", 4, "digital"),
        ("differential", 5, "analog"),
        ("differential", 5, "digital"),
        ("offset", 4, "analog"),
        ("sign-magnitude", "none", "analog"),
    ],
)
@pytest.mark.parametrize("name", MAPPED)
def test_without_converters_a_circuit_is_its_cells(
    name: str, encoding: Encoding, bits: int | str, subtract: str, tmp_path: Path
) -> None:
    cells = target(encoding, bits, subtract=subtract)
    proto, compiled = compiled_network(name, cells, tmp_path)
    feeds, chip = feeds_of(proto), Chip.of(cells, SEED, INDEX)
    expected = open_session(load_network(compiled, cells), chip).run(None, feeds)
    # Whoever watches an array reads it through its circuit.
    with observe_arrays(RangeObserver) as seen:
        session = make_session(compiled.model_path, chip=chip)
    found = session.run(None, feeds)
    assert seen and set(seen) <= {entry.name for entry in compiled.manifest.arrays}
    for one, two in zip(found, expected, strict=True):
        # float32 sums of at most 144 products over two layers, and for offset the shift of half
        # the range, which is taken off again: see tests/hardware/test_one_chip.py
        size = float(np.max(np.abs(two), initial=1e-6))
        np.testing.assert_allclose(one, two, rtol=0, atol=4 * 2.1e-4 * size)


def test_the_fidelity_is_what_the_target_needs() -> None:
    plain = target()
    noisy = plain.on(None, [READ])
    assert fidelity_of(plain) == "cells"
    assert fidelity_of(plain, "circuit") == "circuit"
    assert fidelity_of(target(adc_bits=8)) == "circuit"
    assert fidelity_of(target(adc_bits=8), "cells") == "cells"
    assert fidelity_of(noisy) == "circuit"
    with pytest.raises(OptionError, match="'read' of device .* is fresh at every read"):
        fidelity_of(noisy, "cells")


def test_simulate_says_its_fidelity(lenet: Compiled) -> None:
    found = simulate(lenet, runs=2, limit=4)
    assert found.description.fidelity == "circuit"
    assert found.to_json()["description"]["fidelity"] == "circuit"
    # the reference is the network, not the quantised circuit: agreement may be less than 1
    assert 0 < found.ideal <= 1
    cells = simulate(lenet, runs=2, limit=4, fidelity="cells")
    assert cells.to_json()["description"]["fidelity"] == "cells"


def test_results_do_not_depend_on_jobs_or_batches(lenet: Compiled) -> None:
    cells = lenet.manifest.target.on(None, [READ])
    workload = set_up(lenet, cells, data="digits", limit=30)
    chips = [Chip.of(cells, SEED, index) for index in range(3)]
    once = workload.run(chips, Threads(1))
    np.testing.assert_array_equal(once, workload.run(chips, Threads(3)))
    network = load_circuit(lenet, cells)
    feed = workload.feed
    whole = outputs_of(network, feed, chips[0])
    for batch in (1, 7, 16):
        np.testing.assert_array_equal(
            whole, outputs_of(replace(network, batch=batch), feed, chips[0])
        )
    totals = evaluate_chips(replace(network, batch=7), feed, workload.metric, chips, jobs=2)
    values = [workload.metric.finish(total, len(feed)) for total in totals.tolist()]
    np.testing.assert_array_equal(values, once)


def test_every_run_reads_anew(lenet: Compiled) -> None:
    cells = lenet.manifest.target.on(None, [READ])
    network = load_circuit(lenet, cells)
    images = {"x": np.random.default_rng(0).random((4, 1, 28, 28), np.float32)}
    name = lenet.manifest.inputs[0].name
    session = open_session(network, Chip.of(cells, SEED, INDEX))
    feeds = {name: images["x"]}
    first, second = session.run(None, feeds)[0], session.run(None, feeds)[0]
    assert np.all(first != second)
    again = open_session(network, Chip.of(cells, SEED, INDEX))
    np.testing.assert_array_equal(again.run(None, feeds)[0], first)
    np.testing.assert_array_equal(again.run(None, feeds)[0], second)


def test_more_bits_come_closer_to_the_cells(lenet: Compiled) -> None:
    name = lenet.manifest.inputs[0].name
    feed = Feed({name: np.random.default_rng(0).random((8, 1, 28, 28), np.float32)})
    ideal = target()
    exact: Network = load_network(lenet, ideal)
    expected = outputs_of(exact, feed, Chip.ideal())
    errors: list[float] = []
    for bits in (4, 8, 12, 16):
        cells = target(dac_bits=bits, adc_bits=bits)
        found = outputs_of(load_circuit(lenet, cells), feed, Chip.ideal())
        errors.append(float(np.abs(found - expected).max()))
    assert errors == sorted(errors, reverse=True)
    # 16 bits: inputs to 2^-17 of their range, currents of 128 rows to 2^-16 of theirs, five layers
    assert errors[-1] < 0.02 * np.abs(expected).max()


def test_calibrated_ranges_are_stored_and_used(tmp_path: Path) -> None:
    cells = target(dac_bits=8, dac_range="calibrated", adc_bits=8, adc_range="calibrated")
    source = resolve_model("zoo:mlp3-digits")
    with pytest.raises(OptionError, match="a range is to be calibrated, .* give data="):
        compile_model(source, cells, output=tmp_path / "m.nvmc")
    compile_model(source, cells, output=tmp_path / "m.nvmc", data="digits")
    compiled = open_compiled(tmp_path / "m.nvmc")
    ranges = compiled.manifest.target.periphery.ranges
    assert [entry.array for entry in ranges] == [a.name for a in compiled.manifest.arrays]
    assert ranges[0].input <= 1.0 and all((entry.current or 0) > 0 for entry in ranges)
    props = {p.key: p.value for p in onnx.load(compiled.model_path).metadata_props}
    assert Target.model_validate_json(props["nvmc.target"]) == compiled.manifest.target
    calibrated = simulate(compiled, runs=2, data="digits", limit=200)
    full = target(dac_bits=8, adc_bits=8)
    coarse = compile_model(source, full, output=tmp_path / "full.nvmc")
    # a range of what is there wastes no codes on what is not
    assert calibrated.ideal >= simulate(coarse, runs=1, data="digits", limit=200).ideal
    assert calibrated.ideal > 0.9


def test_data_without_ranges_are_what_the_ideal_chip_is_compared_on(tmp_path: Path) -> None:
    source = resolve_model("zoo:mlp3-digits")
    compiled = compile_model(source, target(), output=tmp_path / "m.nvmc", data="digits")
    found = compiled.manifest.against_source
    assert compiled.manifest.calibration is None
    assert found is not None and (found.data, found.images) == ("digits", 512)
    with pytest.raises(DataError, match="transpose or resize the data"):
        compile_model(
            source, target(), output=tmp_path / "m.nvmc", data=(np.zeros((4, 7), np.float32), None)
        )


def test_the_same_chips_age(tmp_path: Path) -> None:
    source = resolve_model("zoo:mlp3-digits")
    cells = Target.of(load_device("fefet2"))
    compiled = compile_model(source, cells, output=tmp_path / "m.nvmc")
    ageing = parse_noise("retention:nu_mean=0.05,nu_std=0.02,t0_s=1")
    times = [1.0, 3600.0, 2.6e6]
    found = simulate(
        compiled, runs=3, data="digits", limit=100, noise=[ageing], times_s=times, fidelity="cells"
    )
    assert [at.time_s for at in found.times] == times
    assert found.to_json()["times"][0]["values"] == found.values.tolist()
    for at, time_s in zip(found.times, times, strict=True):
        alone = simulate(
            compiled, runs=3, data="digits", limit=100, noise=[ageing], times_s=[time_s]
        )
        np.testing.assert_array_equal(alone.values, at.values)


def test_a_batch_bounds_memory_and_nothing_else(lenet: Compiled) -> None:
    whole = simulate(lenet, runs=2, data="digits", limit=40)
    small = simulate(lenet, runs=2, data="digits", limit=40, batch=7)
    np.testing.assert_array_equal(whole.values, small.values)
    with pytest.raises(OptionError, match="batch is 0; expected at least 1"):
        simulate(lenet, runs=2, limit=4, batch=0)
