#!/bin/sh
# A few doors to the pra command, for operators and cron. Everything they do, pra does: pra --help
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
pra=$here/.venv/bin/pra

usage() {
    case ${LC_ALL:-${LC_MESSAGES:-${LANG:-}}} in
    fr*) cat <<'END'
usage : quickstart.sh install|daily|test-restore|monitor|status [OPTIONS]

  install       installe, puis met tout en place jusqu'à une première preuve (pra init)
  daily         sauvegarde chaque base, puis regarde l'état de tout (pra backup, pra status)
  test-restore  restaure et prouve la dernière sauvegarde de chaque base (pra verify)
  monitor       regarde toutes les cinq minutes, jusqu'à l'arrêt (pra monitor)
  status        regarde une fois (pra status)
END
        ;;
    *) cat <<'END'
usage: quickstart.sh install|daily|test-restore|monitor|status [OPTIONS]

  install       installs, then sets everything up to a first proof (pra init)
  daily         backs up every database, then looks at everything (pra backup, pra status)
  test-restore  restores and proves the newest backup of every database (pra verify)
  monitor       looks every five minutes, until stopped (pra monitor)
  status        looks once (pra status)
END
        ;;
    esac
}

# The settings are those of the working directory; from cron, which has another, those beside this file.
settle() {
    [ -n "${PRA_CONFIG:-}" ] || [ -f pra.toml ] || cd "$here" || exit 1
    if [ ! -x "$pra" ]; then
        echo "error: pra is not installed" >&2
        echo "hint: Run: $0 install" >&2
        exit 64
    fi
}

# One command for each target, the worst exit code for all: a database that fails keeps none from its turn.
each() {
    names=$("$here/.venv/bin/python" -m deployments.cli.names) || exit $?
    worst=0
    for name in $names; do
        "$pra" "$@" "$name"
        code=$?
        [ "$code" -lt 128 ] || exit "$code"
        if [ "$code" -eq 1 ] || [ "$worst" -eq 0 ]; then worst=$code; fi
    done
}

[ $# -gt 0 ] || { usage >&2; exit 64; }
action=$1
shift
case $action in
install)
    [ -x "$pra" ] || (cd "$here" && sh make/venv.sh) || exit 1
    exec "$pra" init "$@"
    ;;
daily)
    settle
    each backup "$@"
    "$pra" status --all
    code=$?
    if [ "$code" -eq 1 ] || [ "$worst" -eq 0 ]; then worst=$code; fi
    exit "$worst"
    ;;
test-restore)
    settle
    each verify "$@"
    exit "$worst"
    ;;
monitor)
    settle
    exec "$pra" monitor "$@"
    ;;
status)
    settle
    [ $# -gt 0 ] || set -- --all
    exec "$pra" status "$@"
    ;;
-h | --help | help)
    usage
    ;;
*)
    echo "error: no such action: $action" >&2
    usage >&2
    exit 64
    ;;
esac
