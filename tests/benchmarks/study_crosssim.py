"""The circuits that nvmc and CrossSim can both express, side by side.

Every circuit of a literal grid is computed three times: by CrossSim, by nvmc (float64, ideal chip),
and by a slow loop that knows neither of them and follows either's conventions. Outputs are equal to
rounding, or the loop gives both and the difference is one of the conventions of `case.NOTES`, which
the table counts. Anything else is an error, and the script exits with 1.

Needs CrossSim 3.2 (its folder `simulator`) on the path; it is not part of the tests.

Usage: PYTHONPATH=path/of/cross-sim python tests/benchmarks/study_crosssim.py [--each] [--docs]
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from figures import figures, parser, table

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parent))
from crosssim import loop, ours, theirs  # noqa: E402
from crosssim.case import NOTES, Case  # noqa: E402

ROUNDING = 2e-6
"""Of the largest output. CrossSim keeps conductances of balanced cores in float32."""

BITS = [(4, 2), (4, 1), (7, 2), (7, 4), (8, 3)]
"""H and B of sliced weights."""
INPUTS: list[dict[str, Any]] = [
    {},
    {"dac": 4},
    {"dac": 6, "serial": True},
    {"dac": 5, "signed": True},
    {"dac": 4, "serial": True, "signed": True},
    {"dac": 6, "serial": True, "slice_bits": 3},
    {"dac": 5, "serial": True, "slice_bits": 2, "held": True},
    {"dac": 4, "serial": True, "signed": True, "held": True},
]
OUTPUTS: list[dict[str, Any]] = [
    {},
    {"adc": 8, "reach": 0.1**0.5},
    {"adc": 5, "reach": 0.012**0.5},
    {"adc": 12, "reach": 1.07**0.5},
]
"""Ranges are irrational: no current lies half way between two codes. Ties have a section."""
ONE_CELL = [("differential", 4, 4), ("balanced", 4, 4), ("offset", 4, 5)]
WIRES = [(2.0, 2.0, 0.0, 0.0), (5.0, 0.0, 0.0, 0.0), (0.0, 5.0, 0.0, 0.0), (3.0, 7.0, 0.0, 40.0)]


def grid() -> Iterator[tuple[str, Case]]:
    """Every circuit, with the section of the table that it is counted in."""
    for (bits, cell), put, read in product(BITS, INPUTS, OUTPUTS):
        stated: dict[str, Any] = {"bits": bits, "cell": cell, **put, **read}
        for encoding, digital in product(("differential", "sign-magnitude"), (False, True)):
            yield "slices, pairs", Case(encoding, digital=digital, **stated)
        yield "slices, offset", Case("offset", **stated)
        yield "slices, offset, column", Case("offset", column=True, **stated)
    for (encoding, bits, cell), put, read in product(ONE_CELL, INPUTS, OUTPUTS):
        stated = {"bits": bits, "cell": cell, **put, **read}
        for digital in (False, True) if encoding != "offset" else (False,):
            yield f"one cell, {encoding}", Case(encoding, digital=digital, **stated)
    for ratio, encoding, digital, read in product((3.0, 20.0), ("differential", "offset"),
                                                  (False, True), OUTPUTS):  # fmt: skip
        yield "on/off ratio", Case(encoding, ratio=ratio, digital=digital, dac=4, **read)
    for rows, even, read, encoding in product((26, 16, 10, 8, 7), (False, True), OUTPUTS,
                                              ("differential", "offset")):  # fmt: skip
        yield "rows of tiles", Case(encoding, rows=rows, even=even, dac=4, **read)
    yield from _converters()
    yield from _physical()


def _converters() -> Iterator[tuple[str, Case]]:
    stated: dict[str, Any]
    for put, limit in product(INPUTS[5:], (0.05, 0.15)):
        yield "column limit", Case(limit=limit, adc=6, reach=0.1**0.5, **put)
        yield "column limit", Case(limit=limit, digital=True, net=False, **put)
    for limit, net, digital, read in product((0.05, 0.15), (False, True), (False, True),
                                             OUTPUTS):  # fmt: skip
        if net and digital:
            continue  # interleaved polarities are one current
        yield "column limit", Case(limit=limit, net=net, digital=digital, dac=4, **read)
        yield "column limit", Case("offset", 4, 5, limit=limit, dac=4, **read)
    for put, read, digital in product(INPUTS, OUTPUTS, (False, True)):
        stated = {"signed": True, "bipolar": True, "digital": digital, **put, **read}
        if "dac" in put:
            yield "both signs at once", Case(**stated)
            if not digital:
                yield "both signs at once", Case("offset", **stated)
    for lowest, adc in product((-0.5, -0.2, -0.6), (3, 4, 6)):
        yield "asymmetric range", Case(lowest=lowest, adc=adc, reach=0.04**0.51, dac=4)
    for kind, adc, reach in product(theirs.MODELS, (4, 8), (0.005**0.5, 0.1**0.5)):
        yield "kinds of ADC, ideal parts", Case(kind=kind, adc=adc, reach=reach, dac=4)
    for dac, signed in product((3, 4, 8), (False, True)):
        yield "ties of the DAC", Case(dac=dac, signed=signed, bipolar=signed, ties=True)
    for adc, encoding in product((4, 5, 6, 8), ("differential", "sign-magnitude")):
        yield "ties of the ADC", Case(encoding, 4, 1, adc=adc, ties=True)
        yield "ties of the ADC", Case(encoding, 4, 1, adc=adc, ties=True, digital=True)


def _physical() -> Iterator[tuple[str, Case]]:
    cells = [("differential", 4, 4), ("offset", 4, 5)]
    for (encoding, bits, cell), wires, digital in product(cells, WIRES, (False, True)):
        stated: dict[str, Any] = {"wires": wires, "digital": digital, "ratio": 10.0}
        yield "wires", Case(encoding, bits, cell, dac=4, **stated)
        yield "wires", Case(encoding, bits, cell, dac=4, adc=6, reach=0.1**0.5, **stated)
        yield "wires", Case(encoding, bits, cell, dac=4, rows=16, **stated)
    for wires in ((3.0, 7.0, 50.0, 0.0), (3.0, 7.0, 50.0, 20.0)):
        yield "wires, resistance of drivers", Case("differential", 4, 4, wires=wires)
    for wires, (adc, reach) in product((WIRES[0], WIRES[3]), ((None, 1.0), (6, 0.1**0.5))):
        stated = {"wires": wires, "adc": adc, "reach": reach, "opposed": True}
        yield "interleaved pairs behind wires", Case("differential", 4, 4, dac=4, **stated)
        yield "interleaved pairs behind wires", Case("balanced", 4, 4, **stated)
    for read_v, ratio, encoding, put in product((0.3, 1.0), (10.0, np.inf), cells, INPUTS[:3]):
        stated = {"read_v": read_v, "ratio": ratio, **put}
        yield "cubic cells", Case(*encoding, **stated)
        yield "cubic cells", Case(*encoding, **stated, adc=6, reach=0.1**0.5)
    for wires, ratio, (adc, reach) in product(WIRES, (10.0, np.inf), ((None, 1.0), (6, 0.1**0.5))):
        stated = {"wires": wires, "read_v": 1.0, "ratio": ratio, "adc": adc, "reach": reach}
        yield "cubic cells behind wires", Case("differential", 4, 4, dac=4, **stated)
        yield "cubic cells behind wires", Case("differential", 4, 4, digital=True, **stated)
    for bits, cell in BITS:
        yield "cubic cells", Case("differential", bits, cell, read_v=1.0, dac=4)


def off(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, of the largest output."""
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300))


