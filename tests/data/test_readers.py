"""Readers of public data sets, on small files of their true formats."""

from __future__ import annotations

import pickle
import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.data import READERS, has_split, load_data
from nvmc.data.dataset import IGNORED
from nvmc.errors import DataError

Image = pytest.importorskip("PIL.Image")
SPLITS = ("train", "validation", "test")


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path: Path, array: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def refused(spec: str, split: Any = "test") -> str:
    with pytest.raises(DataError) as caught:
        load_data(spec, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Image folders


def make_folders(root: Path, counts: dict[str, dict[str, int]], shape: tuple[int, int]) -> None:
    for split, classes in counts.items():
        for label, (name, count) in enumerate(sorted(classes.items())):
            for index in range(count):
                image = np.full((*shape, 3), (label, index, 7), np.uint8)
                save(root / split / name / f"{index:03}.png", image)


def test_image_folders(tmp_path: Path) -> None:
    make_folders(tmp_path, {"train": {"cat": 30, "dog": 20}, "test": {"dog": 3, "cat": 4}}, (4, 6))
    parts = {split: load_data(f"images:{tmp_path}", split) for split in SPLITS}
    assert {split: len(part.x) for split, part in parts.items()} == {
        "train": 45,
        "validation": 5,
        "test": 7,
    }
    for part in parts.values():
        assert part.x.shape[1:] == (3, 4, 6) and part.x.dtype == np.float32
        assert part.y is not None
        assert (np.rint(part.x[:, 0, 0, 0] * 255) == part.y).all()  # red is the class
    seen = [tuple(np.rint(x[:2, 0, 0] * 255)) for split in SPLITS[:2] for x in parts[split].x]
    assert len(set(seen)) == 50
    few = load_data(f"images:{tmp_path}", "train", 8)
    assert np.array_equal(few.x, parts["train"].x[:8])
    assert set(few.y.tolist()) == {0, 1}  # type: ignore[union-attr]


def test_a_folder_of_classes_alone_is_every_split(tmp_path: Path) -> None:
    make_folders(tmp_path, {"": {"a": 3, "b": 2}}, (2, 2))
    spec = f"images:{tmp_path}"
    assert not has_split(spec, "validation")
    assert [len(load_data(spec, split).x) for split in SPLITS] == [5, 5, 5]


def test_a_class_has_one_number_in_all_splits(tmp_path: Path) -> None:
    make_folders(tmp_path, {"train": {"a": 2, "b": 2, "c": 2}, "val": {"c": 2}}, (2, 2))
    assert load_data(f"images:{tmp_path}", "validation").y.tolist() == [2, 2]  # type: ignore[union-attr]
    assert "no folder test" in refused(f"images:{tmp_path}")


def test_sizes_are_said_and_resized_as_pillow_does(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", pixels(5, 9, 3))
    save(tmp_path / "b" / "2.png", pixels(8, 4, 3))
    assert "say one size for all: images:" in refused(f"images:{tmp_path}")
    found = load_data(f"images:{tmp_path},size=6x3")
    assert found.x.shape == (2, 3, 6, 3) and found.name.endswith(",size=6x3")
    for x, label in zip(found.x, found.y, strict=True):  # type: ignore[arg-type]
        path = tmp_path / "ab"[label] / f"{label + 1}.png"
        with Image.open(path) as image:
            wanted = np.asarray(image.resize((3, 6), Image.Resampling.BILINEAR))
        assert np.array_equal(np.rint(x * 255), np.moveaxis(wanted, 2, 0))


def test_colours_means_and_deviations(tmp_path: Path) -> None:
    image = pixels(3, 3, 3)
    save(tmp_path / "a" / "1.png", image)
    plain = load_data(f"images:{tmp_path}").x
    scaled = load_data(f"images:{tmp_path},mean=0.5/0.4/0.3,std=0.2").x
    wanted = (plain - np.float32([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1)) / np.float32(0.2)
    assert np.array_equal(scaled, wanted)
    grey = load_data(f"images:{tmp_path},colour=grey").x * 255
    weighed = image @ [0.299, 0.587, 0.114]
    assert grey.shape == (1, 1, 3, 3) and np.abs(grey[0, 0] - weighed).max() <= 0.6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("size=0", "ROWSxCOLUMNS"),
        ("size=3y4", "ROWSxCOLUMNS"),
        ("colour=blue", "rgb or grey"),
        ("sise=3", "did you mean 'size'"),
        ("std=0", "above 0"),
        ("mean=1/2", "3 with slashes"),
        ("mean=x", "3 with slashes"),
        ("size=3,size=4", "twice"),
    ],
)
def test_options_that_say_nothing(tmp_path: Path, options: str, said: str) -> None:
    save(tmp_path / "a" / "1.png", pixels(3, 3, 3))
    assert said in refused(f"images:{tmp_path},{options}")


def test_images_that_are_none(tmp_path: Path) -> None:
    assert "no folders with images" in refused(f"images:{tmp_path}")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    assert "cannot be read as an image" in refused(f"images:{tmp_path}")
    save(tmp_path / "a" / "1.png", np.full((3, 3), 9000, np.uint16))
    assert "more than 8 bits" in refused(f"images:{tmp_path}")


def test_a_folder_may_hold_commas(tmp_path: Path) -> None:
    save(tmp_path / "my,data" / "a" / "1.png", pixels(3, 3, 3))
    assert load_data(f"images:{tmp_path / 'my,data'},size=2x2").x.shape == (1, 3, 2, 2)


# GTSRB


def make_gtsrb(root: Path) -> None:
    """As published: semicolons, tracks of images, the test set's classes in a file of its own."""
    head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    for label in (0, 14):
        folder = root / "Final_Training" / "Images" / f"{label:05}"
        rows = [head]
        for track in range(12):
            for image in range(2):
                name = f"{track:05}_{image:05}.ppm"
                save(folder / name, np.full((5, 4, 3), (label, track, image), np.uint8))
                rows.append(f"{name};4;5;0;0;3;4;{label}")
        (folder / f"GT-{label:05}.csv").write_text("\n".join(rows) + "\n")
    folder = root / "Final_Test" / "Images"
    for index, label in enumerate((14, 0, 14)):
        save(folder / f"{index:05}.ppm", np.full((5, 4, 3), label, np.uint8))
    rows = [f"{i:05}.ppm;4;5;0;0;3;4;{label}" for i, label in enumerate((14, 0, 14))]
    (folder / "GT-final_test.csv").write_text("\n".join([head, *rows]))


@pytest.mark.parametrize("nested", [False, True])
def test_gtsrb(tmp_path: Path, nested: bool) -> None:
    make_gtsrb(tmp_path / "GTSRB" if nested else tmp_path)
    parts = {split: load_data(f"gtsrb:{tmp_path}", split) for split in SPLITS}
    assert [len(part.x) for part in parts.values()] == [44, 4, 3]
    for part in parts.values():
        assert (np.rint(part.x[:, 0, 0, 0] * 255) == part.y).all()
    tracks = {s: set(np.rint(parts[s].x[:, 1, 0, 0] * 255).tolist()) for s in SPLITS[:2]}
    assert tracks["validation"] == {9} and not tracks["validation"] & tracks["train"]


def test_gtsrb_as_one_table(tmp_path: Path) -> None:
    rows = ["Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path"]
    for track in range(10):
        name = f"Train/20/00020_{track:05}_00000.png"
        save(tmp_path / name, pixels(3, 3, 3, seed=track))
        rows.append(f"3,3,0,0,2,2,20,{name}")
    (tmp_path / "Train.csv").write_text("\n".join(rows))
    assert len(load_data(f"gtsrb:{tmp_path}", "train").x) == 9
    assert load_data(f"gtsrb:{tmp_path}", "validation").y.tolist() == [20]  # type: ignore[union-attr]
    assert "Test.csv" in refused(f"gtsrb:{tmp_path}")
    (tmp_path / "Train.csv").write_text("ClassId,Path\n20,../../secret.png\n")
    assert "expected one beside it" in refused(f"gtsrb:{tmp_path}", "train")
    (tmp_path / "Train.csv").write_text("ClassId,Path\n43,a.png\n")
    assert "expected 0 to 42" in refused(f"gtsrb:{tmp_path}", "train")
    (tmp_path / "Train.csv").write_text("Class,Path\n4,a.png\n")
    assert "expected Filename or Path, and ClassId" in refused(f"gtsrb:{tmp_path}", "train")


# CIFAR-100


@pytest.mark.parametrize("kind", ["python", "binary"])
@pytest.mark.parametrize("labels", ["fine", "coarse"])
def test_cifar100(tmp_path: Path, kind: str, labels: str) -> None:
    sets: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for name, count in (("train", 50), ("test", 4)):
        data, fine, coarse = pixels(count, 3072), pixels(count) % 100, pixels(count, seed=1) % 20
        sets[name] = data, fine, coarse
        if kind == "binary":
            records = np.concatenate([coarse[:, None], fine[:, None], data], axis=1)
            (tmp_path / f"{name}.bin").write_bytes(records.astype(np.uint8).tobytes())
        else:
            batch = {
                b"data": data,
                b"fine_labels": fine.tolist(),
                b"coarse_labels": coarse.tolist(),
                b"batch_label": b"x",
            }
            (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=4))
    spec = f"cifar100:{tmp_path}" + (",labels=coarse" if labels == "coarse" else "")
    found = {split: load_data(spec, split) for split in SPLITS}
    x, *known = sets["test"]
    assert np.array_equal(np.rint(found["test"].x * 255), x.reshape(-1, 3, 32, 32))
    assert np.array_equal(found["test"].y, known[labels == "coarse"])  # type: ignore[arg-type]
    joined = np.concatenate([found["train"].x, found["validation"].x])
    assert len(found["validation"].x) == 10
    assert np.array_equal(np.rint(joined * 255), sets["train"][0].reshape(-1, 3, 32, 32))
    assert "fine or coarse" in refused(f"cifar100:{tmp_path},labels=all")


