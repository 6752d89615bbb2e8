"""Laws of one's own in Python: found, checked, hashed, and never run because a file names them."""

from __future__ import annotations

import itertools
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.errors import NvmcError, OptionError
from nvmc.evaluation.parameters import Setup
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Device, NoiseSource, Target, load_device, parse_noise
from nvmc.hardware.programming import Programmed
from nvmc.rng import Draw

LAWS = """
from typing import Any, ClassVar, Literal

import numpy as np

from nvmc.hardware.devices import Device, NoiseSource, parse_noise


def shifted(levels, cells, draws, *, by=0.5, spread=0.0):
    return levels + np.float32(by) + np.float32(spread) * draws.normal(levels.shape)


def loose(levels, cells, draws, *, sigma=None):
    return levels + np.float32(sigma) * draws.normal(levels.shape)


class Halved(NoiseSource, frozen=True):
    stage: ClassVar[Any] = "weight"
    type: Literal["halved"] = "halved"
    factor: float = 0.5

    @property
    def active(self):
        return self.factor != 1

    def apply(self, weights, cells, draws):
        return weights * np.float32(self.factor)


class Noisy(NoiseSource, frozen=True):
    stage: ClassVar[Any] = "read"
    spreads: float = 0.25
    active = property(lambda self: True)

    def spread(self, levels, cells):
        return 0 * levels + np.float32(self.spreads)


def cell():
    noise = parse_noise("stuck-at:p_low=1.0")
    return Device(name="cell", title="t", source="mine", levels=4, noise=(noise,))


CELL = cell()
def wide(levels, cells, draws): return levels.astype(np.float64)
def short(levels, cells, draws): return levels[..., :1]
def endless(levels, cells, draws): return levels / 0
def textual(levels, cells, draws): return "no"
def failing(levels, cells, draws): return levels + undefined
def writing(levels, cells, draws): levels += 1; return levels
def aiming(levels, cells, draws): cells.targets[...] = 0; return levels
def same(levels, cells, draws): return levels
def two(levels, cells): return levels
def needing(levels, cells, draws, *, what): return levels
class Bits(NoiseSource, frozen=True):
    stage: ClassVar[Any] = "code"
class Idle(NoiseSource, frozen=True):
    stage: ClassVar[Any] = "cell"
NUMBER = 3
"""
_NUMBERS = itertools.count()


