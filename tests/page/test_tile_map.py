"""Use and error of tiles against a slow count of every cell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nvmc
from nvmc.errors import OptionError
from nvmc.hardware.devices import as_noise, load_device
from onnx_text import proto_of


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> nvmc.Compiled:
    text = "g (float[N,30] x) => (float[N,20] y) <float[30,20] w> { y = MatMul (x, w) }"
    target = nvmc.make_target("fefet2", rows=24, cols=16)
    return nvmc.compile(proto_of(text), target, output=tmp_path_factory.mktemp("tiles") / "a.nvmc")


def test_use_and_error_are_those_of_every_cell(network: nvmc.Compiled) -> None:
    found = nvmc.tile_map(network, chip=3, seed=5, sigma=0.3)
    assert [layer.name for layer in found.layers] == [a.name for a in network.manifest.arrays]
    real, aimed = network.chip(3, seed=5, sigma=0.3), network.chip(None)
    conductance = network.manifest.target.device.conductance
    assert conductance is not None
    whole = conductance.max_us - conductance.min_us
    for layer in found.layers:
        pairs = list(zip(real.tiles(layer.name), aimed.tiles(layer.name), strict=True))
        side = layer.use.shape
        cells, squares, places = np.zeros(side), np.zeros(side), np.zeros(side)
        used = np.zeros(side)
        for (one, aim), told in zip(pairs, layer.tiles, strict=True):
            off = (one.conductance_us - aim.conductance_us) / whole
            held = [(r, c) for r, c in np.ndindex(off.shape) if one.formed[r, c]]
            assert (told.formed, told.rows, told.cols) == (len(held), *off.shape)
            assert (told.cells, told.use) == (off.size, off.size / (24 * 16))
            for r, c in np.ndindex(off.shape):
                used[r * side[0] // 24, c * side[1] // 16] += 1
            error = None if not held else np.sqrt(sum(off[at] ** 2 for at in held) / len(held))
            assert (told.error is None) if error is None else told.error == pytest.approx(error)
            for r, c in held:
                at = r * side[0] // 24, c * side[1] // 16
                cells[at] += 1
                squares[at] += off[r, c] ** 2
        for r, c in np.ndindex(24, 16):
            places[r * side[0] // 24, c * side[1] // 16] += len(pairs)
        np.testing.assert_allclose(layer.use, used / places)
        known = cells > 0
        np.testing.assert_allclose(layer.error[known], np.sqrt(squares[known] / cells[known]))
        assert np.isnan(layer.error[~known]).all()
        assert layer.formed == cells.sum()
        assert layer.rms == pytest.approx(np.sqrt(squares.sum() / cells.sum()))


def test_used_cells_are_those_of_compile(tmp_path: Path) -> None:
    """Sign-magnitude, and groups that lie along the diagonal of a tile."""
    text = "g (float[N,4,5,5] x) => (float[N,8,5,5] y) <float[8,1,1,1] w> "
    text += "{ y = Conv <group=4> (x, w) }"
    target = nvmc.make_target("fefet2", rows=24, cols=16)
    compiled = nvmc.compile(proto_of(text), target, output=tmp_path / "a.nvmc")
    (layer,), (array,) = nvmc.tile_map(compiled).layers, compiled.manifest.arrays
    assert (layer.cells, layer.share) == (array.cells, array.utilization)
    assert 0 < layer.formed < layer.cells


def test_without_noise_cells_are_on_target(network: nvmc.Compiled) -> None:
    found = nvmc.tile_map(network, sigma=0.0)
    assert {layer.rms for layer in found.layers} == {0.0}


def test_noise_of_activations_changes_no_cell(network: nvmc.Compiled) -> None:
    """Neither given beside the device nor as a device's own: it has no part in a map of cells."""
    plain = nvmc.tile_map(network, chip=1, sigma=0.3).to_json()
    given = nvmc.tile_map(network, chip=1, sigma=0.3, noise=["activation:sigma=0.5"])
    assert given.to_json() == plain
    fefet = load_device("fefet2")
    own = fefet.model_copy(update={"noise": (*fefet.noise, as_noise("activation:sigma=0.5"))})
    assert nvmc.tile_map(network, chip=1, sigma=0.3, device=own).to_json() == plain


def test_a_tile_map_draws_itself(network: nvmc.Compiled, tmp_path: Path) -> None:
    found = nvmc.tile_map(network, chip=3, sigma=0.3)
    for name, style in (("a.png", "screen"), ("b.svg", "column")):
        path = found.figure(tmp_path / name, style=style)
        assert path.read_bytes() and found.figure(path, style).read_bytes() == path.read_bytes()
    with pytest.raises(OptionError, match="poster"):
        found.figure(tmp_path / "c.png", style="poster")


def test_a_tile_map_shows_itself(network: nvmc.Compiled) -> None:
    found = nvmc.tile_map(network, chip=3, seed=5, sigma=0.3)
    assert repr(found).startswith("<Tile map of a on fefet2, chip 3 of seed 5: 1 array on ")
    tiles = found.layers[0].tiles
    assert len(found.table("csv").splitlines()) == 1 + len(tiles)
    assert [row["cells"] for row in found.records()] == [tile.cells for tile in tiles]
    assert f" {len(tiles)} " in found.table() and len(repr(found.layers[0])) < 80
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["layers"][0]["tiles"][0]["rows"] == tiles[0].rows
    chip = nvmc.program_chip(network, 3, Path(network.folder).parent / "chip.onnx", sigma=0.3)
    assert repr(chip).startswith("<Chip 3 of seed 0: ") and len(repr(chip)) < 80
