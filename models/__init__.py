"""The zoo: trained networks that ship with nvmc, and how each was trained.

Importing this loads no torch; `nvmc.models.lenet5`, `mlp3`, `export` and `train` do.
"""

from __future__ import annotations

from nvmc.models.zoo import ZOO, ZooModel, resolve_model, zoo_path

__all__ = ["ZOO", "ZooModel", "resolve_model", "zoo_path"]
