#!/bin/sh
# A door to pra loadtest, which times backups and restores and puts load on the restored database.
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
[ -n "${PRA_CONFIG:-}" ] || [ -f pra.toml ] || cd "$here" || exit 1
if [ ! -x "$here/.venv/bin/pra" ]; then
    echo "error: pra is not installed" >&2
    echo "hint: Run: $here/quickstart.sh install" >&2
    exit 64
fi
exec "$here/.venv/bin/pra" loadtest "$@"
