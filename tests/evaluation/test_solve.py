"""`nvmc.solve`: against every value by itself, and against a threshold that algebra gives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nvmc import Compiled, Target, compile_model, load_device, solve
from nvmc.data import Dataset, load_data
from nvmc.errors import OptionError
from nvmc.evaluation.sweep import sweep
from nvmc.hardware.devices import Device, Periphery, parse_noise
from nvmc.models import resolve_model
from nvmc.statistics import accuracy_interval
from nvmc.store import Store
from onnx_text import proto_of

IMAGES = 60
RUNS = 40
FEW: dict[str, Any] = {"runs": RUNS, "percentile": 10.0, "seed": 5}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("solve") / "mlp.nvmc"
    target = Target.of(
        load_device("rram4"),
        periphery=Periphery(dac_bits=6, adc_bits=6, adc_range="calibrated"),
    )
    return compile_model(resolve_model("zoo:mlp3-digits"), target, output=folder, data="digits")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits", limit=IMAGES)


def exhaustive(
    compiled: Compiled, name: str, texts: str, goal: float, least: float | None, **on: Any
) -> list[tuple[str, bool]]:
    """Every value, and whether the interval's lower end is there, without any bisection."""
    values = {name: texts} if name == "sigma" else {name: texts, "sigma": "0.1"}
    found: list[tuple[str, bool]] = []
    for point in sweep(compiled, values, goal=goal, **on, **FEW).points:
        low = point.kpp.interval.low if least is None else point.reached and point.reached.low
        assert low is not None
        found.append((point.at[name].text, low >= (goal if least is None else least)))
    return found


@pytest.mark.parametrize(
    ("name", "values", "goal", "least"),
    [
        ("sigma", "0:0.8:0.1", 0.6, None),
        ("sigma", "0:0.8:0.1", 0.9, 0.5),
        pytest.param("adc-bits", "1:8:1", 0.7, None, marks=pytest.mark.slow),
    ],
)
def test_bisection_finds_what_trying_all_values_finds(
    compiled: Compiled, digits: Dataset, name: str, values: str, goal: float, least: float | None
) -> None:
    most = name == "sigma"
    on: dict[str, Any] = {"data": digits, "fidelity": "cells" if most else "circuit"}
    known = exhaustive(compiled, name, values, goal, least, **on)
    require = None if least is None else f"yield>={least}"
    if not most:
        on["sigma"] = 0.1
    found = solve(compiled, f"{name}={values}", goal, require=require, **on, **FEW)
    met = [text for text, good in known if good]
    missed = [text for text, good in known if not good]
    assert met and missed  # otherwise nothing is tested
    assert found.found is not None and found.next is not None
    assert found.found.value.text == (met[-1] if most else met[0])
    assert found.next.value.text == (missed[0] if most else missed[-1])
    assert {t.value.text: t.verdict.met for t in found.tried}.items() <= dict(known).items()
    assert len(found.tried) <= 2 + math.ceil(math.log2(len(known)))
    assert found.find == ("most" if most else "least") and not found.rises


