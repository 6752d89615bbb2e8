"""What a network is said to be worth in training, beside what `nvmc simulate` says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.compiled.options import CompileOptions
from nvmc.compiler import compile_model
from nvmc.errors import OptionError
from nvmc.evaluation.simulation import simulate
from nvmc.hardware.chip import CHOOSING
from nvmc.hardware.devices import Periphery
from nvmc.training import Settings, Task, make_task
from nvmc.training.evaluation import judge, judge_source
from nvmc.training.preparation import canonical_network
from small_training import blobs, small_network, small_target, small_task


@pytest.mark.parametrize("chips", [1, 2, 3, 4])
def test_every_chip_that_is_asked_for_counts(tmp_path: Path, chips: int) -> None:
    """The best of so few chips: one more or one less is another number."""
    source = small_network(tmp_path)
    task = small_task(sigma=1.0, chips=chips, percentile=99.0, seed=5)
    compiled = compile_model(source, task.target, output=tmp_path / "net.nvmc")
    options: dict[str, Any] = {"data": task.validation, "sigma": 1.0, "seed": CHOOSING + 5}
    values = simulate(compiled, runs=4, **options).values
    assert len(set(values)) == 4
    found = judge(canonical_network(source), task)
    assert found.kpp == max(values[:chips])


PERIPHERIES = {
    "ideal": Periphery(),
    "adc": Periphery(adc_bits=6, adc_range="calibrated"),
    "both": Periphery(dac_bits=6, dac_range="calibrated", adc_bits=6, adc_range="calibrated"),
}


def rounded_task(folder: Path, periphery: Periphery, bits: int | None) -> Task:
    """600 images in a file, more than calibrate converters; a tenth of them is held out."""
    data = blobs(600, 1)
    np.savez(folder / "blobs.npz", x=data.x, y=data.y)
    target = small_target().model_copy(update={"periphery": periphery})
    options = CompileOptions(activation_bits=bits)
    settings = Settings(chips=3, percentile=50.0, seed=2)
    return make_task(
        str(folder / "blobs.npz"), target, sigma=0.5, settings=settings, options=options
    )


@pytest.mark.parametrize("periphery", PERIPHERIES)
def test_before_is_what_compile_builds_and_simulate_measures(
    tmp_path: Path, periphery: str
) -> None:
    source, data = small_network(tmp_path), str(tmp_path / "blobs.npz")
    task = rounded_task(tmp_path, PERIPHERIES[periphery], 4)
    assert len(task.train.x) == 540
    before = judge_source(canonical_network(source), task)
    compiled = compile_model(
        source, task.target, task.options, output=tmp_path / "net.nvmc", data=data
    )
    measured = simulate(
        compiled, runs=3, percentile=50.0, data=task.validation, sigma=0.5, seed=CHOOSING + 2
    )
    assert (before.ideal, before.kpp) == (measured.ideal, measured.kpp.value)
    assert before.calibration == compiled.manifest.calibration
    found = compiled.manifest.calibration
    assert found is not None and found.data == data
    converters = 0 if periphery == "ideal" else 512
    assert (found.activation_images, found.converter_images) == (600, converters)


def test_a_finished_network_calibrates_its_converters_anew(tmp_path: Path) -> None:
    """Its activations come rounded, or exact; the ADC's range is that of its own currents."""
    source, data = small_network(tmp_path), str(tmp_path / "blobs.npz")
    task = rounded_task(tmp_path, PERIPHERIES["adc"], None)
    after = judge(canonical_network(source), task)
    compiled = compile_model(source, task.target, output=tmp_path / "net.nvmc", data=data)
    measured = simulate(
        compiled, runs=3, percentile=50.0, data=task.validation, sigma=0.5, seed=CHOOSING + 2
    )
    assert (after.ideal, after.kpp) == (measured.ideal, measured.kpp.value)


def test_training_refuses_options_that_hold_for_compiling_only(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", x=blobs(20, 1).x, y=blobs(20, 1).y)
    for options in (
        CompileOptions(store=("bias",)),
        CompileOptions(fold_batchnorm=True),
        CompileOptions(passes=("insert-dropout",)),
    ):
        with pytest.raises(
            OptionError, match="training takes skip, activation_bits, shape, inputs of"
        ):
            make_task(str(tmp_path / "b.npz"), small_target(), options=options)


@pytest.mark.parametrize(
    ("limit", "settings", "judged"),
    [
        (None, {}, 1000),  # 3 x 900 x 5 / 300 = 45, of which 1,000 are the fewest
        (None, {"chips": 5}, 2700),
        (None, {"chips": 5, "every": 0, "epochs": 2}, 1080),
        (None, {"chips": 5, "every": 10}, 3000),
        (0, {}, 3000),
        (7, {}, 7),
        (5000, {}, 3000),
    ],
)
def test_judging_takes_no_more_passes_than_training(
    limit: int | None, settings: dict[str, Any], judged: int
) -> None:
    def task() -> Task:
        return make_task(
            blobs(900, 1),
            small_target(),
            validation=blobs(3000, 2),
            validation_limit=limit,
            settings=Settings(**settings),
        )

    found, whole = task(), blobs(3000, 2)
    assert (len(found.validation.x), found.held_out) == (judged, 3000)
    assert found.validation.sha256 == task().validation.sha256
    rows = {row.tobytes() for row in whole.x}
    assert len({row.tobytes() for row in found.validation.x} & rows) == judged


def test_a_limit_that_is_none() -> None:
    with pytest.raises(OptionError, match="validation-limit is -1; expected at least 1, or 0"):
        make_task(blobs(90, 1), small_target(), validation_limit=-1)
