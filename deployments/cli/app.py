"""The command tree, and the one place where an exception becomes an exit code.

Exit: 0 PASS or OK; 1 FAIL or an error; 2 PARTIAL, or one repository of several failed; 64 wrong usage or
configuration; 69 no Prefect API or worker where one was asked for; 75 busy; 130/143 signals.
"""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from deployments.cli import signals
from deployments.cli.output import write_error
from deployments.cli.session import Globals
from deployments.cli.table import group_of
from pra.errors import Interrupted, PraError, UsageError

COMMANDS = {
    "init": "init.command",
    "doctor": "doctor.command",
    "backup": "backup.command",
    "backups": "backups.command",
    "windows": "windows.command",
    "verify": "verify.command",
    "restore": "restore.command",
    "drill": "drill.command",
    "failover": "failover.command",
    "approve": "approve.command",
    "loadtest": "loadtest.command",
    "locate": "locate.command",
    "scrub": "scrub.command",
    "status": "status.status",
    "monitor": "status.monitor",
    "metrics": "metrics.command",
    "ack": "ack.command",
    "runbook": "runbook.command",
    "expire": "housekeeping.expire",
    "gc": "housekeeping.gc",
    "key": "keys.app",
    "wal": "wal.app",
    "evidence": "evidence.app",
    "up": "up.up",
    "down": "up.down",
    "deploy": "deploy.command",
}
"""Every command, in the order of ``pra --help``: ``module.attribute`` below this package."""

app = typer.Typer(
    cls=group_of(COMMANDS),
    name="pra",
    help="Back up PostgreSQL, and prove it: every backup restored, compared and timed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pra {version('pra')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Instead of pra.toml here or PRA_CONFIG.")
    ] = None,
    _traceback: Annotated[
        bool,
        typer.Option("--traceback", help="Show where an unexpected error came from; it may hold row values."),
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version and leave."),
    ] = False,
) -> None:
    context.obj = Globals(config)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    signals.install()
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Run one command and return its exit code; every error has been written by then."""
    as_json = "--json" in argv
    try:
        return _code(typer.main.get_command(app)(args=argv, prog_name="pra", standalone_mode=False))
    except PraError as error:
        return _explain(error, as_json)
    except signals.Stopped as stopped:
        return _explain(Interrupted(stopped.signum), as_json)
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return _explain(Interrupted(signal.SIGINT), as_json)
    except TyperException as error:
        if not error.format_message():  # no command was given, and the help has been shown
            return UsageError.exit_code
        return _explain(_usage(error), as_json)
    except Exception as error:
        if "--traceback" in argv:
            traceback.print_exc()
        return _explain(_unexpected(error), as_json)


def _code(returned: Any) -> int:
    return returned if isinstance(returned, int) else 0


def _explain(error: PraError, as_json: bool) -> int:
    write_error(error, as_json=as_json)
    return error.exit_code


def _usage(error: TyperException) -> PraError:
    message = error.format_message().strip().rstrip(".")
    hint = "See: pra --help"
    context = getattr(error, "ctx", None)
    if context is not None:
        hint = f"See: {context.command_path} --help"
    return UsageError(message[:1].lower() + message[1:], op="read command line", hint=hint)


def _unexpected(error: Exception) -> PraError:
    """A mistake of ours. Its text is not shown: it was not written with secrets and row values in mind."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    where = f"{'/'.join(Path(ours[-1].filename).parts[-3:])}:{ours[-1].lineno}" if ours else "nowhere"
    return PraError(
        f"unexpected {type(error).__name__} in {where}",
        op="run",
        hint="This is a mistake in the software: report it with this line. More with: pra --traceback …",
    )
