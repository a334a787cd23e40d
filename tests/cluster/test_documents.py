"""The documents' SQL, server settings and harmless commands, run as they stand on the page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.cli.app import run
from pra.model import BACKUP_ID
from pra.timing import utc_now
from tests import documents
from tests.documents import ROOT, Block
from tests.fix_cluster import Cluster
from tests.fix_operator import Operator

SCHEMA = ROOT / "deployments/demo/akig_schema.sql"
# What only reads, of any installation.
HARMLESS = re.compile(
    r"(backups|windows|status|metrics|expire .*--dry-run|gc .*--dry-run|wal check|evidence list"
    r"|ack --list|key sheet|runbook|restore .*--dry-run)\b"
)


@pytest.fixture(scope="module")
def protected_server(pg18: Cluster) -> Iterator[Cluster]:
    """A server of its own, since roles belong to all of it: AKIG's tables, and the role's SQL run."""
    server = Cluster(pg18.bindir)
    try:
        server.start()
        server.createdb("akig")
        server.psql(SCHEMA, "akig")
        [role] = [
            block for block in sql() if "CREATE ROLE" in block.text and block.file.name == "SECURITY.md"
        ]
        typed(server, role.text)
        yield server
    finally:
        server.remove()


def sql() -> list[Block]:
    return documents.blocks("sql")


def typed(server: Cluster, script: str) -> None:
    """What psql is given, without the password that it would ask for."""
    for name in ("pra_akig", "pra_shop"):  # which some of it drops
        server.execute(
            "postgres",
            f"SELECT pg_create_physical_replication_slot('{name}') "
            f"WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{name}')",
        )
    file = server.directory / "typed.sql"
    file.write_text(re.sub(r"^\\password.*$", "", script, flags=re.M))
    server.psql(file, "akig")


@pytest.mark.parametrize(
    "block",
    # What a restore left beside the live tables is mended in test_runbook.py.
    [b for b in sql() if "CREATE ROLE" not in b.text and "restored_2" not in b.text],
    ids=lambda block: block.where,
)
def test_sql_is_accepted_by_a_server(protected_server: Cluster, block: Block) -> None:
    typed(protected_server, block.text)


def test_what_psql_is_told_in_a_command_is_accepted(protected_server: Cluster) -> None:
    """``psql … -c "SELECT …"`` in a shell block."""
    told = {
        words[number + 1]
        for block in documents.blocks("", "sh")
        for words in documents.commands(block.text)
        if words[0] == "psql"
        for number, word in enumerate(words[:-1])
        if re.fullmatch(r"-[A-Za-z]*c", word)
    }
    for script in sorted(told):
        typed(protected_server, script)


@pytest.mark.parametrize("block", documents.blocks("ini"), ids=lambda block: block.where)
def test_server_settings_are_accepted_by_a_server(pg18: Cluster, block: Block) -> None:
    """It says of each line in the file whether it could be read and applied, or needs a restart."""
    file = pg18.pgdata / "documents.conf"
    file.write_text(block.text)
    pg18.configure("include_if_exists = 'documents.conf'")
    try:
        found = pg18.query(
            "postgres",
            "SELECT f.name, f.error, s.context FROM pg_file_settings AS f "
            f"LEFT JOIN pg_settings AS s USING (name) WHERE f.sourcefile = '{file}'",
        )
    finally:
        file.unlink()
    assert len(found) == len(re.findall(r"^\w+ *=", block.text, flags=re.M))
    for name, error, context in found:
        assert error is None or context == "postmaster", f"{name}: {error}"


def test_harmless_commands_run_as_they_are_written(
    operator: Operator,
    pg18: Cluster,
    chinook: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On an installation that has what they ask for: whatever they find, none is refused, none breaks."""
    operator.protect(pg18, chinook, repositories=("local", "offsite"))
    backup_id = operator.pra("backup", "--json").document["backup_id"]
    monkeypatch.chdir(operator.home)
    for name in [name for name in os.environ if name.startswith(("PRA_", "PREFECT_", "PG"))]:
        monkeypatch.delenv(name)
    for name, value in operator.environment.items():
        if name.startswith(("PRA_", "PREFECT_")):
            monkeypatch.setenv(name, value)
    seen = {path.name for path in operator.home.iterdir()}
    ran: dict[str, int] = {}
    for line, argv in harmless().items():
        # A restore is of a backup that there is, into a folder of ours.
        given = [backup_id if BACKUP_ID.fullmatch(word) else word for word in argv]
        ran[line] = run([str(operator.home / Path(word).name) if word[0] == "/" else word for word in given])
        said = capsys.readouterr()
        assert ran[line] in (0, 1, 2), f"{line} ended with {ran[line]}:\n{said.out}\n{said.err}"
        assert "unexpected" not in said.err, f"{line}: {said.err}"
    assert len(ran) >= 10
    assert set(ran.values()) & {0}
    written = {
        word for argv in harmless().values() for word in argv if re.fullmatch(r"[\w-]+\.(html|md)", word)
    }
    assert written <= {path.name for path in operator.home.iterdir()} - seen


def harmless() -> dict[str, list[str]]:
    """By line, the words of every command that only reads. Dumps have no moments to go back to."""
    found: dict[str, list[str]] = {}
    for block in documents.blocks("", "sh"):
        for words in documents.commands(block.text):
            line = " ".join(words[1:])
            if words[0] in ("pra", ".venv/bin/pra") and HARMLESS.match(line) and "--listen" not in words:
                found[line] = words[1:]
    return {
        line: [f"{utc_now():%Y-%m-%d}" if re.fullmatch(r"20\d\d-\d\d-\d\d", word) else word for word in words]
        for line, words in found.items()
        if not {"--to", "--output"} & set(words)
    }