@pytest.fixture(scope="module")
def fading(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Two scores: x times a weight that fades as t ** -nu does, and a digital 0.5."""
    folder = tmp_path_factory.mktemp("fading")
    text = """g (float[N,1] x) => (float[N,2] y) <float[2] b> {
        p = MatMul (x, w)
        y = Add (p, b)
    }"""
    stored = {"w": np.array([[1.0, 0.0]], np.float32)}
    proto = proto_of(text.replace(" <float[2] b>", ""), b=np.array([0, 0.5], np.float32), **stored)
    onnx.save(proto, folder / "fading.onnx")
    device = Device.model_validate(
        {
            "name": "fading",
            "title": "A cell that fades",
            "source": "made up for a test",
            "levels": 4,
            "time_s": 1.0,
            "defaults": {"weight_bits": 2, "cell_bits": 2},
            "noise": [{"type": "retention", "nu_mean": 0.1, "nu_std": 0.0, "t0_s": 1.0}],
        }
    )
    return compile_model(folder / "fading.onnx", Target.of(device), output=folder / "fading.nvmc")


def test_the_time_is_that_of_algebra(fading: Compiled) -> None:
    """1.0 * t ** -0.1 > 0.5 holds for t < 2 ** 10 s: the most is 1023 s.

    With 1,000 images of which all are right, the lower end for images is above 0.99.
    """
    x, y = np.ones((1000, 1), np.float32), np.zeros(1000, np.int64)
    found = solve(fading, "time=1000s,1010s,1020s,1023s,1025s,1030s,1d", "99%", data=(x, y))
    assert found.found is not None and found.next is not None
    assert (found.found.value.text, found.next.value.text) == ("1023s", "1025s")
    ends = [one.verdict.end for one in found.tried]
    assert ends[0] is not None and ends[0] > 0.99 and ends[-1] == 0


def test_ends_that_agree_are_said(compiled: Compiled, digits: Dataset) -> None:
    on: dict[str, Any] = {"data": digits, "fidelity": "cells", **FEW}
    every = solve(compiled, "sigma=0:0.02:0.01", "30%", **on)
    assert every.found is not None and every.found.value.text == "0.02"
    assert every.next is None and len(every.tried) == 2
    none = solve(compiled, "sigma=2:3:0.5", "99%", **on)
    assert none.found is None and none.next is not None and none.next.value.text == "2"
    assert not none.met and none.to_json()["found"] is None


def test_the_other_direction_is_refused(compiled: Compiled, digits: Dataset) -> None:
    with pytest.raises(OptionError, match=r"sigma 0 meets the goal and 3 misses it.*find most"):
        solve(compiled, "sigma=0,3", "60%", find="least", data=digits, fidelity="cells", **FEW)


def test_usual_values_are_those_that_the_device_allows(fading: Compiled) -> None:
    x, y = np.ones((200, 1), np.float32), np.zeros(200, np.int64)
    found = solve(fading, "time", "90%", data=(x, y), runs=368)
    assert found.assumed and found.found is not None and found.found.value.text == "10min"


def test_chips_are_kept_and_come_back(compiled: Compiled, digits: Dataset, tmp_path: Path) -> None:
    over = "sigma=0:0.4:0.1"
    with Store.open(tmp_path / "r.sqlite") as store:
        first = solve(compiled, over, "60%", data=digits, fidelity="cells", store=store, **FEW)
    ran: list[float] = []
    with Store.open(tmp_path / "r.sqlite") as store:
        again = solve(
            compiled,
            over,
            "60%",
            data=digits,
            fidelity="cells",
            store=store,
            watch=lambda done, runs: ran.append(done),
            **FEW,
        )
    assert set(ran) == {RUNS}  # all of them were there
    assert {**first.to_json(), "seconds": 0} == {**again.to_json(), "seconds": 0}


@pytest.mark.parametrize(
    ("over", "goal", "given", "said"),
    [
        ("adc", "97%", {}, "parameter 'adc' is unknown"),
        ("sigma=0.1", "97%", {}, "a single value"),
        ("sigma", "97", {}, "such as 97% or 0.97"),
        ("sigma", "97%", {"sigma": 0.2}, "sigma is 0.2, but it is what is looked for"),
        ("sigma", "97%", {"runs": 300, "percentile": 1.0}, "give at least runs=368"),
        ("sigma", "97%", {"require": "yield>=99%"}, "give at least runs=368"),
        ("sigma", "97%", {"require": "yield>=100%"}, "met by no number of chips"),
        ("sigma", "97%", {"require": "kpp>=90%"}, "give one of the two"),
        ("sigma", "yield>=97%", {}, "what a chip must reach"),
        ("time", "97%", {}, "time"),
        ("adc-bits", "97%", {"fidelity": "cells"}, "changes nothing at fidelity 'cells'"),
    ],
)
def test_wrong_questions_are_one_line(
    compiled: Compiled, digits: Dataset, over: str, goal: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        solve(compiled, over, goal, data=digits, **{**FEW, **given})
    assert "\n" not in str(caught.value)


def test_chips_that_a_yield_needs_are_the_fewest() -> None:
    assert accuracy_interval(368, 368).low >= 0.99 > accuracy_interval(367, 367).low


def test_noise_of_ones_own_counts(compiled: Compiled, digits: Dataset) -> None:
    stuck = parse_noise("stuck-at:p_low=0.9")
    found = solve(compiled, "sigma=0,1", "60%", data=digits, fidelity="cells", noise=[stuck], **FEW)
    assert found.found is None