# Speech Commands


def tone(path: Path, samples: np.ndarray, rate: int = 16000, width: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2" if width == 2 else np.uint8).tobytes())


def make_speech(root: Path) -> None:
    for label, word in enumerate(("yes", "no", "bed")):
        for index in range(4):
            time = np.arange(16000 - 1000 * index) / 16000
            tone(root / word / f"{index}.wav", 8000 * np.sin(2 * np.pi * 50 * (label + 1) * time))
    tone(root / "_background_noise_" / "hum.wav", np.zeros(16))
    (root / "validation_list.txt").write_text("yes/0.wav\nno/0.wav\n")
    (root / "testing_list.txt").write_text("bed/1.wav\nno/3.wav\n")


def test_speech_commands(tmp_path: Path) -> None:
    make_speech(tmp_path)
    parts = {split: load_data(f"speech-commands:{tmp_path}", split) for split in SPLITS}
    assert [len(part.x) for part in parts.values()] == [8, 2, 2]
    assert sorted(parts["test"].y.tolist()) == [0, 1]  # type: ignore[union-attr]  # bed, no, yes
    assert parts["test"].name.endswith(",rate=8000")
    hertz = {0: 150, 1: 100, 2: 50}
    for part in parts.values():
        assert part.x.shape[1:] == (1, 8000)
        for x, label in zip(part.x[:, 0], part.y, strict=True):  # type: ignore[arg-type]
            end = 8000 if x[-1] or not (x[7500:] == 0).all() else int(np.flatnonzero(x)[-1]) + 1
            inner = slice(100, end - 100)
            wanted = 8000 / 32768 * np.sin(2 * np.pi * hertz[int(label)] * np.arange(8000) / 8000)
            assert np.abs(x[inner] - wanted[inner]).max() < 2e-3


def test_speech_commands_at_their_own_rate_are_untouched(tmp_path: Path) -> None:
    make_speech(tmp_path)
    samples = np.arange(-50, 50) * 300
    tone(tmp_path / "bed" / "1.wav", samples)
    found = load_data(f"speech-commands:{tmp_path},rate=16000")
    row = found.x[found.y.tolist().index(0), 0]  # type: ignore[union-attr]
    assert np.array_equal(row[:100], samples.astype(np.float32) / 32768)
    assert not row[100:].any()


def test_speech_commands_that_are_none(tmp_path: Path) -> None:
    assert "unpack" in refused(f"speech-commands:{tmp_path}")
    make_speech(tmp_path)
    tone(tmp_path / "bed" / "1.wav", np.zeros(10), width=1)
    assert "one of 16 bits" in refused(f"speech-commands:{tmp_path}")
    (tmp_path / "bed" / "1.wav").write_bytes(b"RIFF1234")
    assert "cannot be read as WAV" in refused(f"speech-commands:{tmp_path}")
    (tmp_path / "testing_list.txt").write_text("../x/1.wav")
    assert "expected WORD/NAME.wav" in refused(f"speech-commands:{tmp_path}")
    (tmp_path / "testing_list.txt").unlink()
    assert "comes with speech_commands" in refused(f"speech-commands:{tmp_path}")
    assert "whole number above 0" in refused(f"speech-commands:{tmp_path},rate=fast")


# DRIVE


def make_drive(root: Path) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    made: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for part, numbers in (("training", (21, 22, 37, 40)), ("test", (1, 2))):
        for number in numbers:
            image = pixels(7, 9, 3, seed=number)
            vessels = (pixels(7, 9, seed=number + 100) > 128).astype(np.uint8) * 255
            seen = (pixels(7, 9, seed=number + 200) > 60).astype(np.uint8) * 255
            folder, name = root / part, f"{number:02}"
            save(folder / "images" / f"{name}_{part}.tif", image)
            save(folder / "1st_manual" / f"{name}_manual1.gif", vessels)
            save(folder / "mask" / f"{name}_{part}_mask.gif", seen)
            made[f"{part}{name}"] = image, vessels, seen
    return made


def test_drive(tmp_path: Path) -> None:
    made = make_drive(tmp_path)
    wanted = {
        "train": ["training21", "training22"],
        "validation": ["training37", "training40"],
        "test": ["test01", "test02"],
    }
    for split in SPLITS:
        found = load_data(f"drive:{tmp_path},pad=4", split)
        assert found.x.shape == (2, 3, 8, 12) and found.y is not None
        for x, y, name in zip(found.x, found.y, wanted[split], strict=True):
            image, vessels, seen = made[name]
            assert np.array_equal(np.rint(x[:, :7, :9] * 255), np.moveaxis(image, 2, 0))
            assert np.array_equal(y[:7, :9], np.where(seen > 0, vessels > 0, IGNORED))
            assert (y[7:] == IGNORED).all() and (y[:, 9:] == IGNORED).all()
    assert load_data(f"drive:{tmp_path}").x.shape == (2, 3, 7, 9)
    (tmp_path / "test" / "1st_manual" / "01_manual1.gif").unlink()
    assert "maps in its first edition" in refused(f"drive:{tmp_path}")
    save(tmp_path / "test" / "1st_manual" / "01_manual1.gif", pixels(7, 8))
    assert "7x8 pixels, its image 7x9" in refused(f"drive:{tmp_path}")


# Penn-Fudan


def test_penn_fudan(tmp_path: Path) -> None:
    for index in range(20):
        shape = (6 + index % 3, 8)
        save(tmp_path / "PNGImages" / f"P{index:05}.png", np.full((*shape, 3), index, np.uint8))
        persons = np.zeros(shape, np.uint8)
        persons[: shape[0] // 2, :4], persons[shape[0] // 2 :, 4:] = 1, 2
        save(tmp_path / "PedMasks" / f"P{index:05}_mask.png", persons)
    parts = {split: load_data(f"penn-fudan:{tmp_path},size=4x4", split) for split in SPLITS}
    assert [len(part.x) for part in parts.values()] == [12, 2, 6]
    seen = {int(np.rint(x[0, 0, 0] * 255)) for part in parts.values() for x in part.x}
    assert seen == set(range(20))
    corner = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    for part in parts.values():
        assert all(np.array_equal(y, corner) for y in part.y)  # type: ignore[union-attr]
    assert "say one size" in refused(f"penn-fudan:{tmp_path}")
    assert "unpack PennFudanPed.zip" in refused(f"penn-fudan:{tmp_path / 'PedMasks'}")


# CO2


def test_co2_windows_come_before_their_values() -> None:
    series: Any = pytest.importorskip("statsmodels.datasets.co2").load_pandas().data["co2"]
    weeks = series.interpolate("linear").to_numpy()
    years = weeks[: len(weeks) * 70 // 100]
    known = (weeks - years.mean()) / years.std()
    seen: list[int] = []
    for split in SPLITS:
        found = load_data("co2", split)
        assert found.name == "co2,window=24" and found.targets is not None
        for x, target in zip(found.x[:, :, 0], found.targets[:, 0], strict=True):
            at = int(np.argmin(np.abs(known[:, None] - target).sum(1)))
            places = [i for i in np.flatnonzero(np.isclose(known, target, atol=1e-5)) if i >= 24]
            fits = [i for i in places if np.allclose(known[i - 24 : i], x, atol=1e-5)]
            assert fits, at
            seen.append(int(fits[0]))
    assert sorted(seen) == list(range(24, len(weeks)))
    assert load_data("co2,window=52", "test", 3).x.shape == (3, 52, 1)
    assert "expected fewer than" in refused("co2,window=5000")


# Splits in an .npz file


def test_npz_may_hold_splits(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    arrays = {f"{name}_{split}": np.full((n, 2), n) for name in "x" for split, n in
              (("train", 5), ("val", 3), ("test", 2))}  # fmt: skip
    labels = {f"y_{split}": np.zeros(n, np.int64) for split, n in
              (("train", 5), ("val", 3), ("test", 2))}  # fmt: skip
    np.savez(path, **arrays, **labels)
    assert [len(load_data(str(path), split).x) for split in SPLITS] == [5, 3, 2]
    assert has_split(str(path), "validation")
    del arrays["x_val"], labels["y_val"]
    np.savez(path, **arrays, **labels)
    assert not has_split(str(path), "validation")
    assert "save x_validation and y_validation" in refused(str(path), "validation")
    np.savez(path, x=np.zeros((4, 2)), x_test=np.zeros((2, 2)))  # x is the input, as ever
    assert len(load_data(str(path)).x) == 4


@pytest.mark.parametrize("name", [n for n, kind in READERS.items() if kind.has_folder])
def test_a_set_that_is_not_there_says_where_to_get_it(tmp_path: Path, name: str) -> None:
    assert "no folder" in refused(f"{name}:{tmp_path / 'nowhere'}")
    said = refused(f"{name}:{tmp_path}", "train")
    assert re.search("unpack|download|make one|expected a folder", said), said


@pytest.mark.parametrize("make", [make_gtsrb, make_drive, make_speech])
def test_limits_take_the_first(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path)
    name = make.__name__.removeprefix("make_").replace("speech", "speech-commands")
    whole, some = load_data(f"{name}:{tmp_path}"), load_data(f"{name}:{tmp_path}", limit=1)
    assert np.array_equal(whole.x[:1], some.x)
