"""``pg_combinebackup``: a full backup and the incremental ones upon it become one data directory.

The other way, blocks written in place into the full backup, would fit behind the same function: it takes the
same inputs and leaves the same output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pra.errors import IntegrityError, ToolError, ToolTimeout
from pra.postgres.tools import Tools
from pra.proc import Scope

FIRST_MAJOR = 17
_SECONDS = 24 * 3600
_OP = "combine backups"


def combine_argv(
    tools: Tools,
    inputs: Sequence[Path],
    output: Path,
    *,
    tablespaces: Mapping[Path, Path],
    durable: bool,
    one_disk: bool,
) -> tuple[str, ...]:
    """The command line.

    Args:
        inputs: The full backup first.
        tablespaces: From the newest input's place to the final one.
        one_disk: Inputs and output share a file system: unchanged files need not be copied. The inputs are
            spent by that, since a linked file is the same one.
    """
    # Checksums would be computed for a manifest that nobody reads: the inputs were verified on arrival.
    how = ("--link",) if tools.major >= 18 else ("--copy-file-range",)
    return (
        tools.path("pg_combinebackup"),
        "--no-manifest",
        *(how if one_disk else ()),
        *(() if durable else ("--no-sync",)),
        *(f"--tablespace-mapping={_escaped(old)}={_escaped(new)}" for old, new in tablespaces.items()),
        f"--output={output}",
        *map(str, inputs),
    )


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace("=", "\\=")


def combine(
    scope: Scope,
    tools: Tools,
    inputs: Sequence[Path],
    output: Path,
    *,
    tablespaces: Mapping[Path, Path],
    durable: bool,
) -> None:
    """Reconstruct the newest state in ``output``. The inputs are spent.

    Raises:
        IntegrityError: The inputs do not fit together. ToolError: It could not be done.
    """
    places = (*inputs, output.parent, *tablespaces, *(place.parent for place in tablespaces.values()))
    one_disk = len({place.stat().st_dev for place in places}) == 1
    argv = combine_argv(tools, inputs, output, tablespaces=tablespaces, durable=durable, one_disk=one_disk)
    try:
        scope.run(argv, op=_OP, timeout=_SECONDS, env={**tools.env(), "LC_ALL": "C"})
    except ToolTimeout:
        raise
    except ToolError as error:
        if scope.closed or "No space left" in f"{error.message}{error.stderr}":
            raise
        raise IntegrityError(
            error.message, op=_OP, hint="Take another backup or another repository's copy."
        ) from None
