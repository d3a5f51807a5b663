#!/usr/bin/env bash
# Style, types and the tests.
#
#   bash scripts/test.sh             everything
#   bash scripts/test.sh --fast      style, types and the tests that take little: under a minute
#   bash scripts/test.sh -k ranking  other arguments go to pytest
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
cd -- "$PROJECT_ROOT"
prepare_environment requirements.txt requirements-test.txt

arguments=()
for argument in "$@"; do
    case "$argument" in
    --fast) arguments+=(-m "not slow and not realdata") ;;
    *) arguments+=("$argument") ;;
    esac
done

"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy

# Two test processes of one thread each: small tensor operations gain nothing from more threads.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MKL_NUM_THREADS="${MKL_NUM_THREADS:-1}"
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}" NUMBA_NUM_THREADS="${NUMBA_NUM_THREADS:-1}"
exec "$PYTHON" -m pytest -n "${SIMMC_TEST_PROCESSES:-2}" --dist worksteal \
    ${arguments[@]+"${arguments[@]}"}
