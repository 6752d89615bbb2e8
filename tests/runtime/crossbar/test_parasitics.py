"""Wire resistance: the oracle against closed forms, the fast method against the oracle."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.runtime.crossbar.parasitics import approximate, effective
from resistor_network import ResistorNetwork, nodal_currents

Real = NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)


def tolerance(rows: int, cols: int) -> float:
    """Relative to the largest conductance: rounding in the nodal equations, times their condition.

    Each equation is off by some eps times its largest term, 4/r for a node of wires of r. That
    current reaches its terminal over at most n segments, so it shifts a node by 4 n eps of the
    voltage, and all n nodes of a wire together by 4 n^2 eps (4 n^2 / pi^2 is what the condition
    number of a wire of n nodes tends to). Two wires: rows^2 + cols^2, below (rows + cols)^2. A row
    of the factors has fill-in of tens of entries, whose rounding is random: a factor of 8.
    """
    return 8 * 4 * EPS * (rows + cols) ** 2


def oracle(g: Real, row: float, col: float) -> Real:
    return nodal_currents(g, np.eye(len(g)), row, col)


def dense(seed: int, rows: int, cols: int, density: float = 1.0, top: float = 40.0) -> Real:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, top, (rows, cols)) * (rng.random((rows, cols)) < density)


OHM = st.one_of(st.just(0.0), st.floats(0.1, 100))


@st.composite
def tiles(draw: st.DrawFn, largest: int = 12) -> Real:
    rows, cols = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    top = draw(st.sampled_from([1.0, 40.0, 225.0]))
    return dense(draw(st.integers(0, 2**32 - 1)), rows, cols, density, top)


class TestOracle:
    """Kirchhoff's laws, by hand and by theorem."""

    def test_one_cell_is_a_series_of_three(self):
        current = nodal_currents(np.array([[25.0]]), np.array([0.5]), 3.0, 7.0)
        expected = 0.5 / (3.0 + 1e6 / 25.0 + 7.0) * 1e6
        np.testing.assert_allclose(current, [expected], rtol=tolerance(1, 1))

    def test_only_the_last_cell_of_a_word_line_is_a_series(self):
        n, row, col = 9, 20.0, 30.0
        g = np.zeros((1, n))
        g[0, -1] = 100.0
        current = nodal_currents(g, np.array([1.0]), row, col)
        series = 1e6 / (n * row + 1e4 + col)
        np.testing.assert_allclose(current[-1], series, rtol=tolerance(1, n))
        assert np.abs(current[:-1]).max() <= tolerance(1, n) * 100.0

    def test_only_the_first_cell_of_a_bit_line_is_a_series(self):
        n, row, col = 9, 20.0, 30.0
        g = np.zeros((n, 1))
        g[0, 0] = 100.0
        current = nodal_currents(g, np.arange(1.0, n + 1), row, col)
        np.testing.assert_allclose(current, [1e6 / (row + 1e4 + n * col)], rtol=tolerance(n, 1))

    def test_a_ladder_is_a_continued_fraction(self):
        """Bit lines without resistance: the input resistance of a word line, from its far end."""
        g, row = np.array([[30.0, 10.0, 20.0, 5.0]]), 1000.0
        seen = 0.0
        for cell in g[0, ::-1]:
            seen = 1 / (row * 1e-6 + 1 / (cell + seen))
        current = nodal_currents(g, np.array([1.0]), row, 0.0)
        np.testing.assert_allclose(current.sum(), seen, rtol=tolerance(1, 4))

    def test_two_by_two_by_hand(self):
        """All resistors of 1 Mohm (1 µS): the eight nodal equations, written out.

        w00 w01 w10 w11 b00 b01 b10 b11; a word-line node has two neighbours on its wire but for
        the last, a bit-line node two but for the first, and each its cell.
        """
        equations = np.array(
            [
                [3, -1, 0, 0, -1, 0, 0, 0],
                [-1, 2, 0, 0, 0, -1, 0, 0],
                [0, 0, 3, -1, 0, 0, -1, 0],
                [0, 0, -1, 2, 0, 0, 0, -1],
                [-1, 0, 0, 0, 2, 0, -1, 0],
                [0, -1, 0, 0, 0, 2, 0, -1],
                [0, 0, -1, 0, -1, 0, 3, 0],
                [0, 0, 0, -1, 0, -1, 0, 3],
            ],
            float,
        )
        v = np.array([5.0, -2.0])
        nodes = np.linalg.solve(equations, [v[0], 0, v[1], 0, 0, 0, 0, 0])
        current = nodal_currents(np.ones((2, 2)), v, 1e6, 1e6)
        np.testing.assert_allclose(current, nodes[6:], rtol=tolerance(2, 2))

    def test_superposition(self):
        g, rng = dense(1, 7, 5), np.random.default_rng(2)
        v, u = rng.uniform(-1, 1, (2, 3, 7))
        both = nodal_currents(g, 2 * v - 3 * u, 5.0, 8.0)
        apart = 2 * nodal_currents(g, v, 5.0, 8.0) - 3 * nodal_currents(g, u, 5.0, 8.0)
        assert both.shape == (3, 5)
        np.testing.assert_allclose(both, apart, rtol=0, atol=5 * 7 * 40 * tolerance(7, 5))

    @pytest.mark.parametrize("row, col", [(0.0, 9.0), (4.0, 0.0), (4.0, 9.0), (0.0, 0.0)])
    def test_power_delivered_is_power_dissipated(self, row: float, col: float):
        g, v = dense(3, 6, 8), np.linspace(0.1, 0.6, 6)
        network = ResistorNetwork.of(g, row, col)
        voltages = network.voltages(v[:, None])[:, 0]
        delivered = v @ (network.laplacian @ voltages)[:6]
        across = voltages[network.word] - voltages[network.bit]
        dissipated = (g * across**2).sum()
        if row:
            steps = np.diff(voltages[network.word], axis=1, prepend=v[:, None])
            dissipated += (steps**2).sum() / (row * 1e-6)
        if col:
            steps = np.diff(voltages[network.bit], axis=0, append=0)
            dissipated += (steps**2).sum() / (col * 1e-6)
        np.testing.assert_allclose(dissipated, delivered, rtol=tolerance(6, 8))

    def test_reciprocity(self):
        """Driver and sense end exchanged: the transposed array, seen from its other corner."""
        g = dense(4, 6, 9)
        turned = oracle(g[::-1, ::-1].T, 8.0, 3.0)[::-1, ::-1].T
        assert np.abs(oracle(g, 3.0, 8.0) - turned).max() <= tolerance(6, 9) * 40

    def test_no_resistance_is_the_ideal_array(self):
        g, v = dense(5, 6, 4), np.random.default_rng(6).uniform(-1, 1, (2, 6))
        np.testing.assert_allclose(nodal_currents(g, v, 0.0, 0.0), v @ g, rtol=8 * EPS * 6)

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(OptionError, match=r"\(3,\)"):
            nodal_currents(np.ones((2, 2)), np.ones(3), 1.0, 1.0)


