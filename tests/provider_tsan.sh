#!/usr/bin/env bash
# The provider in sixteen threads under ThreadSanitizer, in a copy of the tree:
#
#     bash tests/provider_tsan.sh PYTHON [ROUNDS]
#
# PYTHON has nvmc's development requirements. Python and onnxruntime are not built for it, so races
# within onnxruntime are reported too: a report counts where one of its frames is in an extension of
# nvmc, and only then does the script fail.
set -euo pipefail
python=$1 rounds=${2:-2}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r "$root"/{nvmc,passes,runtime,models,tests} "$folder"
cd "$folder"
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
version=$("$python" -c 'import nvmc; print(nvmc.__version__)')
read -ra includes < <("$python" -m pybind11 --includes)
build() { # target, then sources and options
  local target=$1
  shift
  g++ -std=c++20 -g -O1 -fsanitize=thread -fPIC -shared -fvisibility=hidden -ffp-contract=off \
    "${includes[@]}" "$@" -o "$target$suffix"
}
build runtime/provider/_shim -DNVMC_VERSION="\"$version\"" -Iruntime/provider/csrc \
  runtime/provider/csrc/shim.cpp
build runtime/crossbar/_native -Iruntime/crossbar/csrc -Invmc/rng/csrc runtime/crossbar/csrc/*.cpp
build nvmc/rng/_normals -Invmc/rng/csrc nvmc/rng/csrc/normals.cpp
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH="$folder:$folder/tests"
export TSAN_OPTIONS="log_path=$folder/report exitcode=0 report_thread_leaks=0"
# Its shadow memory wants addresses that are not chosen at random.
LD_PRELOAD=$(readlink -f "$(g++ -print-file-name=libtsan.so)") \
  setarch -R "$python" tests/provider_stress.py "$rounds"
reports=$(cat report.* 2>/dev/null || true)
echo "$(grep -c '^WARNING: ThreadSanitizer' <<<"$reports" || true) reports"
if grep -E '(_shim|_native|_normals)\.' <<<"$reports"; then exit 1; fi
echo "none in an extension of nvmc"
