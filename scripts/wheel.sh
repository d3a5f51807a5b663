#!/usr/bin/env bash
# Builds the wheel, installs it in an empty environment, and runs its commands from another folder.
#
#   bash scripts/wheel.sh
#
#   SIMMC_PYTHON       the interpreter (default: python3)
#   SIMMC_TORCH_INDEX  address of a wheel index to take torch from
set -euo pipefail
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
place="$(mktemp -d)"
trap 'rm -rf -- "$place"' EXIT

"${SIMMC_PYTHON:-python3}" -m venv "$place/env"
pip=("$place/env/bin/python" -m pip --disable-pip-version-check -q)
mkdir "$place/source"
cp -R "$root"/{pyproject.toml,setup.py,README.md,LICENSE,simmc,configs} "$place/source"
"${pip[@]}" wheel --no-deps -w "$place/wheel" "$place/source"
[ -z "${SIMMC_TORCH_INDEX:-}" ] ||
    "${pip[@]}" install --index-url "$SIMMC_TORCH_INDEX" "$(grep '^torch==' "$root/requirements.txt")"
"${pip[@]}" install -r "$root/requirements.txt" "$place"/wheel/simmc-*.whl

cd -- "$place"
simmc="$place/env/bin/simmc"
# the names of the commands are the first words of the indented lines of the overview
"$simmc" --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p' | while read -r command; do
    [ "$command" = benchmark ] && continue # a script of the source code
    "$simmc" "$command" --help >/dev/null
done
"$simmc" generate --dataset KS20 --raw_root raw --size tiny
"$simmc" preprocess 6 --dataset KS20 --raw_root raw
"$simmc" look KS20 --out page.html # its style and script are files of the package
for method in simmc trackmc; do
    "$simmc" "$method" --dataset KS20 --epochs 2 --part_batches keep
done
"$simmc" report table ReID_Models/KS20/probe
"$simmc" identify --dataset KS20
"$simmc" doctor
ls -l "$place"/wheel/*.whl