class TestAgainstTheOracle:
    @settings(max_examples=150, deadline=None)
    @given(tiles(), OHM, OHM)
    def test_small_tiles(self, g: Real, row: float, col: float):
        error = np.abs(effective(g, row, col) - oracle(g, row, col)).max()
        assert error <= tolerance(*g.shape) * g.max(initial=0)

    @settings(max_examples=100, deadline=None)
    @given(tiles(), st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.01, 0.999))
    def test_negative_conductances_that_the_wires_bear(
        self, g: Real, row: float, col: float, share: float
    ):
        """Below docs/parasitics.md, Eq. 8, the circuit is stable; near it ill posed."""
        rng = np.random.default_rng(g.size)
        rows, cols = g.shape
        longest = [1 / (4 * np.sin(np.pi / (4 * n + 2)) ** 2) for n in (cols, rows)]
        bear = 1e6 / (row * longest[0] + col * longest[1])
        g = np.where(rng.random(g.shape) < 0.3, -share * bear * rng.random(g.shape), g)
        error = np.abs(effective(g, row, col) - oracle(g, row, col)).max()
        # a negative cell of `share` of the bound raises voltages at most by 1 / (1 - share)
        assert error <= tolerance(rows, cols) * np.abs(g).max() / (1 - share) ** 2

    @pytest.mark.parametrize("row, col", [(1.0, 2.0), (5.0, 0.0), (30.0, 100.0)])
    @pytest.mark.parametrize("density", [0.1, 1.0])
    def test_tiles_of_64(self, row: float, col: float, density: float):
        g = dense(7, 64, 64, density, top=225.0)
        error = np.abs(effective(g, row, col) - oracle(g, row, col)).max()
        assert error <= tolerance(64, 64) * 225

    def test_a_tile_of_128(self):
        g = dense(8, 128, 128)
        error = np.abs(effective(g, 2.0, 2.0) - oracle(g, 2.0, 2.0)).max()
        assert error <= tolerance(128, 128) * 40

    @pytest.mark.parametrize("shape", [(40, 3), (3, 40), (17, 64)])
    def test_oblong_tiles(self, shape: tuple[int, int]):
        g = dense(9, *shape)
        error = np.abs(effective(g, 10.0, 20.0) - oracle(g, 10.0, 20.0)).max()
        assert error <= tolerance(*shape) * 40


