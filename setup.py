"""Builds the three C++ extensions; everything else is in pyproject.toml.

`nvmc.rng._normals` draws the normals of chips, `nvmc.runtime.crossbar._native` computes circuits.
`nvmc.runtime.provider._shim` is both a Python module and the shared library that onnxruntime loads
as a plugin execution provider, so it exports `CreateEpFactories` beside `PyInit__shim`.
"""

import re
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

SHIM = "nvmc/runtime/provider/csrc"
NATIVE = "nvmc/runtime/crossbar/csrc"
RANDOM = "nvmc/rng/csrc"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-fvisibility=hidden"]
ROUNDING = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
VERSION = re.search(r'__version__ = "(.+)"', Path("nvmc/__init__.py").read_text()).group(1)

shim = Pybind11Extension(
    "nvmc.runtime.provider._shim",
    sources=sorted(glob(f"{SHIM}/*.cpp")),
    depends=sorted(glob(f"{SHIM}/*.h")),
    include_dirs=[SHIM],
    define_macros=[("NVMC_VERSION", f'"{VERSION}"')],
    cxx_std=20,
    extra_compile_args=["-O2", *WARNINGS],
)

native = Pybind11Extension(
    "nvmc.runtime.crossbar._native",
    sources=sorted(glob(f"{NATIVE}/*.cpp")),
    depends=sorted([*glob(f"{NATIVE}/*.h"), *glob(f"{NATIVE}/*.inc"), f"{RANDOM}/normals.h"]),
    include_dirs=[NATIVE, RANDOM],
    cxx_std=20,
    extra_compile_args=["-O3", *WARNINGS, *ROUNDING],
)

normals = Pybind11Extension(
    "nvmc.rng._normals",
    sources=[f"{RANDOM}/normals.cpp"],
    depends=[f"{RANDOM}/normals.h"],
    include_dirs=[RANDOM],
    cxx_std=20,
    extra_compile_args=["-O3", *WARNINGS, *ROUNDING],
)

setup(ext_modules=[shim, native, normals])
