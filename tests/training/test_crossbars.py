"""Training computes with the very weights that `nvmc compile` and the simulator's chips have."""

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from nvmc.errors import OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Conductance, Target, load_device, parse_noise
from nvmc.models.zoo import zoo_path
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.io.load import load_model
from nvmc.passes.pipeline import compile_passes
from nvmc.passes.program_chip import arrays_of
from nvmc.rng import Draw
from nvmc.torchgraph.graph import Graph
from nvmc.training.crossbars import Crossbars
from nvmc.training.draws import TorchDraw
from onnx_text import model_of

ENCODINGS = ("sign-magnitude", "differential", "offset", "balanced")
GROUPED = """g (float[N,4,5,5] x) => (float[N,C,H,W] y) <float[4,2,3,3] w> {
  y = OP <group = 2> (x, w)
}"""


SMALL = """g (float[N,2,6,6] x) => (float[N,10] y) <float[6,2,3,3] w1, float[10,96] w2> {
  c = Conv (x, w1)
  f = Flatten (c)
  y = Gemm <transB = 1> (f, w2)
}"""
LAYER = "g (float[N,84] x) => (float[N,10] y) <float[84,10] w> { y = MatMul (x, w) }"


@cache
def network(text: str | None) -> ir.Model:
    model = load_model(zoo_path("lenet5-digits")) if text is None else model_of(text)
    Canonicalize()(model)
    return model


def held_by(target: Target, text: str | None = SMALL) -> tuple[Crossbars, dict[str, Array], Graph]:
    """A network's crossbars in training, and its arrays as they are compiled; None is LeNet-5."""
    model = network(text).clone()
    graph = Graph.of(model)
    compiled = model.clone()
    for step in compile_passes(target):
        step(compiled)
    arrays = {array.name: array for array in arrays_of(compiled)}
    return Crossbars(model, graph.weights, target), arrays, graph


class Replayed:
    """The streams that a chip draws from for one array and source, as torch tensors.

    A source draws either normals or uniforms.
    """

    def __init__(self, array: str, source: str) -> None:
        self._normals = Draw(3, 5, array, source)
        self._uniforms = Draw(3, 5, array, source)

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self._normals.normal(shape))

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self._uniforms.uniform(shape))


@pytest.mark.parametrize(
    ("bits", "cell_bits", "encoding", "per_channel"),
    [
        *product([(4)], [2], ENCODINGS, [False, True]),
        (7, 3, "differential", True),
        *product([1], [1], ENCODINGS, [False]),
    ],
)
def test_the_ideal_chip_is_the_compiled_one(bits, cell_bits, encoding, per_channel):
    device = load_device("ideal")
    target = Target.of(
        device, weight_bits=bits, cell_bits=cell_bits, encoding=encoding, per_channel=per_channel
    )
    crossbars, arrays, graph = held_by(target, None)
    found = crossbars.quantized()
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        # W + (q - W) in float32 is q to one rounding of each of the two sums.
        shift = np.abs(array.ideal - graph.weights[name].detach().numpy())
        bound = 2 * 2**-24 * (np.abs(array.ideal) + shift)
        assert np.all(np.abs(found[name].detach().numpy() - array.ideal) <= bound)
        held = crossbars.held(name)
        assert np.array_equal(held.codes.numpy().astype(np.int32), array.codes.astype(np.int32))
        assert np.array_equal(held.ideal.numpy(), array.ideal)