@pytest.fixture
def laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current directory, under a name that nobody has imported."""
    monkeypatch.chdir(tmp_path)
    name = f"laws_of_my_own_{next(_NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(LAWS)
    return name


def programmed(
    noise: NoiseSource | None, strength: float | None = None, **options: Any
) -> Programmed:
    head = {"name": "d", "title": "t", "source": "s", "levels": 4}
    device = Device.model_validate(head).with_noise([noise] if noise else [])
    target = Target.of(device, weight_bits=2)
    held = Array("w", np.full((40, 50), 2, np.int8), np.ones((), np.float32), target)
    return Chip.of(target, 3, 1, strength).program(held)


def test_a_function_acts_on_cells(laws: str) -> None:
    assert np.all(programmed(parse_noise(f"{laws}:shifted,by=0.25")).levels == 2.25)
    assert np.all(programmed(parse_noise(f"{laws}:shifted")).levels == 2.5)


def test_it_draws_from_a_stream_of_its_own(laws: str) -> None:
    found = programmed(parse_noise(f"{laws}:shifted,by=0,spread=0.1")).levels
    normals = Draw(3, 1, "w", "own").normal((1, 40, 50))
    np.testing.assert_array_equal(found, 2 + np.float32(0.1) * normals)


def test_an_open_sigma_is_the_device_s(laws: str) -> None:
    noise = parse_noise(f"{laws}:loose")
    assert noise.with_sigma(0.25).keys == {"sigma": 0.25}  # type: ignore[attr-defined]
    target = Target.of(load_device(f"{laws}:loose"))
    held = Array("w", np.ones((40, 50), np.float32), np.ones((), np.float32), target)
    found, none = (Chip.of(target, 3, 1, sigma).program(held).levels for sigma in (0.25, 0.0))
    assert found.std() == pytest.approx(0.25, rel=0.1) and np.all(none == 1)
    with pytest.raises(OptionError, match="states no strength and device 'd' has no sigma"):
        programmed(noise)


def test_a_class_acts_where_it_says(laws: str) -> None:
    assert np.all(programmed(parse_noise(f"{laws}:Halved")).weights == 1)
    assert np.all(programmed(parse_noise(f"{laws}:Halved,factor=0.25")).weights == 0.5)
    assert not parse_noise(f"{laws}:Halved,factor=1.0").active
    noisy = Target.of(load_device("rram4").with_noise([parse_noise(f"{laws}:Noisy,spreads=0.5")]))
    chip = Chip.of(noisy, 0, 0)
    held = Array("w", np.full((4, 5), 2, np.int8), np.ones((), np.float32), noisy)
    assert chip.needs_circuit and np.all(chip.read_spread(held, held.cells.targets) == 0.5)


def test_devices(laws: str) -> None:
    for name in ("cell", "CELL"):
        assert load_device(f"{laws}:{name}").name == "cell"
    own = load_device(f"{laws}:Halved")
    assert (own.name, own.levels, own.sigma) == ("Halved", "continuous", None)
    assert own.noise[0].law == f"{laws}:Halved" and own.noise[0].sha256 in own.source  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match="give --sigma"):
        load_device(f"{laws}:loose").sources()
    assert load_device(f"{laws}:loose").sources(0.1)[0].active


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no_such_module_of_mine:law", "there is no module 'no_such_module_of_mine' in"),
        ("{}:shiftd", "did you mean 'shifted'"),
        ("{}:NUMBER", "is int; expected a function"),
        ("{}:CELL", "is Device; expected a function"),
        ("{}:two", "takes 2 arguments; expected levels, cells and draws"),
        ("{}:needing", "option 'what' is missing"),
        ("{}:shifted,bye=1", "did you mean 'by'"),
        ("{}:Halved,factr=1", "did you mean 'factor'"),
        ("{}:Halved,factor=a", "factor"),
        ("{}:Bits", "acts on 'code'"),
        ("{}:Idle", "with a method apply"),
        ("{}:shifted,by", "is not KEY=VALUE"),
        ("math:cos", "is no Python file"),
        ("own:law=a", "write a law of your own as MODULE:NAME"),
        ("bitflp:p=0.1", "did you mean 'bitflip'"),
    ],
)
def test_what_is_wrong_is_one_line(laws: str, text: str, problem: str) -> None:
    with pytest.raises(NvmcError, match=problem) as caught:
        parse_noise(text.format(laws))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("wide", "the type float64; expected float32"),
        ("short", r"the shape \(1, 40, 1\); expected \(1, 40, 50\)"),
        ("endless", "not finite"),
        ("textual", "gives a str; expected ndarray"),
        ("failing", "failed: NameError"),
        ("writing", "failed: ValueError"),
        ("aiming", "failed: ValueError"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_a_law_gives_is_checked(laws: str, name: str, problem: str) -> None:
    with pytest.raises(OptionError, match=problem) as caught:
        programmed(parse_noise(f"{laws}:{name}"))
    assert f"{laws}:{name}" in str(caught.value) and "\n" not in str(caught.value)
    assert np.all(programmed(None).levels == 2)


def test_a_law_that_changes_nothing_gives_the_ideal_chip(laws: str) -> None:
    assert np.all(programmed(parse_noise(f"{laws}:same")).weights == 2)


@pytest.mark.parametrize("content", ["raise SystemExit(3)", "import no_such_thing", "def f(:"])
def test_a_module_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"broken_laws_{next(_NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(content)
    with pytest.raises(OptionError, match=f"importing '{name}' failed"):
        parse_noise(f"{name}:law")
    assert str(tmp_path) not in sys.path


def test_results_do_not_mix(laws: str, tmp_path: Path) -> None:
    """Another option, another text of the file: another key."""
    target = Target.of(load_device("rram4"))

    def key(text: str) -> Any:
        return Setup.of(target, noise=[text]).identity(0)

    copy = f"{laws}_copy"
    (tmp_path / f"{copy}.py").write_text(LAWS + "\n# a remark\n")
    first, again = key(f"{laws}:shifted"), key(f"{laws}:shifted,by=0.5")
    assert first == again != key(f"{laws}:shifted,by=0.25")
    one, other = (parse_noise(f"{name}:shifted").sha256 for name in (laws, copy))  # type: ignore[attr-defined]
    assert one != other
    (tmp_path / f"{laws}.py").write_text(LAWS + "\n# another\n")
    with pytest.raises(OptionError, match="has changed since it was imported"):
        key(f"{laws}:shifted")


def test_a_file_that_names_a_law_runs_nothing(laws: str) -> None:
    """What `nvmc compile` wrote is read, and says what to do when a chip is made of it."""
    device = load_device(f"{laws}:shifted")
    written = Target.of(device).model_dump_json()
    del sys.modules[laws]
    read = Target.model_validate_json(written)
    assert laws not in sys.modules
    with pytest.raises(OptionError, match="name it again, with device=MODULE:NAME"):
        Chip.of(read, 0, 0)
    assert laws not in sys.modules
    named = read.on(load_device(f"{laws}:shifted"))
    assert Chip.of(named, 0, 0).sources == Chip.of(Target.of(device), 0, 0).sources


def test_another_process_imports_it_by_name(laws: str, tmp_path: Path) -> None:
    noise = parse_noise(f"{laws}:shifted,by=0.25")
    sent = pickle.dumps(noise)
    del sys.modules[laws]
    there = pickle.loads(sent)
    assert there == there.with_sigma(1.0) and np.all(programmed(there).levels == 2.25)
    del sys.modules[laws]
    (tmp_path / f"{laws}.py").write_text(LAWS.replace("0.5", "0.75"))
    lost = pickle.loads(pickle.dumps(pickle.loads(sent)))
    with pytest.raises(OptionError, match="another file for a worker than here"):
        programmed(lost)
    (tmp_path / f"{laws}.py").unlink()
    sys.modules.pop(laws, None)
    passed_on = pickle.dumps(pickle.loads(sent))  # by a scheduler that does not have it
    with pytest.raises(OptionError, match="a worker does not have a law of your own: .* no module"):
        programmed(pickle.loads(passed_on))
    (tmp_path / f"{laws}.py").write_text(LAWS)
    assert np.all(programmed(pickle.loads(passed_on)).levels == 2.25)


def test_the_same_law_serves_torch(laws: str) -> None:
    torch = pytest.importorskip("torch")
    held = Array(
        "w", np.full((4, 5), 2, np.int8), np.ones(()), Target.of(load_device("rram4"))
    ).cells
    law: Callable[..., Any] = parse_noise(f"{laws}:Halved").apply  # type: ignore[attr-defined]
    weights = torch.ones(4, 5)
    of = replace(held, targets=torch.from_numpy(held.targets))
    assert torch.equal(law(weights, of, None), weights / 2)
    with pytest.raises(OptionError, match="gives a|failed"):
        parse_noise(f"{laws}:wide").apply(weights, of, None)  # type: ignore[attr-defined]
