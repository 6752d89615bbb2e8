"""Hops and links against walks along every pair's way, and by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from nvmc.cost.mesh import Mesh
from nvmc.place.plan import CURVES, curve
from nvmc.place.traffic import flow_between


def mesh(**changed: object) -> Mesh:
    settings: dict[str, object] = {
        "columns": 4,
        "rows": 4,
        "tiles": 2,
        "source": "a test",
        "buffer": {"value": 1, "unit": "KiB", "source": "test"},
        "link": {"value": 1, "unit": "GHz", "source": "test"},
        "hop": {"value": 1, "unit": "ns", "source": "test"},
        "chiplet_link": {"value": 0.5, "unit": "GHz", "source": "test"},
        "chiplet_hop": {"value": 5, "unit": "ns", "source": "test"},
        "chiplet_energy": {"value": 1, "unit": "pJ", "source": "test"},
    }
    return Mesh.model_validate(settings | changed)


def walk(of: Mesh, source: int, sink: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The links from one core's router to another's: along the row, then along the column."""
    (row, column), (last_row, last_column) = of.router(source), of.router(sink)
    found: list[tuple[tuple[int, int], tuple[int, int]]] = []
    while column != last_column:
        step = column + (1 if last_column > column else -1)
        found.append(((row, column), (row, step)))
        column = step
    while row != last_row:
        step = row + (1 if last_row > row else -1)
        found.append(((row, column), (step, column)))
        row = step
    return found


def test_by_hand() -> None:
    """Cores 0 and 10 of a 4 x 4 mesh: two columns and two rows apart, so five routers."""
    flow = flow_between(mesh(), [({0: 1.0}, {10: 7.0}, math.inf)])
    assert (flow.bits, flow.bit_hops, flow.crossings) == (7, 7 * 5, 0)
    assert flow.farthest_s == pytest.approx(5e-9)
    assert mesh().hops(0, 10) == 5
    assert mesh().hops(3, 3) == 0
    assert flow.busiest_s(mesh()) == pytest.approx(7e-9)


@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("chiplets", [1, 2])
def test_links_by_walks_of_every_pair(shared: int, chiplets: int) -> None:
    of = mesh(shared_columns=shared, shared_rows=shared, chiplet_columns=chiplets)
    rng = np.random.default_rng(5)
    for _ in range(20):
        starts = rng.choice(of.cores, 3, replace=False)
        ends = rng.choice(of.cores, 5, replace=False)
        shares = rng.dirichlet(np.ones(3))
        sources = {int(core): float(share) for core, share in zip(starts, shares, strict=True)}
        sinks = {int(core): float(rng.uniform(1, 9)) for core in ends}
        flow = flow_between(of, [(sources, sinks, math.inf)])
        load: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
        hops = crossings = 0.0
        for source, share in sources.items():
            for sink, bits in sinks.items():
                way = walk(of, source, sink)
                hops += share * bits * (len(way) + 1 if source != sink else 0)
                for link in way:
                    load[link] += share * bits  # type: ignore[assignment]
                    border = of.columns // shared
                    crossings += share * bits * (link[0][1] // border != link[1][1] // border)
        assert flow.bit_hops == pytest.approx(hops)
        assert flow.crossings == pytest.approx(crossings)
        east, west, south, north = flow.links
        for ((r0, c0), (r1, c1)), bits in load.items():
            grid = {(0, 1): east, (0, -1): west, (1, 0): south, (-1, 0): north}[r1 - r0, c1 - c0]
            assert grid[min(r0, r1), min(c0, c1)] == pytest.approx(bits)
        assert sum(grid.sum() for grid in flow.links) == pytest.approx(sum(load.values()))


def test_multicast_sends_a_bit_over_a_link_once() -> None:
    """From core 0 to all others in its row: three links, one router more."""
    pair = ({0: 1.0}, {1: 10.0, 2: 10.0, 3: 10.0}, 10.0)
    flow = flow_between(mesh(), [pair])
    assert flow.bit_hops == 10 * (3 + 1)
    assert flow_between(mesh(), [(*pair[:2], math.inf)]).bit_hops == 10 * (2 + 3 + 4)


@pytest.mark.parametrize("name", CURVES)
def test_curves_visit_every_core_once(name: str) -> None:
    for columns, rows, wide in ((4, 4, 1), (3, 5, 2), (1, 4, 1), (5, 1, 3)):
        of = mesh(columns=columns, rows=rows, chiplet_columns=wide)
        found = curve(of, name)
        assert sorted(found) == list(range(of.cores))
        size = columns * rows
        for begin in range(0, of.cores, size):  # a chiplet after another
            chiplets = {core % of.width // columns for core in found[begin : begin + size]}
            assert len(chiplets) == 1


def test_impossible_meshes_are_refused() -> None:
    for changed in (
        {"columns": 0},
        {"shared_columns": 3},
        {"columns": 400, "rows": 400},
        {"chiplet_columns": 2, "chiplet_hop": None},
        {"link": {"value": 0, "unit": "GHz", "source": "test"}},
    ):
        with pytest.raises(ValueError, match="columns|cores|chiplet_hop|link"):
            mesh(**changed)