class TestLaws:
    def test_a_stack_is_its_tiles(self):
        g = np.stack([dense(seed, 9, 7) for seed in range(6)]).reshape(2, 3, 9, 7)
        stacked = effective(g, 3.0, 4.0)
        for index in np.ndindex(2, 3):
            np.testing.assert_array_equal(stacked[index], effective(g[index], 3.0, 4.0))

    @pytest.mark.parametrize("row, col", [(3.0, 4.0), (0.0, 4.0), (0.0, 0.0)])
    def test_the_input_is_left_alone_and_the_result_is_float64(self, row: float, col: float):
        g = dense(11, 5, 8).astype(np.float32)
        before = g.copy()
        result = effective(g, row, col)
        result[...] = 0
        np.testing.assert_array_equal(g, before)
        assert result.dtype == np.float64

    def test_no_resistance_changes_nothing(self):
        g = dense(12, 5, 8)
        np.testing.assert_array_equal(effective(g, 0.0, 0.0), g)

    @pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 3, 3)])
    def test_empty_tiles(self, shape: tuple[int, ...]):
        assert effective(np.zeros(shape), 1.0, 1.0).shape == shape

    def test_first_order_convergence_to_the_ideal_array(self):
        """T = g - r g1 + r^2 g2 - ...: halving r halves what is lost, ever more exactly."""
        g = dense(13, 24, 16)
        ohms = [2.0, 1.0, 0.5, 0.25]
        lost = [np.abs(g - effective(g, ohm, 2 * ohm)).max() for ohm in ohms]
        ratios = np.array(lost[:-1]) / lost[1:]
        # r (g1 - r g2) over half of it at r/2 is 2 (1 - r x / 2), x = g2/g1: errors halve too
        misses = 2 - ratios
        assert (np.abs(misses) < 0.05).all()
        np.testing.assert_allclose(misses[:-1] / misses[1:], 2, rtol=0.05)

    @settings(max_examples=60, deadline=None)
    @given(tiles(), OHM, OHM, st.floats(1.01, 5), st.booleans())
    def test_more_resistance_never_gives_more_current(
        self, g: Real, row: float, col: float, factor: float, rows: bool
    ):
        """Rayleigh's monotonicity, for all drivers at one voltage: a two-terminal network."""
        less = effective(g, row, col).sum()
        more = effective(g, row * factor if rows else row, col if rows else col * factor).sum()
        assert more <= less + g.size * tolerance(*g.shape) * g.max(initial=0)
        assert less <= g.sum() + g.size * tolerance(*g.shape) * g.max(initial=0)

    @settings(max_examples=60, deadline=None)
    @given(tiles(), OHM, OHM)
    def test_no_current_flows_backwards(self, g: Real, row: float, col: float):
        """Maximum principle: with g >= 0 every node lies between the drivers' voltages."""
        assert effective(g, row, col).min(initial=0) >= -tolerance(*g.shape) * g.max(initial=0)

    def test_the_far_corner_loses_most(self):
        """Equal cells: the farther from driver and sense end, the less is left of a cell."""
        left = effective(np.full((20, 30), 25.0), 3.0, 2.0)
        assert (np.diff(left, axis=1) < 0).all()  # farther from the driver
        assert (np.diff(left, axis=0) > 0).all()  # nearer to the sense end
        assert left[0, -1] == left.min() and left[-1, 0] == left.max()

    def test_a_sneak_path_reaches_a_column_without_a_cell(self):
        g = np.array([[100.0, 0.0], [100.0, 100.0]])
        assert effective(g, 50.0, 50.0)[0, 1] > 1e-3

    def test_memory_is_bounded(self):
        """A long stack needs its result and one tile's working memory."""
        g = dense(14, 64, 64)[None].repeat(40, axis=0)
        tracemalloc.start()
        try:
            effective(g, 1.0, 1.0)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # one tile: seen and its product, dividers and the like, a row and its matrices
        tile = 8 * (7 * 64 * 64 + 7 * 64 * 64)
        assert peak <= g.nbytes + tile + 2**16


