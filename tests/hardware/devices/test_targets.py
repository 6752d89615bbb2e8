"""Target files: what they may say, what they come to, and what is wrong with one in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nvmc.errors import DeviceError, OptionError
from nvmc.hardware.devices import (
    LayerTarget,
    Periphery,
    Settings,
    Target,
    WireOhm,
    as_target,
    device_names,
    load_device,
    read_target,
    target_names,
)
from nvmc.hardware.devices.settings import own_texts

BITS = "device = 'rram4'\nweight_bits = 6\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_every_setting_of_a_target_may_be_a_layers_own() -> None:
    """A new field of Target or Periphery is one of Settings, too."""
    cells = Target.model_fields.keys() - {"device", "periphery", "layers"}
    around = Periphery.model_fields.keys() - {"ranges"}
    assert set(Settings.model_fields) == cells | around
    assert not cells & around


@pytest.mark.parametrize("name", target_names())
def test_those_that_come_with_nvmc_say_where_they_are_from(name: str) -> None:
    file, target = read_target(name), Target.load(name)
    assert file.title and file.source and file.left_out
    assert as_target(name) == target and target.layers == ()
    assert name not in device_names()


def test_what_they_hold() -> None:
    """Numbers of the papers: cells of a weight, tile, converters."""
    found = {
        name: (t.layout.planes, t.layout.code_bits, t.rows, t.cols, p.dac_bits, p.adc_bits)
        for name in target_names()
        for t in [Target.load(name)]
        for p in [t.periphery]
    }
    assert found["isaac"] == (8, 16, 128, 128, 15, 9)
    assert found["prime"] == (4, 8, 256, 256, 6, 6)  # 2 cells of 2 polarities
    assert found["sonos"] == (2, 7, 1152, 256, 7, 8)
    assert Target.load("hermes").weight_bits is None is Target.load("neurram").weight_bits


def test_isaac_reads_its_columns_exactly() -> None:
    """128 rows of 2-bit cells, one bit of an input each: 384 is the largest current."""
    from nvmc.runtime.crossbar.adc import adc_of
    from nvmc.runtime.crossbar.dac import Dac

    target = Target.load("isaac")
    dac = Dac(target.periphery)
    adc = adc_of(target, 128, dac, False, None)
    assert adc.step == 1 and adc.high >= 128 * 3
    fewer = Target.load("isaac", Settings(adc_bits=8))
    assert adc_of(fewer, 128, dac, False, None).step > 1


@pytest.mark.parametrize(
    ("wires", "told"),
    [
        ('"x"', "wire_ohm: expected ohm of a segment along rows and along columns, as in { row"),
        ("[1, 2]", "wire_ohm: expected ohm of a segment along rows and along columns, as in { row"),
        ("{ row = 1, column = 2 }", "key 'column' is unknown; expected one of row, col, driver"),
        ("{ row = 1 }", "wire_ohm: col is missing; expected ohm of a segment"),
    ],
)
def test_wires_that_are_none_are_told_in_words(wires: str, told: str, tmp_path: Path) -> None:
    path = written(tmp_path, f'device = "pcm-joshi2020"\nwire_ohm = {wires}\n')
    with pytest.raises(DeviceError) as caught:
        Target.load(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wires_are_stated_by_layers_and_in_short(tmp_path: Path) -> None:
    """Layers in other metals, and terminals of their own."""
    path = written(
        tmp_path,
        """device = "pcm-joshi2020"
        wire_ohm = 1.5
        [[layers]]
        match = "fc*"
        wire_ohm = { row = 1, col = 2, driver = 50, sense = 20 }
        """,
    )
    target = Target.load(path)
    assert target.periphery.wire_ohm == WireOhm(row=1.5, col=1.5)
    own = target.of_layer("fc1", "w").periphery.wire_ohm
    assert own == WireOhm(row=1.0, col=2.0, driver=50.0, sense=20.0)
    assert own_texts(target.layers)[0].endswith("wire_ohm 1,2,50,20")


def test_a_file_says_all_that_options_do(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """device = "fefet2"
        weight_bits = 6
        cell_bits = 1
        encoding = "offset"
        per_channel = true
        rows = 64
        cols = 32
        dac_bits = 5
        dac_mode = "bit-serial"
        dac_range = "calibrated"
        signed_inputs = "offset"
        adc_bits = 7
        adc_range = 30
        subtract = "digital"
        wire_ohm = { row = 1, col = 2.5 }
        """,
    )
    around: dict[str, Any] = {
        "dac_bits": 5,
        "dac_mode": "bit-serial",
        "dac_range": "calibrated",
        "signed_inputs": "offset",
        "adc_bits": 7,
        "adc_range": 30.0,
        "subtract": "digital",
        "wire_ohm": {"row": 1.0, "col": 2.5},
    }
    expected = Target.of(
        "fefet2",
        weight_bits=6,
        cell_bits=1,
        encoding="offset",
        per_channel=True,
        rows=64,
        cols=32,
        periphery=Periphery.model_validate(around),
    )
    assert Target.load(path) == expected == as_target(str(path))
    assert read_target(path).name == "mine"
    assert as_target("fefet2") == Target.of("fefet2")


def test_layers_have_what_they_state_and_the_rest_of_all(tmp_path: Path) -> None:
    layers = """adc_bits = 8
    [[layers]]
    match = "conv1"
    [[layers]]
    match = "conv*"
    device = "fefet1"
    adc_bits = "none"
    rows = 32
    """
    target = Target.load(written(tmp_path, BITS + layers))
    one, two, rest = (target.of_layer(n, "w") for n in ("conv1", "conv2", "fc"))
    assert one == rest == target.of_layer("x", "y")  # the first that matches counts, alone
    assert (two.device.name, two.rows, two.cols, two.periphery.adc_bits) == (
        "fefet1",
        32,
        128,
        None,
    )
    assert (two.weight_bits, rest.device.name, rest.periphery.adc_bits) == (6, "rram4", 8)
    assert target.of_layer("", "conv9").device.name == "fefet1"  # names of weights, too


def test_a_device_brings_its_defaults_where_nothing_is_stated(tmp_path: Path) -> None:
    own = "[[layers]]\nmatch = 'a'\ndevice = 'pcm-joshi2020'\n"
    a = Target.load(written(tmp_path, "device = 'rram4'\n" + own)).of_layer("a", "")
    assert (a.weight_bits, a.encoding) == (None, "differential")
    a = Target.load(written(tmp_path, BITS + "encoding = 'offset'\n" + own)).of_layer("a", "")
    assert (a.weight_bits, a.cell_bits, a.encoding) == (6, 6, "offset")
    bits = LayerTarget(glob="a", weight_bits=3)
    assert Target.of("rram4", weight_bits=8, layers=[bits]).of_layer("a", "").cell_bits == 2
    alike = Target.of("rram4", weight_bits=8, bits={"a": 3})
    assert alike == Target.of("rram4", weight_bits=8, layers=[bits])


def test_files_of_devices_lie_beside_the_targets(tmp_path: Path) -> None:
    (tmp_path / "cell.toml").write_text(
        'name = "cell"\ntitle = "one of mine"\nsource = "measured"\nlevels = 8\n'
        "[defaults]\nweight_bits = 6\n"
    )
    text = "device = 'cell.toml'\n[[layers]]\nmatch = 'a'\ndevice = './cell.toml'\nrows = 8\n"
    target = Target.load(written(tmp_path, text))
    assert target.device.name == "cell" and target.cell_bits == 3
    assert target.layers[0].device is None  # that of all


def test_what_is_given_overrides_what_layers_do_not_state(tmp_path: Path) -> None:
    layers = (
        "adc_bits = 8\n[[layers]]\nmatch = 'a'\nadc_bits = 4\n[[layers]]\nmatch = 'b'\nrows = 8\n"
    )
    path = written(tmp_path, BITS + layers)
    stated = Settings(adc_bits=6, weight_bits=3, rows=32)
    target = Target.load(path, stated, device="fefet2")
    found = {
        n: (t.periphery.adc_bits, t.weight_bits, t.rows, t.device.name)
        for n in "abc"
        for t in [target.of_layer(n, "")]
    }
    assert found == {
        "a": (4, 3, 32, "fefet2"),
        "b": (6, 3, 8, "fefet2"),
        "c": (6, 3, 32, "fefet2"),
    }
    with pytest.raises(OptionError, match=r"bits and the target's \[\[layers\]\] \('a', 'b'\)"):
        Target.load(path, bits={"a": 2})
    alone = written(tmp_path, BITS)
    assert Target.load(alone, bits={"a": 2}) == Target.of("rram4", weight_bits=6, bits={"a": 2})


LAYER = "[[layers]]\nmatch = 'conv*'\n"


def test_one_cell_of_an_offset_array_is_asked_for(tmp_path: Path) -> None:
    """By cell_bits of the target or of layers; a default never is more than the weight bits."""
    one = "device = 'ideal'\nencoding = 'offset'\nweight_bits = 3\n"
    assert Target.load(written(tmp_path, one)).layout.planes == 2
    assert Target.load(written(tmp_path, one + "cell_bits = 4")).layout.planes == 1
    layers = Target.load(written(tmp_path, one + LAYER + "cell_bits = 4"))
    assert layers.layout.planes == 2 and layers.of_layer("conv1", "w").layout.planes == 1
    pairs = one + LAYER + "encoding = 'balanced'\ncell_bits = 4"
    with pytest.raises(OptionError, match="cell_bits is 4; expected 1 to 3"):
        Target.load(written(tmp_path, pairs))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "target file .*mine.toml': device: is missing"),
        ("device = ", "is not TOML"),
        (BITS + "adc_bit = 4", "key 'adc_bit' is unknown.*did you mean 'adc_bits'"),
        (BITS + LAYER + "adcbits = 4", r"layers.0: key 'adcbits' is unknown.*'adc_bits'"),
        (BITS + "[[layers]]\nadc_bits = 4", "layers.0.match: is missing"),
        (BITS + "[[layers]]\nmatch = ''", "layers.0.match"),
        (BITS + "adc_bits = 17", "adc_bits"),
        (BITS + "dac_mode = 'serial'", "dac_mode"),
        (BITS + "dac_mode = 'bit-serial'", "bit-serial inputs need dac_bits"),
        (BITS + LAYER + "dac_mode = 'bit-serial'", r"layers 'conv\*': bit-serial inputs need"),
        (BITS + LAYER + "cell_bits = 3", r"layers 'conv\*': cell bits are 3, but a cell"),
        (BITS + LAYER + "weight_bits = 1\ncell_bits = 2", r"layers 'conv\*': cell_bits is 2; exp"),
        (BITS + "cell_bits = 2\n" + LAYER + "device = 'bitflip'", r"layers 'conv\*': cell bits"),
        (BITS + LAYER + "weight_bits = 'none'\ncell_bits = 2", r"'conv\*': the weights are analog"),
        (BITS + LAYER + "device = 'rram5'", "device 'rram5' is unknown"),
        ("device = 'rram-milo2021'\n" + LAYER + "device = 'bitflip'\nweight_bits = 'none'",
         r"layers 'conv\*': noise source 'bitflip' acts on stored bits"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((DeviceError, OptionError), match=message) as caught:
        Target.load(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="target 'isac' is unknown.*did you mean 'isaac'"):
        Target.load("isac")
    with pytest.raises(DeviceError, match="cannot read target file .*no.toml"):
        Target.load(tmp_path / "no.toml")
    with pytest.raises(OptionError, match="bits and layers are both given"):
        Target.of("rram4", bits={"a": 1}, layers=[LayerTarget(glob="b", rows=4)])
    with pytest.raises(OptionError, match="LayerTarget: key 'adc_bit' is unknown"):
        LayerTarget(glob="a", adc_bit=3)  # pyright: ignore[reportCallIssue]


def test_wires_need_the_conductance_of_each_device() -> None:
    wires = {"row": 1.0, "col": 1.0}
    own = LayerTarget.model_validate({"glob": "a", "wire_ohm": wires})
    with pytest.raises(OptionError, match="device 'rram4' states no conductance"):
        Target.of("rram4", layers=[own]).check_reading()
    Target.of("fefet2", layers=[own]).check_reading()
    held = Target.of("rram4", layers=[own.model_copy(update={"device": load_device("fefet2")})])
    held.check_reading()
