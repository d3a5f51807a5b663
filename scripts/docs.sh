#!/usr/bin/env bash
# Builds the website of docs/ in site/. Arguments go to mkdocs: bash scripts/docs.sh serve
# Its packages have an environment of their own (.venv-docs): training needs none of them.
set -euo pipefail
SIMMC_ENVIRONMENT=.venv-docs
. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
cd -- "$PROJECT_ROOT"
prepare_environment requirements-docs.txt

export NO_MKDOCS_2_WARNING=1  # an advertisement for another program
command="${1:-build}"
[ "$#" -gt 0 ] && shift
exec "$PYTHON" -m mkdocs "$command" --strict "$@"