def main() -> int:
    """Print a row for each section; 1 where something is not explained."""
    options = parser(__doc__)
    options.add_argument("--each", action="store_true", help="print every circuit")
    each = options.parse_args().each
    counts, wrong = dict[str, Counter[str]](), 0
    for section, case in grid():
        mine, its = ours.outputs(case), theirs.outputs(case)
        loops = loop.outputs(case, theirs=False), loop.outputs(case, theirs=True)
        errors, apart = (off(mine, loops[0]), off(its, loops[1])), off(its, mine)
        notes = ", ".join(case.notes)
        count = counts.setdefault(section, Counter())
        count["circuits"] += 1
        if max(errors) > ROUNDING or (apart > ROUNDING and not notes):
            wrong += 1
            print(f"UNEXPLAINED {section}: {case}: apart {apart:.2g} loops {errors}, {notes}")
        elif apart <= ROUNDING:
            count["equal"] += 1
        else:
            count[f"*{notes}"] += 1
        if each:
            print(f"{section} | {case} | {apart:.1e} | {errors[0]:.0e} {errors[1]:.0e} | {notes}")
    rows: list[list[str]] = []
    for section, count in counts.items():
        told = "; ".join(f"{n} {name[1:]}" for name, n in count.items() if name[0] == "*")
        rows.append([section, f"{count['circuits']}", f"{count['equal']}", told])
    total, equal = (sum(count[of] for count in counts.values()) for of in ("circuits", "equal"))
    rows.append(["all", f"{total}", f"{equal}", f"{total - equal - wrong} explained, {wrong} not"])
    head = ["circuits", "number", "equal to rounding", "explained: how many, by what"]
    missing = f"{wrong} circuits are not explained" if wrong else ""
    figures(__file__, "circuits", table(head, rows), missing=missing)
    for name, meaning in NOTES.items():
        print(f"- {name}: {meaning}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
