"""`--to spice`: ngspice's operating point is what the nodal equations give."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.manual import examples
from export.ngspice import needs_ngspice, operating_point
from export.test_conductance import GROUPED, MATRIX, PACKED, compiled_of, device_file
from export.tile_files import TileFiles, table_of
from nodal import Resistances, currents
from nvmc import Compiled, Target, compile_model, export_network, load_device
from nvmc.cli import main
from nvmc.errors import OptionError
from nvmc.hardware.devices.periphery import Periphery
from nvmc.models import resolve_model
from nvmc.runtime.crossbar.parasitics import effective

OHMS = [
    {},
    {"row": 3.0, "col": 5.0, "driver": 200.0, "sense": 70.0},
    {"row": 3.0, "col": 5.0},
    {"row": 0.0, "col": 5.0, "sense": 70.0},
    {"row": 30.0, "col": 0.0, "driver": 200.0},
    {"row": 0.0, "col": 0.0, "driver": 900.0, "sense": 300.0},
]


def wired(ohm: dict[str, float], **more: Any) -> Periphery:
    return Periphery.model_validate({"wire_ohm": ohm or None, **more})


def both(compiled: Compiled, folder: Path, **options: Any) -> TileFiles:
    """The netlists in `spice`; and what the cells conduct, from the other kind."""
    given = {key: value for key, value in options.items() if key != "volts"}
    export_network(compiled, "conductance", folder / "tiles", **given)
    export_network(compiled, "spice", folder / "spice", **options)
    return TileFiles(folder / "tiles", "w.npz")


def read_out(folder: Path, tile: int, cols: int, name: str = "Vsense") -> Any:
    """Currents of a tile's bit lines as ngspice has them, in µA."""
    found = operating_point(folder / "spice" / f"w-{tile}.cir")
    return np.array([found[f"i({name.lower()}{c})"] * 1e6 for c in range(cols)])


@needs_ngspice
@pytest.mark.parametrize("network", [MATRIX, PACKED, GROUPED], ids=["matrix", "packed", "grouped"])
@pytest.mark.parametrize("ohm", OHMS, ids=lambda ohm: "-".join(f"{v:g}" for v in ohm.values()))
def test_the_operating_point_is_the_nodal_solution(
    ohm: dict[str, float], network: str, tmp_path: Path
) -> None:
    settings = {"encoding": "sign-magnitude", "weight_bits": 4, "cell_bits": 2}
    compiled = compiled_of(tmp_path, network, periphery=wired(ohm), **settings)
    entry = compiled.manifest.arrays[0]
    volts = np.random.default_rng(8).uniform(0, 0.4, (entry.groups, entry.rows))
    files = both(compiled, tmp_path, chip=3, volts={"w": volts})
    for tile in list(range(files.count))[:4]:
        g_us = files[f"conductance_us/{tile}"]
        spans = [slice(*files[key][tile]) for key in ("groups", "rows")]
        driven = volts[tuple(spans)].ravel()
        found = read_out(tmp_path, tile, g_us.shape[1])
        terminals = [ohm.get(key, 0.0) for key in ("row", "col", "driver", "sense")]
        np.testing.assert_allclose(found, driven @ effective(g_us, *terminals), rtol=1e-9, atol=0)
        if all(ohm.values()) and ohm:  # else the oracle puts 1e-9 ohm where there are none
            oracle = currents(g_us, driven, Resistances(*terminals))
            np.testing.assert_allclose(found, oracle, rtol=1e-6, atol=0)


def odd(current: Callable[[float, float], float]) -> Callable[[float, float], tuple[float, float]]:
    """A law and its slope, the current odd in the voltage."""

    def law(g: float, volts: float) -> tuple[float, float]:
        at, small = abs(volts), 1e-7
        slope = (current(g, at + small) - current(g, at)) / small
        return math.copysign(current(g, at), volts), slope

    return law


def fitted(g: float, v: float) -> float:
    """Milo et al. as rram-milo2021 states them, µA of µS and V."""
    inside = min(max(g, 50.0), 225.0)
    log = math.log10(inside * 1e-6)
    second = 0.007063 + 0.005711 * log + 0.001541 * log**2 + 0.0001388 * log**3
    third = 1.2968e-3 + 6.7919e-4 * log + 8.8710e-5 * log**2
    return g * v + 1e6 * (second * v**2 + third * v**3) * g / inside


