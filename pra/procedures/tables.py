"""Bring back chosen tables beside the live ones, in a schema of their own.

Definitions of the whole backup and the data of the chosen tables go into a sandbox; there the tables are
compared with what was saved, moved into the new schema, and dumped out of it into the live database in one
transaction. Foreign keys, triggers, rules and policies stay behind: a copy to look at and to take rows
from must neither refuse nor fire.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from psycopg import errors, sql

from pra.engines import contents, logical_restore
from pra.errors import UsageError
from pra.manifest import Manifest
from pra.model import CheckResult, Status
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Connection, Server, one_value, postgres_errors
from pra.postgres.tools import restore_argv
from pra.procedures import verify
from pra.procedures.context import Context
from pra.procedures.judging import VerifyReport, conclude
from pra.procedures.session import Choice, Session, fetch, open_session

# What would refuse, fire, publish or dial out; and comments and grants, which may be about one of them.
LEFT_BEHIND = frozenset({
    "FK CONSTRAINT", "TRIGGER", "EVENT TRIGGER", "RULE", "POLICY", "ROW SECURITY", "PUBLICATION",
    "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "SUBSCRIPTION", "SUBSCRIPTION TABLE", "USER MAPPING",
    "MATERIALIZED VIEW DATA", "BLOB", "BLOBS", "BLOB METADATA", "BLOB COMMENTS", "COMMENT", "ACL",
    "DEFAULT ACL", "SECURITY LABEL",
})  # fmt: skip
_PARENTS = """
SELECT n.nspname, c.relname, k.relispartition
  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhparent
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid
 WHERE i.inhrelid = %s::regclass
"""
_FAMILY = """
SELECT n.nspname, c.relname, c.relkind::text,
       convert_to(n.nspname || ' ' || c.relname || ' ', getdatabaseencoding())
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(to_regclass(%s))
                 UNION SELECT to_regclass(%s))
