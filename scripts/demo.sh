#!/usr/bin/env bash
# From raw files to a result on synthetic walkers: needs no data, and takes a few minutes on two cores.
# Everything is written to demo/, which may be deleted.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"
cd -- "$PROJECT_ROOT"

say_generated() {
    printf '\n%s\n%s\n' \
        "GENERATED DATA: the walkers of this demo are synthetic. Its numbers say nothing about real" \
        "people and cannot be compared with the paper."
}

# Shows a command as the user would type it, then runs it.
step() {
    printf '\n$ python %s\n' "$*"
    "$PYTHON" "$@"
}

say_generated
prepare_environment requirements.txt

step -m simmc generate --dataset KS20 --raw_root demo
step Preprocess.py 6 --dataset KS20 --raw_root demo --data_root demo/Datasets
step SimMC.py --dataset KS20 --probe probe --data_root demo/Datasets --model_root demo/ReID_Models \
    --epochs 12
step -m simmc report table demo/ReID_Models/KS20/probe
step -m simmc report cmc demo/ReID_Models/KS20/probe
say_generated
printf '\nTo type such commands yourself: source .venv/bin/activate\n'
printf 'Real data, the next step: "The real thing: KGBD" in README.md\n'
