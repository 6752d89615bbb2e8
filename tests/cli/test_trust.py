"""Results that came along are not believed unasked: edited stores, and those of other users."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nvmc.cli import main
from nvmc.compiled.artifact import RESULTS_FILE

COMMON = ["simulate", "net.nvmc", "--data", "digits", "--sigma", "0.3", "--limit", "60"]
RUNS = 50

Simulate = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a compiled network and the chips of a run."""
    folder = tmp_path_factory.mktemp("found")
    network = str(folder / "net.nvmc")
    assert main(["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", network]) == 0
    assert main(["simulate", network, *COMMON[2:], "--runs", str(RUNS)]) == 0
    return folder


@pytest.fixture(autouse=True)
def folder(found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(found / "net.nvmc", "net.nvmc")
    return tmp_path / "net.nvmc"


@pytest.fixture
def other_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user than the one who ran the chips."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def simulate(capsys: pytest.CaptureFixture[str]) -> Simulate:
    """What `nvmc simulate --json` prints."""

    def run(*words: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*COMMON, "--runs", str(RUNS), "--json", *words]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return json.loads(captured.out)

    return run


def edit(*statements: str, path: str = f"net.nvmc/{RESULTS_FILE}") -> None:
    """Change a store as someone does who has sqlite3."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement


def dump() -> list[str]:
    with closing(sqlite3.connect(Path("net.nvmc") / RESULTS_FILE)) as connection:
        return list(connection.iterdump())


def rows(table: str, column: str = "*") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(Path("net.nvmc") / RESULTS_FILE)) as connection:
        return connection.execute(f"SELECT {column} FROM {table}").fetchall()


def whole_id(capsys: pytest.CaptureFixture[str]) -> str:
    """The id of the only experiment."""
    ((identifier,),) = rows("experiment", "id")
    capsys.readouterr()
    return identifier


def advised(line: str) -> list[str]:
    """The command that an error names, to be run without being asked."""
    return [*line.split("`nvmc ")[1].split("`")[0].split(), "--yes"]


def answer(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k not in ("seconds", "recorded", "elsewhere")}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of an error; the store stays as it was."""
    before = dump()
    capsys.readouterr()
    assert main(list(words) or [*COMMON, "--runs", str(RUNS)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("nvmc: error: ")
    assert dump() == before
    return line


def test_an_edited_store_is_found(capsys: pytest.CaptureFixture[str], simulate: Simulate) -> None:
    """Every chip is right on every image, and all that is in a row says so."""
    edit("UPDATE chip SET total = 60, value = 1")
    line = refused(capsys)
    for phrase in ("holds 60.0 for chip", "nvmc results delete", "--store", "--no-store"):
        assert phrase in line
    assert main(advised(line)) == 0
    assert simulate()["elsewhere"] == {"chips": 0, "checked": 0, "trusted": 0}


@pytest.mark.parametrize("chips", ["= 7", "< 20"])
def test_a_few_edited_chips_are_found(
    capsys: pytest.CaptureFixture[str], simulate: Simulate, chips: str
) -> None:
    """Theirs are the only rows that are not this user's: all of them are run again."""
    edit(f"UPDATE chip SET total = total - 1, value = (total - 1) / 60 WHERE chip {chips}")
    line = refused(capsys)
    assert "from elsewhere" in line
    words = advised(line)
    assert "--elsewhere" in words and main(words) == 0
    assert 0 < simulate()["recorded"] < RUNS


def test_an_edit_of_a_chip_that_the_question_does_not_use(simulate: Simulate) -> None:
    edit("UPDATE chip SET total = 60, value = 1 WHERE chip = 49")
    assert simulate("--runs", "49")["elsewhere"]["chips"] == 0


IMPOSSIBLE = {
    "more hits than decisions": "UPDATE chip SET total = 61, value = 61 / 60.0 WHERE chip = 3",
    "a negative sum": "UPDATE chip SET total = -1, value = -1 / 60.0 WHERE chip = 3",
    "half a hit": "UPDATE chip SET total = 30.5, value = 30.5 / 60 WHERE chip = 3",
    "an infinite sum": "UPDATE chip SET total = 9e999 WHERE chip = 3",
    "no sum": "UPDATE chip SET total = NULL WHERE chip = 3",
    "a value that the sum does not give": "UPDATE chip SET value = 1 WHERE chip = 3 AND value < 1",
    "a value above 1": "UPDATE chip SET value = 1.5 WHERE chip = 3",
    "no value": "UPDATE chip SET value = NULL WHERE chip = 3",
    "an early value": "UPDATE chip SET images = 59 WHERE chip = 3",
    "more images than there are": "UPDATE chip SET images = 61 WHERE chip = 3",
    "infinite images": "UPDATE chip SET images = 9e999 WHERE chip = 3",
    "no images": "UPDATE chip SET images = 0 WHERE chip = 3",
    "a negative chip": "UPDATE chip SET chip = -3 WHERE chip = 3",
    "a chip of text": "UPDATE chip SET chip = 'three' WHERE chip = 3",
    "images of text": "UPDATE chip SET images = 'sixty' WHERE chip = 3",
    "a sum of text": "UPDATE chip SET total = 'all' WHERE chip = 3",
    "a value of text": "UPDATE chip SET value = 'all' WHERE chip = 3",
    "a sum of bytes": "UPDATE chip SET total = x'00' WHERE chip = 3",
    "a part of no chip": "INSERT INTO part SELECT number, 77, 5, 5, NULL FROM experiment",
    "a part of more images": "INSERT INTO part SELECT number, 3, 61, 5, NULL FROM experiment",
    "a part with more hits": "INSERT INTO part SELECT experiment, chip, 59, total + 1, NULL "
    "FROM chip WHERE chip = 3 AND total < 58",
    "a part with too few": "INSERT INTO part SELECT number, 3, 59, 0, NULL FROM experiment",
    "a key of something else": "UPDATE experiment SET key = '{\"sigma\": 0.1}'",
    "a key that is none": "UPDATE experiment SET key = 'dear diary'",
}


@pytest.mark.parametrize("statement", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], statement: str) -> None:
    """By whatever uses it, also where the store is trusted; it can be forgotten all the same."""
    edit(statement)
    line = refused(capsys)
    for phrase in (RESULTS_FILE, "experiment ", "nvmc results delete", "--store", "--no-store"):
        assert phrase in line
    assert refused(capsys, *COMMON, "--runs", str(RUNS), "--trust-store") == line
    for words in (
        ["list"],
        ["show", line.split("experiment ")[1].split(":")[0]],
        ["export", "--all", "-o", "all.csv"],
        ["merge", "all.sqlite", "net.nvmc"],
    ):
        assert "nvmc results delete" in refused(capsys, "results", *words)
    assert not Path("all.csv").exists() and not Path("all.sqlite").exists()
    words = advised(line)
    assert main(words) == 0
    capsys.readouterr()
    assert main([*COMMON, "--runs", str(RUNS), "--json"]) == 0
    recorded = json.loads(capsys.readouterr().out)["recorded"]
    assert recorded == (0 if "--chip" not in words else RUNS if "77" in words else RUNS - 1)


def test_single_chips_are_forgotten(capsys: pytest.CaptureFixture[str], simulate: Simulate) -> None:
    whole = simulate()
    delete = ["results", "delete", whole_id(capsys)]
    for words, phrase in (
        (
            ["--chip", "3", "--chip", "99"],
            "has no chip 99; nothing was deleted (its 50 chips are 0",
        ),
        (["--chip", "3", "--elsewhere"], "give one of the two"),
        (["--chip", "3"], "add --yes to forget 1 chip"),
    ):
        assert phrase in refused(capsys, *delete, *words)
    assert "with 2 experiments" in refused(capsys, *delete, delete[-1], "--chip", "3")
    assert main([*delete, "--chip", "3", "--chip", "17", "--chip", "3", "--yes"]) == 0
    assert capsys.readouterr().out == "Deleted 2 chips; 48 chips left\n"
    found = simulate()
    assert found["recorded"] == RUNS - 2 and answer(found) == answer(whole)
    every = [word for chip in range(RUNS) for word in ("--chip", str(chip))]
    assert main([*delete, *every, "--yes"]) == 0
    assert not rows("experiment")


def test_only_what_others_wrote_is_forgotten(
    capsys: pytest.CaptureFixture[str], simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """False chips of a store that was merged go, one's own stay."""
    monkeypatch.setenv("COLUMNS", "100")
    whole = simulate("--runs", "70")
    delete = ["results", "delete", whole_id(capsys)]
    every = [word for chip in range(RUNS, 70) for word in ("--chip", str(chip))]
    assert main([*delete, *every, "--yes"]) == 0
    own = rows("chip")
    assert main([*delete, "--elsewhere", "--yes"]) == 0
    assert "Nothing was deleted: no chip is from elsewhere" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(Path("state").absolute()))
        simulate("--first", "50", "--runs", "20", "--store", "theirs.sqlite")
    edit("UPDATE chip SET total = 60, value = 1 WHERE chip = 60", path="theirs.sqlite")
    assert main(["results", "merge", "net.nvmc", "theirs.sqlite"]) == 0
    capsys.readouterr()
    assert main(["results", "list"]) == 0
    assert "20 (none checked)" in " ".join(capsys.readouterr().out.split())
    line = refused(capsys, *COMMON, "--runs", "70")
    assert main([*advised(line)]) == 0
    assert "Deleted 20 chips from elsewhere; 50 chips left" in capsys.readouterr().out
    assert rows("chip") == own and not rows("mark")
    found = simulate("--runs", "70")
    assert found["recorded"] == RUNS and answer(found) == answer(whole)


def test_a_chip_that_another_user_began_is_from_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its sum on the way decides where a run stops."""
    edit("INSERT INTO part SELECT experiment, chip, 59, total - 1, NULL FROM chip WHERE chip = 3")
    assert main(["results", "delete", whole_id(capsys), "--elsewhere", "--yes"]) == 0
    assert "Deleted 1 chip from elsewhere; 49 chips left" in capsys.readouterr().out
    assert not rows("part") and (3,) not in rows("chip", "chip")


@pytest.mark.usefixtures("other_user")
def test_the_list_says_how_many_are_checked(
    capsys: pytest.CaptureFixture[str], simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for runs, said in (("10", "50 (10 checked)"), (str(RUNS), "50 (all checked)")):
        simulate("--runs", runs)
        assert main(["results", "list"]) == 0
        assert said in " ".join(capsys.readouterr().out.split())


NO_DESCRIPTION = {
    "none": "UPDATE experiment SET info = 'dear diary'",
    "a list": "UPDATE experiment SET info = '[]'",
    "nested": "UPDATE experiment SET info = replace(hex(zeroblob(50000)), '00', '[')",
    "a text for a number": "UPDATE experiment SET info = json_set(info, '$.sigma', 'x')",
    "other images": "UPDATE experiment SET info = json_set(info, '$.images', 5000)",
    "no source": "UPDATE experiment SET info = json_set(info, '$.noise', json('[1]'))",
}


@pytest.mark.parametrize("statement", NO_DESCRIPTION.values(), ids=NO_DESCRIPTION)
def test_a_description_that_cannot_be(capsys: pytest.CaptureFixture[str], statement: str) -> None:
    edit(statement)
    assert "nvmc results delete" in refused(capsys, "results", "list")


def test_an_edited_description_is_seen_and_mended(
    capsys: pytest.CaptureFixture[str], simulate: Simulate
) -> None:
    edit("UPDATE experiment SET info = json_set(info, '$.ideal', 0.1)")
    assert main(["results", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["experiments"]
    assert (entry["described_here"], entry["info"]["ideal"]) == (False, 0.1)
    assert main(["results", "show", entry["id"][:8]]) == 0
    assert "described" in capsys.readouterr().out
    ideal = simulate()["ideal"]
    assert main(["results", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["experiments"]
    assert (entry["described_here"], entry["info"]["ideal"]) == (True, ideal)


@pytest.mark.usefixtures("other_user")
def test_results_of_another_user_are_checked_once(
    capsys: pytest.CaptureFixture[str], simulate: Simulate
) -> None:
    alone = simulate("--no-store")
    first = simulate()
    assert first["elsewhere"] == {"chips": RUNS, "checked": 30, "trusted": 0}
    assert first["recorded"] == RUNS and answer(first) == answer(alone)
    before = dump()
    again = simulate()
    assert again["elsewhere"] == first["elsewhere"] and dump() == before
    assert main([*COMMON, "--runs", str(RUNS)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "from elsewhere" in text and "30 of them, at random, run again here" in text
    assert main(["results", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["experiments"]
    assert (entry["elsewhere"], entry["unchecked"]) == (RUNS, 0)


@pytest.mark.usefixtures("other_user")
def test_an_edit_after_the_check_is_found(
    capsys: pytest.CaptureFixture[str], simulate: Simulate
) -> None:
    simulate()
    edit("UPDATE chip SET total = 60, value = 1 WHERE chip = 11")
    assert "for chip 11 on 60 images" in refused(capsys)


@pytest.mark.usefixtures("other_user")
def test_more_runs_check_what_they_use(simulate: Simulate) -> None:
    assert simulate("--runs", "10")["elsewhere"] == {"chips": 10, "checked": 10, "trusted": 0}
    more = simulate("--runs", "60")
    assert more["elsewhere"] == {"chips": RUNS, "checked": 40, "trusted": 0}
    assert answer(more) == answer(simulate("--runs", "60", "--no-store"))


@pytest.mark.usefixtures("other_user")
def test_a_trusted_store(capsys: pytest.CaptureFixture[str], simulate: Simulate) -> None:
    """It is used as it is, and every answer says so."""
    edit("UPDATE chip SET total = 60, value = 1")
    for _ in range(2):
        found = simulate("--trust-store")
        assert found["elsewhere"] == {"chips": RUNS, "checked": 0, "trusted": RUNS}
        assert set(found["values"]) == {1.0}
    assert main([*COMMON, "--runs", str(RUNS), "--trust-store"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "50 of them used unchecked (--trust-store)" in text
    assert "from elsewhere" in refused(capsys)
    assert main([*COMMON, "--trust-store", "--no-store"]) == 1


@pytest.mark.usefixtures("other_user")
def test_a_sweep_checks_too(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "net.nvmc", "--data", "digits", "--sigma", "0.2,0.3", "--limit", "60"]
    words += ["--runs", str(RUNS), "--csv", "sweep.csv"]
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["elsewhere"]["chips"] for point in points] == [0, RUNS]
    assert main(words) == 0
    assert "From elsewhere: 50 chips, 30 of them" in capsys.readouterr().out
    header, _, second = Path("sweep.csv").read_text().splitlines()
    columns = dict(zip(header.split(","), second.split(","), strict=False))
    assert columns["elsewhere_chips"] == str(RUNS)
    edit("UPDATE chip SET total = 60, value = 1")
    assert "from elsewhere" in refused(capsys, *words)
    assert main([*words, "--trust-store"]) == 0


def test_merged_parts_keep_who_ran_them(
    simulate: Simulate, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of array jobs of one user are this user's own; that of another is not."""
    for task in range(3):
        with monkeypatch.context() as patch:
            if task == 2:
                patch.setenv("XDG_STATE_HOME", str(Path("state").absolute()))
            words = ["--first", str(100 + 10 * task), "--store", f"part-{task}.sqlite"]
            simulate(*words, "--runs", "10")
    assert main(["results", "merge", "net.nvmc", *(f"part-{n}.sqlite" for n in range(3))]) == 0
    capsys.readouterr()
    assert main(["results", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["experiments"]
    assert (entry["complete"], entry["elsewhere"], entry["unchecked"]) == (RUNS + 30, 10, 10)
    assert main(["results", "export", "--all", "-o", "all.csv"]) == 0
    origins = [line.rsplit(",", 1)[1] for line in Path("all.csv").read_text().splitlines()]
    assert origins == ["origin", *["here"] * (RUNS + 20), *["elsewhere"] * 10]
    found = simulate("--first", "100", "--runs", "30")
    assert found["elsewhere"] == {"chips": 10, "checked": 10, "trusted": 0}


def test_ones_own_copy_of_a_row_of_another_user_counts(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either order of a merge."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(Path("state").absolute()))
        simulate("--store", "theirs.sqlite")
    for into, source in (("net.nvmc", "theirs.sqlite"), ("theirs.sqlite", "net.nvmc")):
        assert main(["results", "merge", into, source]) == 0
        place = [] if into == "net.nvmc" else ["--store", into]
        assert simulate(*place)["elsewhere"]["chips"] == 0


def test_a_merge_that_would_make_a_store_impossible(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the two could be; what is there is not lost for it."""
    shutil.copy(Path("net.nvmc", RESULTS_FILE), "theirs.sqlite")
    edit("UPDATE experiment SET info = json_set(info, '$.decisions', 2)", path="theirs.sqlite")
    edit("DELETE FROM chip WHERE chip <> 3", path="theirs.sqlite")
    edit("UPDATE chip SET total = 61, value = 61 / 120.0, chip = 99", path="theirs.sqlite")
    line = refused(capsys, "results", "merge", "net.nvmc", "theirs.sqlite")
    assert "'theirs.sqlite' was not merged" in line and "chip 99" in line


PLAIN = ["--runs", "60", "--percentile", "10", "--limit", "200"]
ROUNDS = [*PLAIN, "--precision", "0.1pp", "--runs", "40", "--max-runs", "60"]


@pytest.mark.slow
@pytest.mark.parametrize("words", [PLAIN, ROUNDS])
def test_adaptive_runs_of_another_user(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sums on the way are checked as well, and what goes on from them is no better founded."""

    def run(*more: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*COMMON, *words, "--json", *more]) == 0
        return json.loads(capsys.readouterr().out)

    mine, alone = run("--adaptive"), run("--no-store")
    monkeypatch.setenv("XDG_STATE_HOME", str(Path("state").absolute()))
    found = run("--adaptive")
    chips = len(found["values"])
    assert answer(found) == answer(mine)
    assert found["elsewhere"]["chips"] == chips and 30 <= found["elsewhere"]["checked"] < chips
    whole = run()  # completes those that were dropped
    assert answer(whole) == answer(alone) and whole["elsewhere"] == found["elsewhere"]
    assert run()["elsewhere"] == whole["elsewhere"]


def test_an_edited_sum_on_the_way_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*COMMON, *PLAIN, "--adaptive"]
    assert main(words) == 0
    edit(  # one of which nothing else says that it cannot be
        "UPDATE part SET total = total - 1 WHERE (experiment, chip, images) = (SELECT "
        "experiment, chip, part.images FROM part JOIN chip USING (experiment, chip) WHERE "
        "part.total > 0 AND chip.total - part.total < chip.images - part.images LIMIT 1)"
    )
    assert "from elsewhere" in refused(capsys, *words)