"""


@dataclass(frozen=True)
class Member:
    """One table to bring back: asked for, or a partition of one that was.

    Attributes:
        listed: How an archive's table of contents names it, read as UTF-8 whatever it is in.
    """

    schema: str
    name: str
    leaf: bool
    listed: str

    @property
    def identity(self) -> str:
        return f"{self.schema}.{self.name}"


def schema_name(backup_id: str) -> str:
    """The schema beside the live ones: ``restored_20261122t070955z_3f9c``."""
    moment, _, rest = backup_id.partition("-")
    return f"restored_{moment.lower()}_{rest.rsplit('-', 1)[-1]}"


def run(context: Context, choice: Choice, server: Server, names: Sequence[str]) -> tuple[VerifyReport, str]:
    """Restore the named tables into a new schema of ``server``.

    Args:
        names: ``schema.table``, or ``table`` for one in ``public``.

    Returns:
        The report, whose checks are about these tables alone, and the schema's name.

    Raises:
        UsageError: No such table, or the schema is already there. Nothing was written.
        RestoreError, ToolError: The copy could not be made; the live database is as it was.
    """
    schema = schema_name(choice.backup_id)
    with open_session(context, choice, kind="restore") as this:
        check_live(this.manifest, server, schema)
        verify.preflight(this)
        fetch(this)
        with this.timeline.phase("restore"):
            source = _load_definitions(this)
            members = members_of(source, names)
            _load_data(this, source, members)
            saved = expected_of(this)
            there = {m.identity: m.identity for m in members}
            results = [compare(saved, source, members, there, "tables saved")]
            cut_loose(source, members)
            move(source, members, schema)
            copy_out(this, source, server, schema)
        moved = {f"{schema}.{m.name}": m.identity for m in members}
        results.append(compare(saved, server, members, moved, "tables restored"))
        extra = {"destination": f"{server.place}, schema {schema}", "tables": [m.identity for m in members]}
        return conclude(this, results, required=("tables saved", "tables restored"), extra=extra), schema


def check_live(manifest: Manifest, server: Server, schema: str) -> None:
    """Refuse before anything is fetched. Raises UsageError."""
    with server.connect() as connection:
        there = one_value(connection, "SELECT to_regnamespace(quote_ident(%s))", schema) is not None
        major = connection.info.server_version // 10000
    if there:
        raise UsageError(
            f"the schema {schema} is already there",
            op="check destination",
            hint=f"Look at it, then: DROP SCHEMA {schema} CASCADE;",
        )
    source = manifest.server.version_num // 10000
    if major < source:
        raise UsageError(
            f"the destination is PostgreSQL {major}, the backup is from {source}",
            op="check destination",
            hint="Restore tables into the same major version, or a newer one.",
        )


def _restore(this: Session) -> logical_restore.Restore:
    assert this.fetched is not None
    assert this.sandbox is not None
    box = this.sandbox
    return logical_restore.Restore(
        this.fetched, this.manifest, box.server, box.tools, this.context.scope, jobs=2
    )


def _load_definitions(this: Session) -> Server:
    assert this.sandbox is not None
    box = this.sandbox
    work = _restore(this).at(logical_restore.make_room(box.server, this.manifest.database))
    work.apply_globals(in_place_tablespaces=True, existing=frozenset({box.bootstrap_role}))
    work.restore_lines(_wanted(work.listing(create=True, section="pre-data")), create=True)
    return box.server.with_database(this.manifest.database)


def _wanted(listing: Sequence[str]) -> list[str]:
    return contents.without(listing, LEFT_BEHIND.__contains__)


def members_of(server: Server, names: Sequence[str]) -> list[Member]:
    """The named tables with their partitions, as they are in the backup."""
    members: list[Member] = []
    with server.connect() as connection:
        for name in names:
            found = _family(connection, name)
            if not found:
                raise UsageError(
                    f"the backup holds no table {name}",
                    op="choose tables",
                    hint="Write schema.table; quote what needs quotes, as in 'public.\"Order\"'.",
                )
            members += [member for member in found if member not in members]
    if len({member.name for member in members}) != len(members):
        raise UsageError(
            "two of these tables have the same name",
            op="choose tables",
            hint="Restore them one after the other.",
        )
    return members


def _family(connection: Connection, name: str) -> list[Member]:
    written = name if "." in name else f"public.{name}"
    try:
        rows = connection.execute(_FAMILY, (written, written)).fetchall()
    except (errors.SyntaxError, errors.InvalidName, errors.FeatureNotSupported):
        return []  # not the form of a table's name
    return [
        Member(schema, table, kind == "r", bytes(raw).decode(errors="replace"))
        for schema, table, kind, raw in rows
        if kind in ("r", "p")
    ]


def _load_data(this: Session, source: Server, members: Sequence[Member]) -> None:
    """The members' rows, then indexes and constraints of everything: without rows the others cost nothing."""
    work = _restore(this)
    rows = [
        line
        for line in work.listing(create=False, section="data")
        if contents.kind_of(line) == "SEQUENCE SET"
        or (
            contents.kind_of(line) == "TABLE DATA"
            and contents.rest_of(line).startswith(tuple(member.listed for member in members))
        )
    ]
    afterwards = _wanted(work.listing(create=False, section="post-data"))
    work.at(source).restore_lines([*rows, *afterwards], create=False)


def cut_loose(source: Server, members: Sequence[Member]) -> None:
    """Part the members from parents that stay behind: a copy must never become a child of the live table."""
    ours = {(member.schema, member.name) for member in members}
    with source.connect() as connection, postgres_errors("part tables from their parents"):
        for member in members:
            table = sql.Identifier(member.schema, member.name)
            for schema, name, partition in connection.execute(
                _PARENTS, (table.as_string(connection),)
            ).fetchall():
                if (schema, name) in ours:
                    continue
                parent = sql.Identifier(schema, name)
                command = (
                    sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(parent, table)
                    if partition
                    else sql.SQL("ALTER TABLE {} NO INHERIT {}").format(table, parent)
                )
                connection.execute(command)