LAWS: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "cubic": (
        'law = "cubic"\nquadratic = 0.3\ncubic = 2.0',
        lambda g, v: g * v * (1 + 0.3 * v + 2.0 * v * v),
    ),
    "sinh": ('law = "sinh"\nv0 = 0.25', lambda g, v: g * 0.25 * math.sinh(v / 0.25)),
    "sinh at read": (
        'law = "sinh"\nv0 = 0.25\nstated_at = "read"',
        lambda g, v: g * 0.4 * math.sinh(v / 0.25) / math.sinh(0.4 / 0.25),
    ),
    "fitted": (
        'law = "fitted"\nquadratic = [0.007063, 0.005711, 0.001541, 0.0001388]\n'
        "cubic = [1.2968e-3, 6.7919e-4, 8.8710e-5]\nrange_us = [50.0, 225.0]",
        fitted,
    ),
}


@needs_ngspice
@pytest.mark.parametrize("ohm", [{}, {"row": 30.0, "col": 50.0, "driver": 200.0, "sense": 70.0}])
@pytest.mark.parametrize("name", LAWS)
def test_cells_that_are_not_linear_meet_the_nodal_equations(
    name: str, ohm: dict[str, float], tmp_path: Path
) -> None:
    text, law = LAWS[name]
    path = device_file(tmp_path, conductance="{ min_us = 40.0, max_us = 230.0 }")
    path.write_text(f"{path.read_text()}\n[iv]\n{text}\n")
    settings = {"encoding": "differential", "weight_bits": 4, "cell_bits": 4}
    compiled = compiled_of(tmp_path, device=path, periphery=wired(ohm, read_v=0.4), **settings)
    volts = np.random.default_rng(8).uniform(0, 0.4, 13)
    volts[::3] = 0.0
    files = both(compiled, tmp_path, chip=3, volts={"w": volts})
    for tile in (0, 1):
        g_us = files[f"conductance_us/{tile}"]
        driven = volts[slice(*files["rows"][tile])]
        if ohm:
            oracle = currents(g_us, driven, Resistances(**ohm), odd(law))
        else:
            each = [
                [law(g, v) if g else 0.0 for g in row] for row, v in zip(g_us, driven, strict=True)
            ]
            oracle = np.sum(each, axis=0)
        found = read_out(tmp_path, tile, g_us.shape[1])
        np.testing.assert_allclose(found, oracle, rtol=1e-6, atol=0)


@needs_ngspice
def test_reference_columns_have_ammeters_of_their_own(tmp_path: Path) -> None:
    periphery = Periphery(reference="column", subtract="digital")
    settings = {"encoding": "offset", "weight_bits": 4, "cell_bits": 2}
    compiled = compiled_of(tmp_path, PACKED, periphery=periphery, **settings)
    volts = np.random.default_rng(8).uniform(0, 0.4, (4, 4))
    files = both(compiled, tmp_path, chip=3, volts={"w": volts})
    for tile in range(files.count):
        g_us = files[f"reference_us/{tile}"]
        driven = volts[slice(*files["groups"][tile])].ravel()
        found = read_out(tmp_path, tile, g_us.shape[1], "Vref")
        np.testing.assert_allclose(found, driven @ g_us, rtol=1e-9)


@needs_ngspice
def test_cells_below_zero_feed_the_bit_line(tmp_path: Path) -> None:
    """A device that does not clip: the simulator computes with such cells, and so does ngspice."""
    compiled = compiled_of(tmp_path, device="fefet1", weight_bits=4, cell_bits=2)
    files = both(compiled, tmp_path, chip=0)
    g_us = files["conductance_us/0"]
    assert (g_us < 0).any()
    found = read_out(tmp_path, 0, g_us.shape[1])
    np.testing.assert_allclose(found, g_us.sum(axis=0), rtol=1e-9, atol=1e-9)  # 1 V by default


@pytest.mark.slow
@needs_ngspice
def test_a_whole_tile_of_lenet5(tmp_path: Path) -> None:
    periphery = wired({"row": 1.0, "col": 1.5, "driver": 100.0, "sense": 50.0})
    settings: dict[str, Any] = {"weight_bits": 4, "cell_bits": 2, "rows": 64, "cols": 64}
    target = Target.of(load_device("rram-wan2022"), periphery=periphery, **settings)
    source = resolve_model("zoo:lenet5-digits")
    compiled = compile_model(source, target, output=tmp_path / "net.nvmc")
    export_network(compiled, "spice", tmp_path / "spice", chip=17, array=["fc1"], volts=0.2)
    g_us = compiled.chip(17).tile("fc1", 0).conductance_us
    assert g_us.shape == (64, 64)
    found = operating_point(tmp_path / "spice" / "fc1.weight-0.cir")
    seen = 0.2 * effective(g_us, 1.0, 1.5, 100.0, 50.0).sum(axis=0)
    currents_ua = [found[f"i(vsense{c})"] * 1e6 for c in range(64)]
    np.testing.assert_allclose(currents_ua, seen, rtol=1e-6)


