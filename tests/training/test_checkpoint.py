"""What a checkpoint carries over a kill: the counting of early stopping, and whose run it is."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from nvmc.errors import OptionError, TrainingError
from nvmc.training import Epoch, Outcome, train
from nvmc.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nvmc.training.method import Method
from nvmc.training.outcome import Judged
from nvmc.training.run import Run
from small_training import small_network, small_task


class Scripted(Method):
    """Makes no step; its KPPs are written down."""

    kind: ClassVar[str] = "scripted"
    title: ClassVar[str] = "a test"
    kpps: tuple[float, ...]

    def epoch(self, run: Run, epoch: int) -> float:
        run.replicas[0].version += 1
        judged = Judged(self.kpps[epoch], self.kpps[epoch])
        run.judged = lambda _: judged  # type: ignore[method-assign]
        return 0.0

    def steps_taken(self, run: Run, done: int) -> tuple[int, ...]:
        return (0,)


class Sparing(Method):
    """Steps once an epoch, and does not say so."""

    kind: ClassVar[str] = "sparing"
    title: ClassVar[str] = "a test"

    def epoch(self, run: Run, epoch: int) -> float:
        x, y = next(run.batches(epoch))
        return float(self.step(run, run.replicas[0], x, y, run.generator("noise", epoch)))


def test_no_checkpoint_is_written_that_no_run_could_go_on_from(tmp_path: Path) -> None:
    said = r"'sparing' took \[1\] steps in 1 epochs, but its steps_taken says \[3\]"
    with pytest.raises(TrainingError, match=said):
        train(
            small_network(tmp_path),
            small_task(),
            Sparing(),
            output=tmp_path / "out.onnx",
            checkpoint=tmp_path / "c",
        )
    assert not (tmp_path / "c").exists()


def trained(folder: Path, kpps: tuple[float, ...], patience: int, **options: Any) -> Outcome:
    task = small_task(epochs=len(kpps), every=1, patience=patience)
    source, output = small_network(folder), folder / "out.onnx"
    return train(source, task, Scripted(kpps=kpps), output=output, **options)


@pytest.mark.parametrize(
    ("kpps", "patience", "ran", "kept"),
    [
        ((0.5, 0.5, 0.6), 1, 2, 2),  # as good is not better
        ((0.6, 0.5, 0.5, 0.5), 2, 3, 1),
        ((0.6, 0.5, 0.7, 0.6, 0.5, 0.8), 2, 5, 3),
    ],
)
def test_a_kill_resets_no_patience(
    tmp_path: Path, kpps: tuple[float, ...], patience: int, ran: int, kept: int
) -> None:
    """Killed after every epoch, the one that stops training included."""
    checkpoint = tmp_path / "checkpoint"

    def kill(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    for count in range(ran):
        with pytest.raises(KeyboardInterrupt):
            options: dict[str, Any] = {"checkpoint": checkpoint, "resume": count > 0}
            trained(tmp_path, kpps, patience, on_epoch=kill, **options)
    parts = trained(tmp_path, kpps, patience, checkpoint=checkpoint, resume=True)
    whole = trained(tmp_path, kpps, patience)
    assert (len(whole.epochs), whole.kept, whole.stopped) == (ran, kept, True)
    assert (len(parts.epochs), parts.kept, parts.stopped) == (ran, kept, True)
    assert parts.resumed == ran


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        ({"sigma": "0.1"}, {"sigma": "0.2"}, "sigma"),
        ({"sigma": "0.1"}, {"sigma": "0.1", "decay": "0"}, "decay"),
        ({"sigma": "0.1", "decay": "0"}, {"sigma": "0.1"}, "decay"),
    ],
)
def test_another_run_is_told_by_whatever_differs(
    tmp_path: Path, one: dict[str, str], other: dict[str, str], key: str
) -> None:
    path = tmp_path / "checkpoint"
    save_checkpoint(path, one, Checkpoint("{}", {}))
    assert load_checkpoint(path, one, 1 << 20, 0).state == "{}"
    with pytest.raises(OptionError, match=f"another run: {key} is"):
        load_checkpoint(path, other, 1 << 20, 0)


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    path, weights = tmp_path / "checkpoint", torch.arange(500.0)
    save_checkpoint(path, {"seed": "0"}, Checkpoint('{"kept": 3}', {"weights": weights}))

    def found() -> Checkpoint:
        return load_checkpoint(path, {"seed": "0"}, 1 << 20, weights.nbytes)

    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(OptionError, match="or is damaged"):
            found()
    for length in (1, 7, 10, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(OptionError, match="or is damaged"):
            found()
    path.write_bytes(whole)
    assert torch.equal(found().tensors["weights"], weights) and found().state == '{"kept": 3}'


def test_a_resumed_run_has_the_threads_it_began_with(tmp_path: Path) -> None:
    """More of them split torch's sums another way: the rest of the run would round differently."""
    seen: list[int] = []

    def kill(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    before, options = torch.get_num_threads(), {"checkpoint": tmp_path / "checkpoint"}
    try:
        torch.set_num_threads(3)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, (0.5, 0.6), 0, on_epoch=kill, **options)
        torch.set_num_threads(1)
        resumed: dict[str, Any] = {"resume": True, **options}
        trained(
            tmp_path,
            (0.5, 0.6),
            0,
            on_epoch=lambda _: seen.append(torch.get_num_threads()),
            **resumed,
        )
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert seen == [3]
