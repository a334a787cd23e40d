"""What a resumed failover may remove: the directory of a recovery that nobody ever started a server on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pra.errors import UsageError
from pra.failover.server import Place
from pra.postgres.tools import Tools
from pra.proc import Scope
from pra.settings_failover import Failover


def place(directory: Path, scope: Scope) -> Place:
    how = Failover.model_construct(directory=directory)
    return Place(directory, how, Tools(Path("/bin"), 18, "18.1"), scope)


def recovered(directory: Path) -> None:
    directory.mkdir()
    (directory / "postgresql.conf").write_text("# Written at the restore, from what the backup knew\n")


def test_what_was_recovered_and_never_started_is_cleared(tmp_path: Path) -> None:
    recovered(tmp_path / "data")
    with Scope() as scope:
        place(tmp_path / "data", scope).clear()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("file", ["postmaster.opts", "postgresql.conf"])
def test_what_served_or_is_somebody_elses_stays(tmp_path: Path, file: str) -> None:
    """PostgreSQL leaves ``postmaster.opts`` at each start; the other is not of our making."""
    recovered(tmp_path / "data")
    (tmp_path / "data" / file).write_text("theirs\n")
    with Scope() as scope, pytest.raises(UsageError, match="is not empty"):
        place(tmp_path / "data", scope).clear()
    assert (tmp_path / "data" / file).exists()