class TestNegativeConductances:
    @pytest.mark.parametrize("row, col", [(5.0, 5.0), (0.0, 5.0), (5.0, 0.0)])
    def test_a_circuit_that_feeds_itself_is_refused(self, row: float, col: float):
        g = np.full((40, 40), -1000.0)
        with pytest.raises(OptionError, match=r"down to -1e\+03 µS"):
            effective(g, row, col)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.floats(1, 3000))
    def test_refused_exactly_where_power_could_be_negative(self, seed: int, most: float):
        """The nodal matrix is positive definite, or the tile is refused."""
        rng = np.random.default_rng(seed)
        g = rng.uniform(-most, most / 2, (7, 6))
        terminals = 13
        network = ResistorNetwork.of(g, 40.0, 60.0)
        lowest = np.linalg.eigvalsh(network.laplacian[terminals:, terminals:].toarray())[0]
        if lowest > 0:
            error = np.abs(effective(g, 40.0, 60.0) - oracle(g, 40.0, 60.0)).max()
            largest = 4 / 40e-6
            # both solutions amplify rounding of 4/r by the inverse of the lowest eigenvalue
            assert error <= 100 * EPS * largest / lowest * oracle(np.abs(g), 40.0, 60.0).max()
        else:
            with pytest.raises(OptionError, match="feeds itself"):
                effective(g, 40.0, 60.0)

    def test_unclipped_noise_of_a_tile_of_128_is_borne(self):
        """Steps of 13 µS, a spread of 0.4 steps, half the cells at level 0; 1 ohm a segment."""
        rng = np.random.default_rng(15)
        g = 13 * (rng.integers(0, 4, (128, 128)) * (rng.random((128, 128)) < 0.7))
        g = g + rng.normal(0, 0.4 * 13, g.shape)
        v = rng.uniform(0, 1, 128)
        ours, theirs = v @ effective(g, 1.0, 1.0), nodal_currents(g, v, 1.0, 1.0)
        assert np.abs(ours - theirs).max() <= tolerance(128, 128) * np.abs(g).sum(axis=0).max()


class TestApproximation:
    @pytest.mark.parametrize("row, col", [(7.0, 0.0), (0.0, 7.0)])
    def test_one_kind_of_wire_alone_is_exact(self, row: float, col: float):
        g = dense(16, 12, 9)
        error = np.abs(approximate(g, row, col) - oracle(g, row, col)).max()
        assert error <= tolerance(12, 9) * 40

    def test_its_error_is_of_second_order(self):
        """Halving the resistances quarters the error, within the third order's share."""
        g = dense(17, 16, 16)
        errors = [
            np.abs(approximate(g, ohm, ohm) - effective(g, ohm, ohm)).max()
            for ohm in (2.0, 1.0, 0.5)
        ]
        np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 4, rtol=0.05)

    @settings(max_examples=100, deadline=None)
    @given(tiles(), OHM, OHM)
    def test_its_error_has_one_sign_and_the_stated_bound(self, g: Real, row: float, col: float):
        self._holds_the_bound(g, row, col)

    @pytest.mark.parametrize("size", [32, 64])
    @pytest.mark.parametrize("ohm", [1.0, 10.0, 100.0])
    @pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
    def test_the_bound_over_sizes(self, size: int, ohm: float, density: float):
        self._holds_the_bound(dense(18, size, size, density), ohm, 2 * ohm)

    def _holds_the_bound(self, g: Real, row: float, col: float) -> None:
        """docs/parasitics.md, Eq. 7, against the oracle: currents for drivers of 0 to 1 V."""
        v = np.stack([np.ones(len(g)), np.random.default_rng(19).uniform(0, 1, len(g))])
        short = nodal_currents(g, v, row, col) - v @ approximate(g, row, col)
        word, bit = dividers(g, row), dividers(g[::-1, ::-1].T, col)[::-1, ::-1].T
        bound = (g * bit * (1 - word) * (1 - bit).max(axis=1, keepdims=True)).sum(axis=0)
        rounding = tolerance(*g.shape) * g.sum(axis=0).max()
        assert (short >= -rounding).all()
        assert (short <= bound + rounding).all()


def dividers(g: Real, ohm: float) -> Real:
    """Voltages along each word line alone, by the oracle, for 1 V at every driver."""
    network = ResistorNetwork.of(g, ohm, 0.0)
    return network.voltages(np.ones((len(g), 1)))[:, 0][network.word]


@pytest.mark.parametrize("function", [effective, approximate, oracle])
@pytest.mark.parametrize("row, col", [(-1.0, 1.0), (1.0, float("nan")), (float("inf"), 1.0)])
def test_impossible_resistances_are_refused(function: Any, row: float, col: float):
    with pytest.raises(OptionError, match="expected 0 ohm or more"):
        function(np.ones((2, 2)), row, col)


def test_wires_that_nothing_passes_are_refused():
    """Cells of 1 S behind segments of 1 Mohm: each node keeps a millionth of the one before."""
    with pytest.raises(OptionError, match="far end; lower the wire resistance"):
        effective(np.full((40, 40), 1e6), 1e6, 1e6)


@pytest.mark.parametrize("function", [effective, approximate])
def test_impossible_conductances_are_refused(function: Any):
    with pytest.raises(OptionError, match="not finite"):
        function(np.array([[1.0, np.nan]]), 1.0, 1.0)
    with pytest.raises(OptionError, match=r"\(3,\)"):
        function(np.ones(3), 1.0, 1.0)
