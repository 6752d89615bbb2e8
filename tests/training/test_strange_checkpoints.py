"""Checkpoints that somebody made up: one line each, and nothing of them in the run."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from nvmc.errors import OptionError
from nvmc.training import Epoch, make_method, train
from nvmc.training.checkpoint import Checkpoint, save_checkpoint
from nvmc.training.optimizers import pace_after
from small_training import small_network, small_run, small_task

pytestmark = pytest.mark.usefixtures("judged_once")

STATE = dict[str, Any]
TENSORS = dict[str, Tensor]
METHODS: dict[str, dict[str, object]] = {
    "erm": {},
    "trice": {"warm": 1},
    "bayesft": {"interval": 1, "initial": 1, "samples": 2},
    "correctnet": {},
    "neft": {"variant": "irs", "hidden": 5},
    "bayes-noise": {"interval": 2, "initial": 1, "samples": 2, "carry": False},
}


def run(folder: Path, kind: str = "erm", stop: int | None = None, **settings: Any) -> bytes:
    """A run, from its checkpoint where there is one; with `stop`, killed after that epoch."""

    def kill(epoch: Epoch) -> None:
        if epoch.epoch == stop:
            raise KeyboardInterrupt

    checkpoint = folder / "c"
    train(
        small_network(folder),
        small_task(every=1, chips=4, **settings),
        make_method(kind, METHODS.get(kind, {})),
        output=folder / "out.onnx",
        checkpoint=checkpoint,
        resume=checkpoint.exists(),
        on_epoch=kill,
    )
    return (folder / "out.onnx").read_bytes()


def begun(folder: Path, kind: str = "erm", **settings: Any) -> Path:
    """The checkpoint of a run that was killed after two of four epochs."""
    with pytest.raises(KeyboardInterrupt):
        run(folder, kind, 2, **settings)
    return folder / "c"


def texts_of(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def change(path: Path, how: Callable[[STATE, TENSORS], None]) -> None:
    """Write the file anew, with a digest that fits."""
    content = path.read_bytes()
    texts, tensors = texts_of(content), load(content)
    state = json.loads(texts["state"])
    how(state, tensors)
    save_checkpoint(path, json.loads(texts["identity"]), Checkpoint(json.dumps(state), tensors))


MOMENT = "replicas.0.optimizer.0.exp_avg"
BREAKING = """
import sys, torch
sys.path.insert(0, "tests")
from pathlib import Path
from training.test_strange_checkpoints import MOMENT, change, run
folder = Path(sys.argv[1])
change(folder / "c", lambda state, tensors: tensors.update({MOMENT: torch.zeros(1)}))
try:
    run(folder)
except Exception as error:
    print(error)
