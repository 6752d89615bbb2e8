"""Builds the one C++ extension; everything else is in pyproject.toml.

`nvmc.runtime.provider._shim` is both a Python module and the shared library that onnxruntime
loads as a plugin execution provider, so it exports `CreateEpFactories` beside `PyInit__shim`.
"""

import re
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

FOLDER = "nvmc/runtime/provider/csrc"
VERSION = re.search(r'__version__ = "(.+)"', Path("nvmc/__init__.py").read_text()).group(1)

shim = Pybind11Extension(
    "nvmc.runtime.provider._shim",
    sources=sorted(glob(f"{FOLDER}/*.cpp")),
    depends=sorted(glob(f"{FOLDER}/*.h")),
    include_dirs=[FOLDER],
    define_macros=[("NVMC_VERSION", f'"{VERSION}"')],
    cxx_std=20,
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Wpedantic", "-fvisibility=hidden"],
)

setup(ext_modules=[shim])