@pytest.mark.parametrize("device", ["rram4", "fefet1", "fefet2"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_chip_in_training_is_a_chip_of_the_simulator(device: str, encoding: Any):
    target = Target.of(load_device(device), weight_bits=4, cell_bits=2, encoding=encoding)
    check_chip(target, 0.2)


@pytest.mark.parametrize(
    ("device", "noise"),
    [
        ("reram-lognormal", ""),
        ("additive", ""),
        ("multiplicative", ""),
        ("uniform", ""),
        ("bitflip", ""),
        ("ideal", "stuck-at:p_low=0.1,p_high=0.05"),
        ("pcm-joshi2020", ""),
        ("rram-wan2022", ""),
        ("ideal", "programming-uniform:amplitude=0.1,basis=inverse"),
        ("ideal", "telegraph:amplitude=0.1,share=0.5,drawn=chip"),
        ("ideal", "endurance:writes=1e6,life=3e6,shape=2,high=0.5,closing=0.1,closing_from=1e5"),
        ("ideal", "read-disturb:reads=10,p=0.01,towards=high"),
        ("ideal", "read-disturb:reads=10,rate=0.01,rate_std=0.5,towards=high"),
        ("ideal", "correlated:row=0.1,col=0.1,gradient=0.1"),
        ("ideal", "global:sigma=0.1,scope=tile"),
        (
            "ideal",
            "temperature-coefficient:per_k=0.1,std_per_k=0.1,reference_c=0,temperature_c=2",
        ),
    ],
)
def test_every_source_acts_in_training_as_on_a_chip(device: str, noise: str):
    chosen = load_device(device)
    if noise:
        chosen = chosen.with_noise([parse_noise(noise)])
    bits = None if chosen.levels == "continuous" and device != "bitflip" else 4
    try:
        target = Target.of(chosen, weight_bits=bits, rows=32, cols=8)  # several tiles an array
    except OptionError:
        target = Target.of(chosen, rows=32, cols=8)
    check_chip(target, 0.1 if chosen.needs_sigma else None)


def check_chip(target: Target, sigma: float | None) -> None:
    """Each source by itself, since training draws everything from one stream."""
    crossbars, arrays, _ = held_by(target)
    active = [s for s in target.device.sources(sigma) if s.stage != "read" and s.active]
    changed = False
    for source, (name, array) in product(active, arrays.items()):
        chip = Chip(3, 5, (source,), target.device.clip, target.device.time_s)
        found = crossbars.chip(name, [source], Replayed(name, source.type)).numpy()
        wanted = chip.program(array).weights
        changed |= not np.array_equal(wanted, array.ideal)
        # Both add a few products of float32 numbers up to the array's full range.
        bound = 32 * 2**-24 * np.max(np.abs(wanted))
        assert np.max(np.abs(found - wanted)) <= bound, name
    assert changed


def test_gradients_at_the_noisy_point_reach_the_clean_weight():
    target = Target.of(load_device("rram4"), weight_bits=4, cell_bits=2)
    crossbars, _, graph = held_by(target)
    generator = torch.Generator().manual_seed(0)
    noisy = crossbars.programmed(target.device.sources(0.2), TorchDraw(generator))
    name = crossbars.names[0]
    point = noisy[name].detach().clone().requires_grad_()
    sum(((w**3).sum() for w in noisy.values()), torch.tensor(0.0)).backward()
    (point**3).sum().backward()
    assert torch.equal(graph.weights[name].grad, point.grad)
    assert not torch.equal(noisy[name].detach(), graph.weights[name].detach())


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("device", ["rram4", "fefet2", "additive", "multiplicative", "uniform"])
def test_the_closed_form_spread_is_that_of_chips(device: str, encoding: Any):
    bits = 4 if device in ("rram4", "fefet2") else None
    target = Target.of(load_device(device), weight_bits=bits, encoding=encoding)
    crossbars, _, _ = held_by(target, LAYER)
    sources = target.device.sources(0.1)
    draws = TorchDraw(torch.Generator().manual_seed(1))
    (name,) = crossbars.names
    sample = torch.stack([crossbars.chip(name, sources, draws) for _ in range(400)])
    spread = crossbars.spread(0.1)[name]
    seen = sample.double().var(0)
    # Mean over n weights of the ratio of variances, each with a relative standard error of at most
    # sqrt(2 / 399); five standard errors of the mean.
    loud = spread > 0
    ratio = (seen[loud] / spread[loud].double() ** 2).mean().item()
    assert abs(ratio - 1) < 5 * (2 / 399 / int(loud.sum())) ** 0.5


def test_the_closed_form_spread_of_flat_errors_is_that_of_normal_ones():
    """Of the same standard deviation: an amplitude of sqrt(3) sigma."""
    found = list[torch.Tensor]()
    for text in ("programming:sigma=0.1", f"programming-uniform:amplitude={0.1 * 3**0.5}"):
        device = load_device("ideal").with_noise([parse_noise(f"{text},basis=inverse")])
        crossbars, _, _ = held_by(Target.of(device, weight_bits=4), LAYER)
        found.append(crossbars.spread()["w"])
    assert found[0].max() > 0
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=0)


def test_a_source_without_closed_form_is_refused():
    target = Target.of(load_device("bitflip"), weight_bits=4)
    crossbars, _, _ = held_by(target)
    with pytest.raises(OptionError, match="no closed-form spread"):
        crossbars.spread(None)


@pytest.mark.parametrize("device", ["rram4", "fefet1"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sampled_weights_have_the_law_of_chips(device: str, encoding: Any):
    target = Target.of(load_device(device), weight_bits=4, cell_bits=2, encoding=encoding)
    crossbars, _, _ = held_by(target, LAYER)
    draws = TorchDraw(torch.Generator().manual_seed(2))
    (name,) = crossbars.names
    ideal, spread = crossbars.quantized()[name], crossbars.spread(0.2)[name]
    runs = 300
    sample = torch.stack([crossbars.sampled(0.2, draws)[name].detach() for _ in range(runs)])
    z = ((sample - ideal) / spread).double()
    # Means of count independent standard normals and of their squares, within five standard errors.
    count = z.numel()
    assert abs(z.mean().item()) < 5 / count**0.5
    assert abs((z**2).mean().item() - 1) < 5 * (2 / count) ** 0.5
    assert abs((z**4).mean().item() - 3) < 5 * (96 / count) ** 0.5


def check_whole(target: Target, sigma: float | None) -> None:
    """All sources together: only those of programming are active, or draw numbers that matter."""
    crossbars, arrays, _ = held_by(target)
    sources = target.device.sources(sigma)
    chip = Chip(3, 5, sources, target.device.clip, target.device.time_s)
    for name, array in arrays.items():
        found = crossbars.chip(name, sources, Replayed(name, "programming")).numpy()
        wanted = chip.program(array).weights
        # As in `check_chip`.
        assert np.max(np.abs(found - wanted)) <= 32 * 2**-24 * np.max(np.abs(wanted)), name


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_flipped_bit_moves_the_spread_of_its_cell(encoding: Any):
    """At p = 1 every bit flips, whatever is drawn; the levels' spreads are 1, 2, 3 and 4 sigma."""
    programming = parse_noise("programming:basis=level,profile=1;2;3;4")
    device = load_device("bitflip").model_copy(
        update={"levels": 4, "sigma": 0.1, "noise": (parse_noise("bitflip:p=1"), programming)}
    )
    check_whole(Target.of(device, weight_bits=4, cell_bits=2, encoding=encoding), 0.1)


@pytest.mark.parametrize("cell_bits", [1, 2])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_uneven_levels_are_those_of_a_chip(encoding: Any, cell_bits: int):
    noise = parse_noise("programming:sigma=0.1,basis=level,profile=1;2;3;4")
    conductance = Conductance(min_us=1.0, max_us=9.0, levels_us=(1.0, 2.0, 4.0, 9.0))
    changes = {"conductance": conductance, "noise": (noise,), "sigma": None}
    device = load_device("rram4").model_copy(update=changes)
    target = Target.of(device, weight_bits=4, cell_bits=cell_bits, encoding=encoding)
    check_whole(target, None)
    crossbars, _, _ = held_by(target)
    found = crossbars.sampled(None, TorchDraw(torch.Generator().manual_seed(4)))
    wanted = crossbars.programmed(device.noise, TorchDraw(torch.Generator().manual_seed(4)))
    assert all(torch.equal(found[name], wanted[name]) for name in crossbars.names)


@pytest.mark.parametrize("clip", [True, "zero"])
@pytest.mark.parametrize("name", ["rram4", "rram-milo2021"])
def test_levels_are_clipped_as_on_a_chip(name: str, clip: Any):
    """Cells whose level 0 conducts may fall below it where only the conductance is clipped."""
    device = load_device(name).model_copy(update={"clip": clip})
    check_whole(Target.of(device), 20.0 if name == "rram-milo2021" else 1.0)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("reram-lognormal", {}), ("rram4", {"clip": True}), ("rram-wan2022", {"clip": False})],
)
def test_what_is_no_gaussian_is_programmed_cell_by_cell(name: str, changes: dict[str, Any]):
    """Drift of weights; clipped levels; errors that a table gives."""
    target = Target.of(load_device(name).model_copy(update=changes))
    crossbars, _, _ = held_by(target)
    found = crossbars.sampled(0.5, TorchDraw(torch.Generator().manual_seed(4)))
    sources = target.device.sources(0.5)
    wanted = crossbars.programmed(sources, TorchDraw(torch.Generator().manual_seed(4)))
    assert all(torch.equal(found[name], wanted[name]) for name in crossbars.names)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_channels_of_a_grouped_convolution_keep_scales_of_their_own(op: str):
    model = model_of(GROUPED.replace("OP", op))
    Canonicalize()(model)
    target = Target.of(load_device("ideal"), weight_bits=4, cell_bits=2, per_channel=True)
    crossbars = Crossbars(model, Graph.of(model).weights, target)
    for step in compile_passes(target):
        step(model)
    (array,) = arrays_of(model)
    held = crossbars.held(array.name)
    assert np.array_equal(held.codes.numpy(), array.codes)
    assert np.array_equal(held.ideal.numpy(), array.ideal)


def test_an_analog_weight_of_zeros_stays_zero():
    target = Target.of(load_device("ideal"))
    crossbars, _, graph = held_by(target)
    name = crossbars.names[0]
    with torch.no_grad():
        graph.weights[name].zero_()
    assert not crossbars.held(name).codes.any()
    assert not crossbars.quantized()[name].any()


@pytest.mark.parametrize("per_channel", [False, True])
def test_clipping_clamps_tensors_or_channels_to_their_own_deviations(per_channel: bool) -> None:
    target = Target.of(load_device("rram4"), per_channel=per_channel)
    crossbars, _, graph = held_by(target)
    before = {name: graph.weights[name].detach().numpy().copy() for name in crossbars.names}
    crossbars.clip(1.5)
    for name, weight in before.items():
        axes = tuple(range(1, weight.ndim)) if per_channel else None
        width = 1.5 * weight.astype(np.float64).std(axis=axes, keepdims=True)
        expected = np.clip(weight, -width, width)
        np.testing.assert_allclose(graph.weights[name].detach().numpy(), expected, 1e-5, 1e-7)


def test_clipping_leaves_weights_of_one_bit() -> None:
    target = Target.of(load_device("fefet2"), weight_bits=1)
    crossbars, _, graph = held_by(target)
    before = {name: graph.weights[name].detach().clone() for name in crossbars.names}
    crossbars.clip(1.5)
    assert all(torch.equal(graph.weights[name], before[name]) for name in before)
