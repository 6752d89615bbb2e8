"""Builds the three C++ extensions; everything else is in pyproject.toml.

`nvmc.rng._normals` draws the normals of chips, `nvmc.runtime.crossbar._native` computes circuits.
`nvmc.runtime.provider._shim` is both a Python module and the shared library that onnxruntime loads
as a plugin execution provider, so it exports `CreateEpFactories` beside `PyInit__shim`.

nvmc works without them, more slowly: where one cannot be built, that is said and the rest is
installed. NVMC_EXTENSIONS=require makes it an error, as in CI; NVMC_EXTENSIONS=none builds none.
"""

import os
import re
import sys
import threading
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup
from setuptools.command.build_ext import build_ext

SHIM = "nvmc/runtime/provider/csrc"
NATIVE = "nvmc/runtime/crossbar/csrc"
RANDOM = "nvmc/rng/csrc"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-fvisibility=hidden"]
ROUNDING = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
GLUE = "-O1"  # a fifth quicker to compile than -O3, and no loop over currents is in it
VERSION = re.search(r'__version__ = "(.+)"', Path("nvmc/__init__.py").read_text()).group(1)

shim = Pybind11Extension(
    "nvmc.runtime.provider._shim",
    sources=[f"{SHIM}/shim.cpp"],  # which includes the others
    depends=sorted([*glob(f"{SHIM}/*.cpp"), *glob(f"{SHIM}/*.h")]),
    include_dirs=[SHIM],
    define_macros=[("NVMC_VERSION", f'"{VERSION}"')],
    cxx_std=20,
    extra_compile_args=[GLUE, *WARNINGS],
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


ASKED = os.environ.get("NVMC_EXTENSIONS", "try")
if ASKED not in ("try", "require", "none"):
    sys.exit(f"NVMC_EXTENSIONS is {ASKED!r}; expected try, require or none")

FAILED = """
**************************************************************************************
nvmc is installed WITHOUT its compiled code ({names}).
It works and gives the same numbers, but simulating circuits takes many times longer,
and onnxruntime gets no NvmcExecutionProvider. The compiler's message is above.
To compile it: install g++ (or clang++) and Python's headers (python3-dev), then
    pip install --force-reinstall --no-deps --no-cache-dir --no-binary nvmc nvmc
**************************************************************************************
"""


class SideBySide(build_ext):
    """Builds extensions and their files side by side, one file a processor."""

    def initialize_options(self):
        super().initialize_options()
        self.parallel = True  # extensions; what is asked for on the command line counts more

    def build_extensions(self):
        processors = threading.Semaphore(os.cpu_count() or 1)
        compile_file = self.compiler._compile

        def compile_in_turn(obj, src, ext, cc_args, extra_postargs, pp_opts):
            glue = [GLUE] if src == f"{NATIVE}/module.cpp" else []
            with processors:
                compile_file(obj, src, ext, cc_args, [*extra_postargs, *glue], pp_opts)

        self.compiler._compile = compile_in_turn
        self.failed = []
        super().build_extensions()
        if self.failed:
            print(FAILED.format(names=", ".join(self.failed)), file=sys.stderr, flush=True)

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except Exception:  # which is raised on, or warned of where the extension is optional
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)  # of an earlier build
            self.failed.append(ext.name)
            raise


extensions = [] if ASKED == "none" else [shim, native, normals]
for extension in extensions:
    extension.optional = ASKED == "try"  # what fails is warned of, and left out
ParallelCompile().install()  # files of one extension
setup(ext_modules=extensions, cmdclass={"build_ext": SideBySide})
