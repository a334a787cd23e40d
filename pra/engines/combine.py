"""``pg_combinebackup``: a full backup and the incremental ones upon it become one data directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pra.postgres.tools import Tools
from pra.proc import Scope


def combine_argv(
    tools: Tools, inputs: Sequence[Path], output: Path, *, tablespaces: Mapping[Path, Path], durable: bool
) -> tuple[str, ...]:
    """``inputs``: the full backup first. ``tablespaces``: from the newest input's place to the final one."""
    raise NotImplementedError


def combine(
    scope: Scope,
    tools: Tools,
    inputs: Sequence[Path],
    output: Path,
    *,
    tablespaces: Mapping[Path, Path],
    durable: bool,
) -> None:
    """Reconstruct the newest state in ``output``.

    Raises:
        IntegrityError: The inputs do not fit together. ToolError: It could not be done.
    """
    raise NotImplementedError
