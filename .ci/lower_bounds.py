"""Print each lower bound of pyproject.toml as a pin, for `pip install -c`."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
wanted = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
for text in sorted(text for text in set(wanted) if not text.startswith("nvmc[")):
    name, bound = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)", text).groups()
    print(f"{name}=={bound}")
