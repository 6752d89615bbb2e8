"""What `nvmc cost` is worth: macros, the order of designs, and two networks beside other models.

Usage: python tests/benchmarks/study_cost.py [--quick] [--docs]. --quick leaves the networks out.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import onnx
from figures import figures, parser, table
from scipy.stats import kendalltau

from nvmc import Compiled, CompileOptions, Target, compile_model, estimate_cost, load_hardware
from nvmc.cost.band import bands, judges, ratios
from nvmc.cost.hardware import hardware_names
from nvmc.cost.macros import DIMENSIONS, macros, predicted, published
from nvmc.hardware.devices import Periphery
from nvmc.models.zoo import zoo_path

TILE_PARTS = ("array", "adc", "dac", "driver", "sample_hold", "shift_add")
DESIGNS = [
    (weight, cell, encoding, tile, mode, adc)
    for weight, cell, encoding, tile, mode, adc in (
        (4, 2, "sign-magnitude", 128, "bit-serial", 8),
        (4, 2, "sign-magnitude", 128, "bit-serial", 6),
        (4, 2, "sign-magnitude", 128, "bit-serial", 4),
        (4, 2, "differential", 128, "bit-serial", 8),
        (4, 2, "offset", 128, "bit-serial", 8),
        (4, 1, "sign-magnitude", 128, "bit-serial", 8),
        (8, 2, "sign-magnitude", 128, "bit-serial", 8),
        (8, 1, "sign-magnitude", 128, "bit-serial", 8),
        (2, 2, "sign-magnitude", 128, "bit-serial", 6),
        (4, 2, "sign-magnitude", 64, "bit-serial", 8),
        (4, 2, "sign-magnitude", 64, "bit-serial", 6),
        (4, 2, "sign-magnitude", 256, "bit-serial", 8),
        (4, 2, "sign-magnitude", 128, "multi-level", 8),
        (8, 2, "sign-magnitude", 128, "multi-level", 8),
        (4, 2, "differential", 64, "multi-level", 10),
        (6, 2, "offset", 256, "multi-level", 10),
    )
]
"""Weight bits, cell bits, encoding, tile, DAC mode and ADC bits of the designs of LeNet-5."""

ELSEWHERE = {
    "LeNet-5, 8-bit weights in 2-bit cells": ("0.945", "1.073", "0.268", "0.166"),
    "ResNet-50, 8-bit weights in 2-bit cells": ("2,728", "3,146", "967", "-"),
}
"""µJ per inference by ISAAC's table by hand, with the survey's ADC, by ZigZag-IMC's formulas, and
what NeuroSim V1.4 printed (32 nm, R_on 100 kohm, SAR), all with 8-bit inputs and ADCs."""


def validation() -> str:
    """Each macro's published TOPS/W beside ours, and what the bands are."""
    names = hardware_names()
    head = ["macro", "cell, node", "published", *names]
    rows: list[list[str]] = []
    found = {n: {r.macro.name: r for r in ratios(load_hardware(n), "energy")} for n in names}
    for macro in macros():
        cells = [macro.name, f"{macro.cell}, {macro.node_nm:g} nm", f"{macro.tops_per_w:.4g}"]
        for name in names:
            energy = predicted(load_hardware(name), macro)["energy"]
            ours = macro.operations / energy * 1e-12
            mark = "*" if macro.chip in load_hardware(name).calibration.macros else ""
            cells.append(f"{ours:.3g}{mark}")
        if not judges(found[names[0]][macro.name]) and not macro.conducts:
            cells[1] += " (not in the band)"
        rows.append(cells)
    spreads: list[list[str]] = []
    for name in names:
        hardware = load_hardware(name)
        calibrated = ", ".join(hardware.calibration.macros)
        told = [
            f"x{b.low:.2g} to x{b.high:.3g} ({b.chips} chips, {100 * b.coverage:.0f} %)"
            for b in bands(hardware).values()
        ]
        spreads.append([f"`{name}`", calibrated, *told])
    first = table(head, rows)
    return first + "\n\n" + table(["hardware", "calibrated on", *DIMENSIONS], spreads)


