"""The zoo: the papers' networks, trained ones that ship with nvmc, and how each was trained.

Importing this loads no torch; the definitions, `export` and `train` do.
"""

from __future__ import annotations

from nvmc.models.networks import NETWORKS, Network
from nvmc.models.zoo import PREFIX, ZOO, ZooModel, resolve_model, zoo_path

__all__ = ["NETWORKS", "PREFIX", "ZOO", "Network", "ZooModel", "resolve_model", "zoo_path"]
