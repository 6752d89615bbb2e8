"""Sweeps: the chips of `simulate` at every point, the same ones everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nvmc import Compiled, Target, compile_model, load_device, simulate
from nvmc.data import Dataset, load_data
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import Value, parse_values
from nvmc.evaluation.sweep import point_count, sweep
from nvmc.hardware.devices import parse_noise
from nvmc.models import resolve_model

RETENTION = parse_noise("retention:nu_mean=0.05,nu_std=0.03,t0_s=20")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("sweep") / "mlp.nvmc"
    return compile_model(
        resolve_model("zoo:mlp3-digits"), Target.of(load_device("fefet1")), output=folder
    )


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits", limit=120)


def values(**texts: str) -> dict[str, list[Value]]:
    return {name: parse_values(name, text) for name, text in texts.items()}


def test_points_are_separate_simulations(compiled: Compiled, digits: Dataset) -> None:
    """Bit for bit, whatever the neighbours on the curve."""
    result = sweep(compiled, values(sigma="0:0.4:0.2"), runs=5, data=digits, seed=3)
    assert [point.at["sigma"].number for point in result.points] == [0, 0.2, 0.4]
    for point in result.points:
        alone = simulate(compiled, runs=5, data=digits, seed=3, sigma=point.at["sigma"].number)
        assert np.array_equal(point.values, alone.values)
        assert (point.kpp, point.summary) == (alone.kpp, alone.summary)
        assert (point.ideal, result.metric) == (alone.ideal, alone.metric)
        assert point.description == alone.description


def test_points_depend_neither_on_jobs_nor_on_order(compiled: Compiled, digits: Dataset) -> None:
    one = sweep(compiled, values(sigma="0.1,0.3"), runs=4, data=digits, jobs=1)
    two = sweep(compiled, values(sigma="0.3,0.1"), runs=4, data=digits, jobs=3)
    for a, b in zip(one.points, reversed(two.points), strict=True):
        assert np.array_equal(a.values, b.values)


def test_chips_are_the_same_at_every_point(compiled: Compiled, digits: Dataset) -> None:
    """Chip by chip, neighbours resemble each other far more than other chips do.

    With other chips at the second point the correlation of the two vectors would be within
    2 / sqrt(60) = 0.26 of zero in 95 of 100 draws.
    """
    close = sweep(compiled, values(sigma="0.4,0.41"), runs=60, data=digits)
    one, two = (point.values for point in close.points)
    assert np.corrcoef(one, two)[0, 1] > 0.8


def test_two_parameters_make_a_grid(compiled: Compiled, digits: Dataset) -> None:
    given = values(time="20s,1d,1y", sigma="0.1,0.2")
    result = sweep(compiled, given, runs=4, data=digits, noise=[RETENTION])
    assert result.axes == ("time", "sigma") and point_count(given) == 6
    places = [(p.at["sigma"].text, p.at["time"].text) for p in result.points]
    assert places == [(s, t) for s in ("0.1", "0.2") for t in ("20s", "1d", "1y")]
    curves = result.curves()
    assert [[p.at["sigma"].text for p in curve] for curve in curves] == [
        [text] * 3 for text in ("0.1", "0.2")
    ]
    assert curves[1][0].summary.mean > curves[1][2].summary.mean
    # at t0 nothing has decayed
    fresh = simulate(compiled, runs=4, data=digits, sigma=0.2)
    assert np.array_equal(curves[1][0].values, fresh.values)


def test_one_value_is_set_for_all_points(compiled: Compiled, digits: Dataset) -> None:
    both = sweep(
        compiled, values(sigma="0.3", time="20s,1y"), runs=3, data=digits, noise=[RETENTION]
    )
    assert both.axes == ("time",) and {p.at["sigma"].number for p in both.points} == {0.3}
    single = sweep(compiled, values(sigma="0.3"), runs=3, data=digits)
    assert single.axes == ("sigma",)
    assert np.array_equal(single.points[0].values, both.points[0].values)


def test_every_chip_is_reported(compiled: Compiled, digits: Dataset) -> None:
    seen: list[int] = []
    sweep(
        compiled,
        values(sigma="0.1,0.2"),
        runs=3,
        data=digits,
        on_chip=lambda chip, value: seen.append(chip),
    )
    assert sorted(seen) == [0, 0, 1, 1, 2, 2]


def test_json_is_json_and_names_units(compiled: Compiled) -> None:
    result = sweep(compiled, values(sigma="0.1", time="1h,1d"), runs=2, noise=[RETENTION], limit=8)
    read = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert read["format"] == "nvmc.evaluation.sweep/1" and read["axes"] == ["time_s"]
    assert [point["at"] for point in read["points"]] == [
        {"sigma": 0.1, "time_s": 3600.0},
        {"sigma": 0.1, "time_s": 86400.0},
    ]
    assert read["points"][1]["values"] == result.points[1].values.tolist()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "sigma="),
        (values(sigma="0.1,0.2", time="1h,2h"), "no noise source that depends on time"),
        ({"colour": [Value(1, "1")]}, "colour"),
        ({"sigma": [Value(float("nan"), "nan")]}, "nan"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_any_run(
    compiled: Compiled, given: dict[str, list[Value]], named: str
) -> None:
    with pytest.raises(OptionError, match=named):
        sweep(compiled, given, runs=2, on_chip=lambda chip, value: pytest.fail("a chip was run"))


def test_three_axes_are_too_many() -> None:
    given = values(sigma="0.1,0.2") | {
        "adc-bits": parse_values("adc-bits", "4,6"),
        "dac-bits": parse_values("dac-bits", "4,6"),
    }
    with pytest.raises(OptionError, match="at most two"):
        point_count(given)


def test_a_sweep_reads_the_network_once(
    compiled: Compiled, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nvmc.evaluation.sweep

    calls: list[Path] = []
    original = nvmc.evaluation.sweep.set_up

    def counting(network: Compiled, *rest: object, **options: object) -> object:
        calls.append(network.folder)
        return original(network, *rest, **options)  # pyright: ignore

    monkeypatch.setattr(nvmc.evaluation.sweep, "set_up", counting)
    sweep(compiled, values(sigma="0:0.4:0.1"), runs=1, data=digits)
    assert len(calls) == 1


def test_converter_bits_are_circuits(compiled: Compiled, digits: Dataset) -> None:
    """A coarse ADC costs accuracy, an ideal one is the cells; each as simulated by itself."""
    result = sweep(
        compiled, {"adc-bits": parse_values("adc-bits", "3,12,none")}, runs=2, data=digits
    )
    assert [point.description.fidelity for point in result.points] == [
        "circuit",
        "circuit",
        "cells",
    ]
    coarse, fine, none = result.points
    assert coarse.ideal < fine.ideal
    assert np.array_equal(none.values, simulate(compiled, runs=2, data=digits).values)
    forced = simulate(compiled, runs=2, data=digits, fidelity="circuit")
    again = sweep(
        compiled,
        {"adc-bits": parse_values("adc-bits", "none")},
        runs=2,
        data=digits,
        fidelity="circuit",
    )
    assert again.points[0].description.fidelity == "circuit"
    assert np.array_equal(again.points[0].values, forced.values)