def times_and_areas() -> str:
    """Published time and area of each macro over what each hardware has."""
    names = hardware_names()
    rows: list[list[str]] = []
    for macro in macros():
        for dimension in ("time", "area"):
            theirs = published(macro).get(dimension)
            if theirs is None or not macro.conducts:
                continue
            shown = f"{theirs * 1e9:.4g} ns" if dimension == "time" else f"{theirs * 1e6:.3g} mm²"
            ours = [theirs / predicted(load_hardware(name), macro)[dimension] for name in names]
            rows.append([macro.name, dimension, shown, *(f"{value:.2g}" for value in ours)])
    return table(["macro", "of", "published", *(f"over `{n}`" for n in names)], rows)


def designed(folder: Path, number: int) -> Compiled:
    """One of the designs of LeNet-5."""
    weight, cell, encoding, tile, mode, adc = DESIGNS[number]
    target = Target.of(
        "rram4",
        weight_bits=weight,
        cell_bits=cell,
        encoding=encoding,  # type: ignore[arg-type]
        rows=tile,
        cols=tile,
        periphery=Periphery(dac_bits=8, dac_mode=mode, adc_bits=adc),  # type: ignore[arg-type]
    )
    return compile_model(zoo_path("lenet5-digits"), target, output=folder / f"{number}.nvmc")


def order(folder: Path) -> str:
    """Energies of all designs on all hardware, and how far these agree on the order."""
    names = hardware_names()
    rows: list[list[str]] = []
    energies: list[list[float]] = []
    for number, design in enumerate(DESIGNS):
        compiled = designed(folder, number)
        found = [estimate_cost(compiled, name).energy.value * 1e6 for name in names]
        energies.append(found)
        weight, cell, encoding, tile, mode, adc = design
        said = f"{weight} bits in {cell}-bit cells, {encoding}, {tile}, {mode}, ADC {adc}"
        rows.append([said, *(f"{value:.3g}" for value in found)])
    columns = np.array(energies).T
    pairs = list(itertools.combinations(range(len(names)), 2))
    taus = {pair: float(kendalltau(columns[pair[0]], columns[pair[1]])[0]) for pair in pairs}
    matrix = [
        [f"`{a}`", *("1" if i == j else f"{taus[min(i, j), max(i, j)]:.3f}" for j in range(5))]
        for i, a in enumerate(names)
    ]
    low = min(taus.values())
    return (
        table(["design of LeNet-5, µJ per inference", *names], rows)
        + f"\n\nKendall's tau of {len(DESIGNS)} designs; the least is {low:.3f}:\n\n"
        + table(["", *(f"`{name}`" for name in names)], matrix)
    )


def beside(folder: Path) -> str:
    """LeNet-5 and ResNet-50 on ISAAC's, the survey's and ZigZag-IMC's components, and elsewhere."""
    light = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    sources = [zoo_path("lenet5-digits"), light]
    periphery = Periphery(dac_bits=8, dac_mode="bit-serial", adc_bits=8)
    target = Target.of("rram4", weight_bits=8, cell_bits=2, periphery=periphery)
    rows: list[list[str]] = []
    for (name, elsewhere), source in zip(ELSEWHERE.items(), sources, strict=True):
        compiled = compile_model(source, target, CompileOptions(), output=folder / "beside.nvmc")
        for hardware, known in zip(("isaac-32nm", "generic", "aimc-28nm"), elsewhere, strict=False):
            cost = estimate_cost(compiled, hardware)
            parts = {part.name: part.energy.value for part in cost.components}
            tiles = sum(parts.get(part, 0.0) for part in TILE_PARTS)
            bare = tiles / load_hardware(hardware).calibration.energy
            rows.append(
                [
                    name,
                    f"`{hardware}`",
                    known,
                    f"{bare * 1e6:,.4g}",
                    f"{tiles * 1e6:,.4g}",
                    f"{cost.energy.value * 1e6:,.4g}",
                    f"{cost.energy.low * 1e6:,.3g} to {cost.energy.high * 1e6:,.3g}",
                ]
            )
    head = [
        "network",
        "hardware",
        "same components elsewhere",
        "tiles, not calibrated",
        "tiles",
        "all",
        "band",
    ]
    return table(head, rows)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--quick", action="store_true")
    given = options.parse_args()
    figures(__file__, "macros", validation())
    figures(__file__, "times", times_and_areas())
    if not given.quick:
        with tempfile.TemporaryDirectory() as folder:
            figures(__file__, "order", order(Path(folder)))
            figures(__file__, "networks", beside(Path(folder)))


if __name__ == "__main__":
    main()