"""


@pytest.mark.slow
def test_a_short_moment_ends_no_process(tmp_path: Path) -> None:
    """Fused Adam wrote behind it: abort or segmentation fault in 4 of 4 runs."""
    begun(tmp_path)
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", BREAKING, str(tmp_path)]
    ended = subprocess.run(words, capture_output=True, text=True, cwd=root)
    assert ended.returncode == 0, (ended.returncode, ended.stderr[-2000:])
    assert ended.stdout == (
        f"{str(tmp_path / 'c')!r} does not fit this run: tensor '{MOMENT}' is float32 [1]; "
        "expected float32 [8, 12]; remove it and start anew\n"
    )


def tensor(name: str, value: Callable[[Tensor], Tensor | None]) -> Callable[[STATE, TENSORS], None]:
    def how(_: STATE, tensors: TENSORS) -> None:
        new = value(tensors.pop(name))
        if new is not None:
            tensors[name] = new

    return how


def state(*keys: str | int, to: Any) -> Callable[[STATE, TENSORS], None]:
    def how(state: STATE, _: TENSORS) -> None:
        at: Any = state
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = to

    return how


def set_to(value: float) -> Callable[[Tensor], Tensor]:
    return lambda old: torch.full_like(old, value)


WEIGHT = "replicas.0.graph.weight:w1"
CASES: dict[str, tuple[str, Callable[[STATE, TENSORS], None], str]] = {
    "shape": ("erm", tensor(WEIGHT, lambda t: t.T.contiguous()), r"float32 \[12, 8\]; expected"),
    "scalar": ("erm", tensor(WEIGHT, lambda t: t[0, 0].clone()), r"float32 \[\]; expected"),
    "empty": ("erm", tensor(WEIGHT, lambda t: t[:0].clone()), r"float32 \[0, 12\]; expected"),
    "type": ("erm", tensor(WEIGHT, lambda t: t.double()), r"float64 \[8, 12\]; expected float32"),
    "integers": ("erm", tensor(WEIGHT, lambda t: t.int()), r"int32 \[8, 12\]; expected float32"),
    "nan": ("erm", tensor(WEIGHT, set_to(float("nan"))), "values that are not finite"),
    "inf": ("erm", tensor(MOMENT, set_to(float("inf"))), "values that are not finite"),
    "no weight": ("erm", tensor(WEIGHT, lambda t: None), f"'{WEIGHT}' is missing; expected"),
    "no moment": ("erm", tensor(MOMENT, lambda t: None), f"'{MOMENT}' is missing; expected"),
    "no best": ("erm", tensor("best.graph.weight:w1", lambda t: None), "'best.* is missing"),
    "negative square": ("erm", tensor(f"{MOMENT}_sq", set_to(-1)), "from -1 to -1; expected"),
    "negative step": (
        "erm",
        tensor("replicas.0.optimizer.0.step", set_to(-1)),
        "from -1 to -1; expected 6",
    ),
    "late step": ("erm", tensor("replicas.0.optimizer.0.step", set_to(7)), "7 to 7; expected 6"),
    "early step": ("erm", tensor("replicas.0.optimizer.0.step", set_to(0)), "0 to 0; expected 6"),
    "head's early step": ("neft", tensor("method.optimizer.0.step", set_to(5)), "expected 6"),
    "another network's early step": (
        "trice",
        tensor("replicas.2.optimizer.0.step", set_to(3)),
        "'replicas.2.optimizer.0.step' has values from 3 to 3; expected 6",
    ),
    "one more": ("erm", lambda s, t: t.update(x=torch.zeros(1)), "'x' is unknown; expected only"),
    "another replica": (
        "erm",
        lambda s, t: t.update({WEIGHT.replace("0", "1", 1): t[WEIGHT].clone()}),
        "is unknown",
    ),
    "far parameter": (
        "erm",
        lambda s, t: t.update({"replicas.0.optimizer.99.step": torch.zeros(())}),
        "is unknown",
    ),
    "no epochs": ("erm", state("epochs", to=[]), "epochs: .*at least 1 item"),
    "epochs of text": ("erm", state("epochs", to="two"), "epochs: "),
    "many epochs": (
        "erm",
        lambda s, t: s.update(epochs=[{**s["epochs"][0], "epoch": i + 1} for i in range(5)]),
        "it has 5 epochs; expected at most 4",
    ),
    "epoch's number": ("erm", state("epochs", 1, "epoch", to=1), "epochs.1.epoch is 1; expected 2"),
    "no loss": ("erm", state("epochs", 0, "loss", to=None), "epochs.0.loss"),
    "endless loss": ("erm", state("epochs", 0, "loss", to=float("inf")), "epochs.0.loss is inf"),
    "no kpp": ("erm", state("epochs", 0, "kpp", to=None), "epochs.0.kpp is None; expected a"),
    "kpp of text": ("erm", state("epochs", 0, "kpp", to="1"), "epochs.0.kpp"),
    "threads": ("erm", state("threads", to=1 << 20), "threads: .*less than or equal to 1024"),
    "no threads": ("erm", state("threads", to=0), "threads: .*greater than or equal to 1"),
    "threads of half": ("erm", state("threads", to=1.5), "threads: "),
    "yes for threads": ("erm", state("threads", to=True), "threads: "),
    "no replicas": ("erm", state("replicas", to=[]), "it has 0 replicas; expected 1"),
    "late": ("erm", state("replicas", 0, "steps", to=7), "replicas.0.steps is 7; expected 6;"),
    "at the start": ("erm", state("replicas", 0, "steps", to=0), "steps is 0; expected 6;"),
    "another network at the start": (
        "trice",
        state("replicas", 1, "steps", to=0),
        "replicas.1.steps is 0; expected 6;",
    ),
    "at the start of a trial": (
        "bayes-noise",
        state("replicas", 0, "steps", to=3),
        "replicas.0.steps is 3; expected 0;",
    ),
    "best trial at the start": (
        "bayes-noise",
        state("replicas", 1, "steps", to=0),
        "replicas.1.steps is 0; expected 6;",
    ),
    "early": ("erm", state("replicas", 0, "steps", to=-1), "replicas.0.steps: "),
    "huge": ("erm", state("replicas", 0, "steps", to=10**400), "replicas.0.steps"),
    "fast": ("erm", state("replicas", 0, "rate", to=0.1), "replicas.0.rate is 0.1; expected 0.00"),
    "no rate": ("erm", state("replicas", 0, "rate", to=0.0), "rate is 0.0; expected 0.00"),
    "a rate of before": ("erm", state("replicas", 0, "rate", to=0.01), "rate is 0.01; expected"),
    "other momentum": ("erm", state("replicas", 0, "momentum", to=0.8), "is 0.8; expected 0.9;"),
    "backwards": ("erm", state("replicas", 0, "rate", to=-0.1), "replicas.0.rate: "),
    "nan rate": ("erm", state("replicas", 0, "rate", to=float("nan")), "replicas.0.rate: "),
    "momentum": ("erm", state("replicas", 0, "momentum", to=1.0), "replicas.0.momentum: "),
    "more": ("erm", state("more", to=1), "key 'more' is unknown"),
    "method of another": ("erm", state("method", "kpps", to=[]), "key 'kpps' is unknown"),
    "no comparison": ("trice", state("method", "kpps", to=[]), "it has 0 comparisons; expected 1"),
    "comparisons": (
        "trice",
        state("method", "kpps", to=[[0.1, 0.2, 0.3]] * 2),
        "it has 2 comparisons; expected 1",
    ),
    "two kpps": ("trice", state("method", "kpps", to=[[0.1, 0.2]]), "method.kpps.0.2: is missing"),
    "trial": ("bayesft", state("method", "trials", to=[]), "it has 0 trials; expected 2"),
    "point": (
        "bayesft",
        state("method", "trials", 0, "point", to=[9.0]),
        "trial at .*; expected a point",
    ),
    "dimensions": ("bayesft", state("method", "trials", 1, "point", to=[]), "trial at "),
    "strength": (
        "bayesft",
        tensor("replicas.1.graph.searched", set_to(2)),
        "'replicas.1.graph.searched' has values from 2 to 2",
    ),
    "best strength": (
        "bayesft",
        tensor("best.graph.searched", set_to(-1)),
        "'best.graph.searched' has values from -1 to -1",
    ),
    "bound": ("correctnet", state("method", "bound", to=0), "method.bound: .*greater than 0"),
    "no bound": ("correctnet", state("method", to={}), "method.bound: is missing"),
    "head": ("neft", tensor("method.heads.0.0", lambda t: t[:1].clone()), "'method.heads.0.0' is"),
    "head's moment": (
        "neft",
        tensor("method.optimizer.0.exp_avg", lambda t: t[:1, :1].clone()),
        r"float32 \[1, 1\]; expected",
    ),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A checkpoint of each method that keeps something."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in METHODS}
    return {kind: begun(folder, kind).read_bytes() for kind, folder in folders.items()}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, checkpoints: dict[str, bytes], case: str
) -> None:
    kind, how, message = CASES[case]
    path = tmp_path / "c"
    path.write_bytes(checkpoints[kind])
    change(path, how)
    before = path.read_bytes()
    with pytest.raises(OptionError, match=message) as found:
        run(tmp_path, kind)
    told = str(found.value)
    assert told.startswith(f"{str(path)!r} does not fit this run: ") and "\n" not in told
    assert told.endswith("; remove it and start anew")
    assert path.read_bytes() == before and not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("kind", METHODS)
def test_written_again_it_fits(tmp_path: Path, checkpoints: dict[str, bytes], kind: str) -> None:
    (tmp_path / "c").write_bytes(checkpoints[kind])
    change(tmp_path / "c", lambda state, tensors: None)
    assert run(tmp_path, kind)


def test_no_state_of_a_parameter_is_as_if_no_gradient_had_reached_it(
    tmp_path: Path, checkpoints: dict[str, bytes]
) -> None:
    (tmp_path / "c").write_bytes(checkpoints["erm"])

    def how(_: STATE, tensors: TENSORS) -> None:
        for name in [name for name in tensors if name.startswith("replicas.0.optimizer.0.")]:
            del tensors[name]

    change(tmp_path / "c", how)
    assert run(tmp_path)


@pytest.mark.parametrize(
    "schedule",
    ["cosine", *(pytest.param(n, marks=pytest.mark.slow) for n in ("one-cycle", "constant"))],
)
@pytest.mark.parametrize(
    ("optimizer", "momentum"), [("adamw", 0.9), ("adam", 0.9), ("sgd", 0.9), ("sgd", 0.0)]
)
def test_every_optimiser_goes_on_with_the_same_bits(
    tmp_path: Path, optimizer: str, momentum: float, schedule: str
) -> None:
    options = {"optimizer": optimizer, "momentum": momentum, "schedule": schedule}
    whole = run(tmp_path, **options)
    begun(tmp_path, **options)
    assert run(tmp_path, **options) == whole


@pytest.mark.parametrize("kind", ["neft", "bayes-noise"])
def test_states_go_on_with_the_same_bits(tmp_path: Path, kind: str) -> None:
    """Heads with an optimiser of their own; trials that start anew, with the schedule."""
    whole = run(tmp_path, kind)
    for stop in (1, 2, 3):
        folder = tmp_path / str(stop)
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt):
            run(folder, kind, stop)
        assert run(folder, kind) == whole


# Methods say how many steps were taken, the schedule what follows from that: each method has one
# schedule that moves, and each schedule networks that trained on and trials that began anew.
@pytest.mark.parametrize(
    ("kind", "options", "settings"),
    [
        ("erm", {}, {"schedule": "one-cycle"}),
        ("erm", {}, {"schedule": "constant"}),
        ("bayes-noise", {"interval": 2, "samples": 1, "carry": False}, {"schedule": "one-cycle"}),
        ("bayes-noise", {"interval": 2, "samples": 1, "carry": False}, {"schedule": "constant"}),
        ("erm", {}, {"optimizer": "sgd", "momentum": 0.7}),
        ("trice", {"warm": 1}, {}),
        ("trice", {"warm": 1, "end": 0.2, "tolerance": 0.15}, {"epochs": 3}),
        ("trice", {"start": 0.2, "end": 0.2}, {"epochs": 2}),
        ("hwa", {}, {}),
        ("a-trice", {"warm": 1}, {"epochs": 2}),
        ("bayesft", {"interval": 2, "samples": 1}, {"epochs": 3}),
        ("bayes-noise", {"interval": 2, "samples": 1, "carry": False}, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_how_far_replicas_are_follows_from_the_epochs(
    tmp_path: Path, kind: str, options: STATE, settings: STATE
) -> None:
    """To the bit, networks that trained on alone and trials of their own among them."""
    method = make_method(kind, options)
    task = small_task(**{"schedule": "cosine", "chips": 4, **settings})
    run = small_run(tmp_path, method, task)
    for done in range(1, task.settings.epochs + 1):
        method.epoch(run, done - 1)
        steps, total = method.steps_taken(run, done), method.steps_of_schedule(run)
        expected = [pace_after(number, task.settings, total) for number in steps]
        assert [replica.pace for replica in run.replicas] == expected


def file_of(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def named(**tensors: Any) -> bytes:
    return json.dumps({"__metadata__": {"format": "nvmc.checkpoint/2"}, **tensors}).encode()


def one(dtype: str, shape: list[int], first: int, last: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


DAMAGED = "is no checkpoint of this nvmc train, or is damaged; remove it and start anew"
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; remove it and start anew"),
    "text": (b"hello", DAMAGED),
    "zeros": (bytes(4096), DAMAGED),
    "zip": (b"PK\x03\x04" + bytes(100), DAMAGED),
    "format 1": (b"nvmc checkpoint 1\n" + bytes(100), "is a checkpoint of an earlier nvmc"),
    "huge header": (file_of(b"{}", length=2**64 - 1), DAMAGED),
    "long header": (file_of(b"{}", length=2**40), DAMAGED),
    "header past the end": (file_of(b"{}", length=3), DAMAGED),
    "no metadata": (file_of(b"{}"), DAMAGED),
    "no object": (file_of(b"[1]"), DAMAGED),
    "no json": (file_of(b"{"), DAMAGED),
    "no utf-8": (file_of(b'{"\xff": 1}'), DAMAGED),
    "nested": (file_of(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), DAMAGED),
    "metadata of numbers": (file_of(b'{"__metadata__": {"format": 1}}'), DAMAGED),
    "many names": (
        file_of(named(**{f"t{i}": one("F32", [0], 0, 0) for i in range(9000)})),
        DAMAGED,
    ),
    "too large": (bytes(4 << 20), "is larger than .* bytes, the most that"),
    "overlap": (
        file_of(named(a=one("F32", [2], 0, 8), b=one("F32", [2], 4, 12)), bytes(12)),
        DAMAGED,
    ),
    "the same bytes": (
        file_of(named(a=one("F32", [2], 0, 8), b=one("F32", [2], 0, 8)), bytes(8)),
        DAMAGED,
    ),
    "hole": (file_of(named(a=one("F32", [1], 4, 8)), bytes(8)), DAMAGED),
    "backwards": (file_of(named(a=one("F32", [1], 8, 4)), bytes(8)), DAMAGED),
    "past the end": (file_of(named(a=one("F32", [2**30], 0, 2**32)), bytes(8)), DAMAGED),
    "shape of more": (file_of(named(a=one("F32", [2**30], 0, 8)), bytes(8)), DAMAGED),
    "shape that overflows": (file_of(named(a=one("F32", [2**62, 8], 0, 8)), bytes(8)), DAMAGED),
    "negative shape": (file_of(named(a=one("F32", [-1, -2], 0, 8)), bytes(8)), DAMAGED),
    "nothing, and huge": (file_of(named(a=one("F32", [0, 2**62], 0, 0))), DAMAGED),
    "many axes": (file_of(named(a=one("F32", [1] * 5000, 0, 4)), bytes(4)), DAMAGED),
    "strange type": (file_of(named(a=one("F7", [2], 0, 8)), bytes(8)), DAMAGED),
    "small type": (file_of(named(a=one("F4", [16], 0, 8)), bytes(8)), DAMAGED),
    "type of torch's own": (file_of(named(a=one("F8_E8M0", [8], 0, 8)), bytes(8)), DAMAGED),
    "complex": (file_of(named(a=one("C64", [1], 0, 8)), bytes(8)), DAMAGED),
    "two of a name": (
        file_of(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            bytes(8),
        ),
        DAMAGED,
    ),
    "more at the end": (file_of(named(a=one("F32", [1], 0, 4)), bytes(8)), DAMAGED),
}


@pytest.mark.parametrize("file", FILES)
def test_files_that_are_no_checkpoints(tmp_path: Path, file: str) -> None:
    content, message = FILES[file]
    path = tmp_path / "c"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=message) as found:
        run(tmp_path)
    assert str(found.value).startswith(repr(str(path))) and "\n" not in str(found.value)
    assert path.read_bytes() == content


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    """A pipe would wait for ever, a device would have no end."""
    os.mkfifo(tmp_path / "c")
    with pytest.raises(OptionError, match="is no regular file"):
        run(tmp_path)


def test_a_file_of_holes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "c").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OptionError, match="is larger than"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ('{"sigma": "1"}', "is the checkpoint of another run: "),
        ('{"\\u001b[31m\\n": "1"}', r"another run: '\\x1b\[31m\\n' is 1 there and None here"),
        ("[]", "does not say to which run it belongs"),
        ("{", "does not say to which run it belongs"),
        ("[" * 100_000, "does not say to which run it belongs"),
        ('{"a": "' + "x" * 10_000 + '"}', "a is x{80}… there and None here"),
    ],
    ids=str.__len__,
)
def test_whose_run_it_is_stands_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: str, message: str
) -> None:
    monkeypatch.setattr("nvmc.training.checkpoint.json.dumps", _dumps(identity, json.dumps))
    save_checkpoint(tmp_path / "c", {"": ""}, Checkpoint("{}", {}))
    monkeypatch.undo()
    with pytest.raises(OptionError, match=message) as found:
        run(tmp_path)
    assert str(found.value).isprintable()


def _dumps(identity: str, real: Callable[..., str]) -> Callable[..., str]:
    return lambda value, **options: identity if value == {"": ""} else real(value, **options)