def test_netlists_say_what_they_are_of(tmp_path: Path) -> None:
    periphery = wired({"row": 3.0, "col": 5.0}, rows_on=2)
    compiled = compiled_of(tmp_path, weight_bits=4, cell_bits=2, periphery=periphery)
    found = export_network(compiled, "spice", tmp_path / "out", chip=17)
    for row in table_of(tmp_path / "out"):
        text = (tmp_path / "out" / row["file"]).read_text()
        title, where, counts, turns, *_ = text.splitlines()
        assert title == (f"* w tile {row['tile']}: nvmc.export.spice/1, chip 17 of seed 0")
        assert f"plane {row['plane']}, slice {row['slice']}, {row['polarity']}" in where
        assert float(counts.split()[6]) == float(row["coefficient"])
        assert turns == "* at most 2 rows are driven at a time"
        assert text.count("\nVin") == text.count("\n.param") == int(row["word_lines"])
        assert text.count("\nVsense") == int(row["bit_lines"])
        assert text.endswith(".end\n")
    said = " ".join(found.assumptions)
    assert "word lines are driven by 1 V, as no --volts and no read voltage say" in said
    assert "bit lines end in virtual grounds of 0 V; DAC and ADC are left out" in said
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert told["arrays"]["w"]["tiles"] == len(table_of(tmp_path / "out"))


@pytest.mark.parametrize(
    ("volts", "said"),
    [
        ({"v": np.ones(13)}, "array or layer 'v' is unknown"),
        ({"w": np.ones(12)}, "volts of array 'w' have shape (12,); expected (13,), or (1, 13)"),
        ({"w": np.full(13, np.nan)}, "volts of array 'w' are not all finite"),
        ({"w": np.array(["a"] * 13)}, "volts of array 'w' are no numbers"),
        ("nowhere.npz", "volts is 'nowhere.npz'; expected a voltage, or an NPZ file"),
        (math.inf, "volts of array 'w' are not all finite"),
    ],
)
def test_wrong_voltages_are_one_line(volts: Any, said: str, tmp_path: Path) -> None:
    compiled = compiled_of(tmp_path, weight_bits=4, cell_bits=2)
    with pytest.raises(OptionError) as caught:
        export_network(compiled, "spice", tmp_path / "out", volts=volts)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_polarities_that_share_a_tile_are_refused(tmp_path: Path) -> None:
    periphery = wired({"row": 3.0, "col": 5.0}, polarity="opposed")
    settings = {"encoding": "differential", "weight_bits": 4, "cell_bits": 2}
    compiled = compiled_of(tmp_path, MATRIX, periphery=periphery, **settings)
    with pytest.raises(OptionError, match="lie opposed on one tile, and netlists are of one"):
        export_network(compiled, "spice", tmp_path / "out")


def test_voltages_beyond_a_law_are_refused(tmp_path: Path) -> None:
    path = device_file(tmp_path)
    path.write_text(f"{path.read_text()}\n[iv]\n{LAWS['cubic'][0]}\n")
    compiled = compiled_of(tmp_path, device=path, weight_bits=4, periphery=Periphery(read_v=0.2))
    for volts in (0.3, -0.1):
        with pytest.raises(OptionError, match="their law is for 0 to the read voltage, 0.2 V"):
            export_network(compiled, "spice", tmp_path / "out", volts=volts)
    found = export_network(compiled, "spice", tmp_path / "out")
    assert ".param v0=0.2\n" in (tmp_path / "out" / "w-0.cir").read_text()
    assert not any("1 V" in text for text in found.assumptions)


def test_the_command_takes_a_voltage_or_a_file(tmp_path: Path) -> None:
    compiled = compiled_of(tmp_path, weight_bits=4, cell_bits=2)
    np.savez(tmp_path / "v.npz", w=np.arange(13) / 10)
    command = ["export", str(compiled.folder), "--to", "spice", "-o", str(tmp_path / "out")]
    assert main([*command, "--volts", str(tmp_path / "v.npz")]) == 0
    assert ".param v2=0.2\n" in (tmp_path / "out" / "w-0.cir").read_text()
    assert main([*command, "--volts", "0"]) == 0
    assert ".param v2=0.0\n" in (tmp_path / "out" / "w-0.cir").read_text()


@needs_ngspice
def test_the_example_of_the_manual_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Target.of(load_device("rram-wan2022"), weight_bits=4, cell_bits=2)
    source = resolve_model("zoo:lenet5-digits")
    compiled = compile_model(source, target, output=tmp_path / "lenet5.nvmc")
    monkeypatch.chdir(tmp_path)
    (example,) = examples("spice")
    space: dict[str, Any] = {}
    exec(example, space)
    tile = compiled.chip(17).tile("fc3", 0)
    wanted = np.linspace(0.0, 0.2, 84) @ tile.conductance_us
    np.testing.assert_allclose(space["found"], wanted, rtol=1e-9)
    assert capsys.readouterr().out.endswith("uA\n")
