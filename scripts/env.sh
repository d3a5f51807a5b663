# Sourced by the other scripts: the project's virtual environment, made once and kept up to date.
#
#   . scripts/env.sh
#   prepare_environment requirements.txt [more requirement files]
#
# sets PROJECT_ROOT and PYTHON (the environment's interpreter). Packages are installed only when a
# requirement file has changed since it was last installed in full, so a second call costs nothing
# and an interrupted one is done again.
#
#   SIMMC_PYTHON       the interpreter to build the environment with (default: python3.11, else python3)
#   SIMMC_ENVIRONMENT  another name for the environment's folder (default: .venv)
#   SIMMC_TORCH_INDEX  address of a wheel index to take torch from, for instance PyTorch's CPU one

PROJECT_ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
ENVIRONMENT="$PROJECT_ROOT/${SIMMC_ENVIRONMENT:-.venv}"
PYTHON="$ENVIRONMENT/bin/python"
UNFINISHED="$ENVIRONMENT/installation-unfinished"

_fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

_new_enough() {
    "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

_find_python() {
    local candidate
    if [ -n "${SIMMC_PYTHON:-}" ]; then
        _new_enough "$SIMMC_PYTHON" && { printf '%s\n' "$SIMMC_PYTHON"; return; }
        _fail "SIMMC_PYTHON=$SIMMC_PYTHON is not a Python 3.11 or later; point it at one, or unset it."
    fi
    for candidate in python3.11 python3 python3.12 python3.13; do
        _new_enough "$candidate" && { printf '%s\n' "$candidate"; return; }
    done
    _fail "no Python 3.11 or later was found (looked for python3.11, python3, python3.12, python3.13).
Install one, or set SIMMC_PYTHON to its path, and run this again."
}

_make_environment() {
    # Keep the environment if pip runs and no installation was interrupted: pip takes a half-copied
    # package for an installed one. Otherwise create it again; pip caches its downloads.
    if [ ! -e "$UNFINISHED" ] && _new_enough "$PYTHON" && "$PYTHON" -m pip --version >/dev/null 2>&1; then
        return
    fi
    [ -e "$UNFINISHED" ] && printf 'The last installation was not finished; starting it again.\n'
    local base
    base="$(_find_python)" || exit 2
    printf 'Making the virtual environment %s\n' "$ENVIRONMENT"
    "$base" -m venv --clear "$ENVIRONMENT" || _fail "$base could not make $ENVIRONMENT (see above).
On Debian and Ubuntu the package python3-venv (or python3.11-venv) may be missing; also check the free space."
}

_checksum() {
    "$PYTHON" -c 'import hashlib, sys
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1"
}

_install() {
    local name="$1" file="$PROJECT_ROOT/$1" stamp="$ENVIRONMENT/installed/$1" checksum torch
    checksum="$(_checksum "$file")"
    [ -f "$stamp" ] && [ "$(cat -- "$stamp")" = "$checksum" ] && return
    printf 'Installing %s (only needed when it changes)\n' "$name"
    : >"$UNFINISHED"
    torch="$(grep '^torch==' "$file" || true)"
    if [ -n "${SIMMC_TORCH_INDEX:-}" ] && [ -n "$torch" ]; then
        "$PYTHON" -m pip install --disable-pip-version-check --no-deps \
            --index-url "$SIMMC_TORCH_INDEX" "$torch" ||
            _fail "$torch could not be installed from SIMMC_TORCH_INDEX=$SIMMC_TORCH_INDEX; check the address."
    fi
    "$PYTHON" -m pip install --disable-pip-version-check -r "$file" ||
        _fail "installing $name failed (see above). Check the network and the free space and run this again."
    mkdir -p -- "$ENVIRONMENT/installed"
    printf '%s\n' "$checksum" >"$stamp.new" && mv -- "$stamp.new" "$stamp" && rm -f -- "$UNFINISHED"
}

prepare_environment() {
    local name
    for name in "$@"; do
        [ -r "$PROJECT_ROOT/$name" ] ||
            _fail "$PROJECT_ROOT/$name cannot be read; restore it from the repository."
    done
    _make_environment
    for name in "$@"; do
        _install "$name"
    done
}
