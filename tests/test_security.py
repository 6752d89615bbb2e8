"""What docs/security.md says of the source: no file that nvmc reads can name code to run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from source_tree import ROOT, Source, sources

BANNED = {
    "eval",
    "exec",
    "marshal.loads",
    "os.popen",
    "os.system",
    "pickle.load",
    "pickle.loads",
    "runpy.run_path",
    "shelve.open",
    "subprocess.run",
    "subprocess.Popen",
    "torch.jit.load",
    "yaml.load",
}
LAST_NAMES = {"enable_load_extension", "load_extension", "register_custom_ops_library"}
SAFE = {"np.load": "allow_pickle", "numpy.load": "allow_pickle", "torch.load": "weights_only"}
"""Functions that unpickle, and the argument that says whether they do."""


def unsafe(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: word.value for word in node.keywords}
        if called in BANNED or called.rpartition(".")[2] in LAST_NAMES:
            yield f"line {node.lineno}: {called}"
        if any(isinstance(w, ast.Constant) and w.value for w in [given.get("allow_pickle")]):
            yield f"line {node.lineno}: {called} with pickle"
        if called in SAFE:
            wanted = SAFE[called] == "weights_only"
            said = given.get(SAFE[called])
            if not (isinstance(said, ast.Constant) and said.value is wanted):
                yield f"line {node.lineno}: {called} without {SAFE[called]}={wanted}"


def test_nothing_that_runs_code_of_a_file_is_called() -> None:
    assert not [f"{source.name}: {text}" for source in sources() for text in unsafe(source)]


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "pickle.loads(raw)",
        "np.load(path)",
        "torch.load(path, weights_only=False)",
        "numpy.load(path, allow_pickle=True)",
        "options.register_custom_ops_library(path)",
        "np.lib.format.read_array(file, allow_pickle=True)",
    ],
)
def test_what_runs_code_is_seen(line: str, tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(line)
    assert list(unsafe(Source("m", file)))


def test_the_page_and_the_report_know_each_other() -> None:
    page, report = (ROOT / name for name in ("docs/security.md", "SECURITY.md"))
    assert "SECURITY.md" in page.read_text(encoding="utf-8")
    assert "docs/security.md" in report.read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "docs/security.md" in readme and "(SECURITY.md)" in readme
