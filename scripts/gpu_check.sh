#!/usr/bin/env bash
# Everything that needs a GPU, in one visit of at most 8 minutes: tests, times, a record.
#
#   bash scripts/gpu_check.sh                          on an NVIDIA GPU; results in gpu_check/
#   bash scripts/gpu_check.sh --kgbd kgbd-raw.tar.xz   times on the real KGBD, not on walkers
#   bash scripts/gpu_check.sh --device cpu --small     tries the script itself, without a GPU
#
# It installs nothing. SIMMC_PYTHON names the interpreter, one whose torch has CUDA (default: python3).
# docs/benchmark.md explains the parts; --help lists all flags.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
exec "${SIMMC_PYTHON:-python3}" -m benchmarks.gpu_check "$@"
