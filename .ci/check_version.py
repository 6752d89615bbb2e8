"""Hold a release's tag against the places that state the version: check_version.py v1.2.3.

Without a tag, the places are held against one another. Exits with 1 and one line where they differ.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = {
    "nvmc/__init__.py": r'^__version__ = "(.+)"$',
    "CITATION.cff": r"^version: (.+)$",
    "docs/cite.md": r"^  version = \{(.+)\},$",
}


def stated(file: str, pattern: str) -> str:
    """The version in a file, or the text "none"."""
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    return found[1] if found else "none"


versions = {file: stated(file, pattern) for file, pattern in PLACES.items()}
wanted = sys.argv[1].removeprefix("v") if len(sys.argv) > 1 else versions["nvmc/__init__.py"]
wrong = [f"{file} states {version}" for file, version in versions.items() if version != wanted]
if len(sys.argv) > 1 and not re.search(
    rf"^## {re.escape(wanted)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
):
    wrong.append(f"CHANGELOG.md has no section '## {wanted}'")
if wrong:
    sys.exit(f"expected version {wanted}: {'; '.join(wrong)}")