def move(source: Server, members: Sequence[Member], schema: str) -> None:
    with source.connect() as connection, postgres_errors("move tables"):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        for member in members:
            connection.execute(
                sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                    sql.Identifier(member.schema, member.name), sql.Identifier(schema)
                )
            )


def copy_out(this: Session, source: Server, server: Server, schema: str) -> None:
    """Dump the schema out of the sandbox into the live database, in one transaction."""
    assert this.tools is not None
    archive = this.work / "tables.dump"
    scope, tools = this.context.scope, this.tools
    scope.run(
        (
            tools.path("pg_dump"),
            "--format=custom",
            "--compress=0",
            "--no-owner",
            "--no-privileges",
            "--no-publications",
            f"--schema={sql.Identifier(schema).as_string()}",
            f"--file={archive}",
            f"--dbname={source.dsn}",
        ),
        op="copy tables",
        timeout=logical_restore.RESTORE_SECONDS,
        env={**tools.env(), **source.tool_env()},
    )
    listed = scope.run(
        (tools.path("pg_restore"), "--list", str(archive)), op="copy tables", timeout=600, env=tools.env()
    )
    chosen = this.work / "tables.list"
    chosen.write_text("\n".join(_wanted(listed.stdout.splitlines())) + "\n")
    argv = restore_argv(tools, server, archive, jobs=1, use_list=chosen)
    scope.run(
        (*argv[:1], "--single-transaction", "--no-owner", *argv[1:]),
        op="copy tables",
        timeout=logical_restore.RESTORE_SECONDS,
        env={**tools.env(), **server.tool_env()},
        secrets=server.secrets,
    )


def expected_of(this: Session) -> fp.Fingerprint:
    assert this.fetched is not None
    return this.fetched.fingerprint


def digests(server: Server, names: Container[str], depth: fp.Depth) -> fp.Fingerprint:
    """Rows and digests of these tables (``schema.table``) alone."""
    return fp.take(
        lambda: server.connect(statement_seconds=0),
        depth=depth,
        sequences=(),
        with_definitions=False,
        only=lambda schema, table: f"{schema}.{table}" in names,
    )


def compare(
    saved_as: fp.Fingerprint, server: Server, members: Sequence[Member], saved: dict[str, str], name: str
) -> CheckResult:
    """Rows and digests of these tables against a fingerprint. ``saved`` maps where they are to what was.

    ``skipped`` where the backup holds none: that says nothing about the tables.
    """
    if saved_as.depth == "none":
        reason = "the backup carries definitions only (digest_every): nothing to compare rows with"
        return CheckResult(name, Status.SKIPPED, f"{len(members)} tables as they were saved", reason=reason)
    expected = {table.identity: table for table in saved_as.tables}
    observed = digests(server, saved, saved_as.depth)
    found = {saved[table.identity]: table for table in observed.tables}
    wrong = [
        f"{member.identity}: {_what(expected.get(member.identity), found.get(member.identity))}"
        for member in members
        if member.leaf and not _same(expected.get(member.identity), found.get(member.identity))
    ]
    rows = sum(table.rows for table in found.values())
    was = sum(expected[m.identity].rows for m in members if m.identity in expected)
    return CheckResult(
        name,
        Status.FAILED if wrong else Status.PASSED,
        expected=f"{len(members)} tables, {was:,} rows",
        observed=f"{len(found)} tables, {rows:,} rows",
        reason=wrong[0] if wrong else "",
        details=tuple(wrong[:50]),
    )


def _same(expected: fp.TableDigest | None, observed: fp.TableDigest | None) -> bool:
    if expected is None or observed is None:
        return False
    return (expected.rows, expected.digest) == (observed.rows, observed.digest)


def _what(expected: fp.TableDigest | None, observed: fp.TableDigest | None) -> str:
    if expected is None:
        return "is not in the fingerprint"
    if observed is None:
        return "is missing"
    if expected.rows != observed.rows:
        return f"{observed.rows:,} rows, expected {expected.rows:,}"
    return "content differs"
