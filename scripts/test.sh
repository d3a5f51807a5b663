#!/usr/bin/env bash
# Style, types and the whole test suite. Arguments go to pytest: bash scripts/test.sh -k ranking
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
cd -- "$PROJECT_ROOT"
prepare_environment requirements.txt requirements-test.txt

"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy

# Two test processes of one thread each: small tensor operations gain nothing from more threads.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MKL_NUM_THREADS="${MKL_NUM_THREADS:-1}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}" NUMBA_NUM_THREADS="${NUMBA_NUM_THREADS:-1}"
exec "$PYTHON" -m pytest -n "${SIMMC_TEST_PROCESSES:-2}" --dist worksteal "$@"
