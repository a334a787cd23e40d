"""What the backup role cannot see, found before the backup instead of missed after the restore.

``pg_dump`` stops at a table it may not read, but leaves out user-mapping options without a word and
subscriptions with a warning: exit status 0 either way. So the catalogues, which every role may read, are
compared with what this role may do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from pra.errors import RightsError
from pra.postgres.connect import Connection, one_value, postgres_errors

Severity = Literal["blocking", "silent"]
SHOWN = 20


@dataclass(frozen=True)
class Gap:
    """Something that a backup by this role lacks.

    Attributes:
        object: What it is about, by its full name.
        what: One lowercase fact.
        grant_sql: What closes it, to be run by its owner or a superuser; a comment where no grant can.
        severity: ``blocking`` stops the dump; ``silent`` would leave it incomplete without an error.
    """

    object: str
    what: str
    grant_sql: str
    severity: Severity


# What a dump or a digest reads: not foreign tables (their rows live elsewhere), not views, not temporary
# tables, and of extensions only their configuration tables.
_RELATIONS = """
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname), c.relkind::text,
       has_schema_privilege(n.oid, 'USAGE'),
       CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
                      ELSE has_table_privilege(c.oid, 'SELECT') END,
       c.relkind IN ('r', 'p') AND row_security_active(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                   AND d.deptype = 'e')
       OR EXISTS (SELECT FROM pg_extension AS e WHERE c.oid = ANY (e.extconfig)))
ORDER BY 1, 2
"""
# has_largeobject_privilege() came with 18; the access lists can be read on all.
_LARGE_OBJECTS = """
SELECT l.oid::int8 FROM pg_largeobject_metadata AS l
WHERE current_setting('lo_compat_privileges') = 'off' AND NOT pg_has_role(l.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM aclexplode(l.lomacl) AS x WHERE x.privilege_type = 'SELECT'
                  AND (x.grantee = 0 OR pg_has_role(x.grantee, 'USAGE')))
ORDER BY 1
"""
_MAPPINGS = """
SELECT CASE m.umuser WHEN 0 THEN 'public' ELSE pg_get_userbyid(m.umuser)::text END, m.srvname
FROM pg_user_mappings AS m WHERE m.umoptions IS NULL ORDER BY 2, 1
"""
_SUBSCRIPTIONS = """
SELECT s.subname FROM pg_subscription AS s
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1
"""


def gaps(conn: Connection) -> list[Gap]:
    """Compare the catalogues with what the session's role may read. A superuser has none.

    Raises:
        PostgresError: The server refused to say.
    """
    with postgres_errors("check rights"):
        role = str(one_value(conn, "SELECT current_user::text"))
        if one_value(conn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            return []
        return [
            *_relation_gaps(conn, role),
            *_large_object_gaps(conn, role),
            *_hidden_gaps(conn),
            *_server_gaps(conn, role),
        ]


def require(found: list[Gap], op: str) -> None:
    """Stop where a gap would stop the dump.

    Raises:
        RightsError: It names the objects and the SQL that helps.
    """
    blocking = [gap for gap in found if gap.severity == "blocking"]
    if not blocking:
        return
    named = "; ".join(f"{gap.what}: {gap.object}" for gap in blocking[:SHOWN])
    more = f"; and {len(blocking) - SHOWN} more" if len(blocking) > SHOWN else ""
    remedies = list(dict.fromkeys(gap.grant_sql for gap in blocking))
    raise RightsError(named + more, op=op, hint="Run as a superuser: " + " ".join(remedies[:SHOWN]))


def _text(conn: Connection, template: sql.Composed) -> str:
    return template.as_string(conn)


def _relation_gaps(conn: Connection, role: str) -> list[Gap]:
    found: list[Gap] = []
    closed: set[str] = set()
    for schema, name, shown, relkind, usable, readable, filtered in conn.execute(_RELATIONS).fetchall():
        place, to = sql.Identifier(schema, name), sql.Identifier(role)
        kind = {"S": "sequence", "m": "materialized view"}.get(relkind, "table")
        label = f"{kind} {shown}"
        if not usable and schema not in closed:
            closed.add(schema)
            grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(sql.Identifier(schema), to)
            found.append(
                Gap(
                    f"schema {schema}", "no USAGE on a schema that holds data", _text(conn, grant), "blocking"
                )
            )
        if not readable:
            what = sql.SQL("SEQUENCE" if relkind == "S" else "TABLE")
            grant = sql.SQL("GRANT SELECT ON {} {} TO {};").format(what, place, to)
            found.append(Gap(label, "no SELECT", _text(conn, grant), "blocking"))
        if filtered:
            grant = sql.SQL("ALTER ROLE {} BYPASSRLS;").format(to)
            found.append(Gap(label, "row security would hide rows", _text(conn, grant), "blocking"))
    return found


def _large_object_gaps(conn: Connection, role: str) -> list[Gap]:
    hidden = [oid for (oid,) in conn.execute(_LARGE_OBJECTS).fetchall()]
    if not hidden:
        return []
    named = ", ".join(map(str, hidden[:SHOWN])) + (", …" if len(hidden) > SHOWN else "")
    grant = sql.SQL(
        "DO {quote} DECLARE number oid; BEGIN FOR number IN SELECT oid FROM pg_largeobject_metadata LOOP "
        "EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', number, {name}); END LOOP; END {quote};"
    ).format(name=sql.Literal(role), quote=_block_quote(role))
    label = f"{len(hidden)} large object{'s' * (len(hidden) > 1)} ({named})"
    return [Gap(label, "no SELECT", _text(conn, grant), "blocking")]


def _block_quote(inside: str) -> sql.SQL:
    """A dollar quote that does not end within the block: ``$do$`` where the text has none."""
    tag = "do"
    while f"${tag}$" in inside:
        tag += "_"
    return sql.SQL(f"${tag}$")


def _hidden_gaps(conn: Connection) -> list[Gap]:
    """What only a superuser dumps, whatever is granted."""
    note = "-- No grant helps: dump as a superuser, or keep the statement that made it."
    return [
        *(
            Gap(f"user mapping for {user} on server {server}", "options are hidden", note, "silent")
            for user, server in conn.execute(_MAPPINGS).fetchall()
        ),
        *(
            Gap(f"subscription {name}", "not dumped for a role that is no superuser", note, "silent")
            for (name,) in conn.execute(_SUBSCRIPTIONS).fetchall()
        ),
    ]


def _server_gaps(conn: Connection, role: str) -> list[Gap]:
    to = sql.Identifier(role)
    found = []
    if not one_value(conn, "SELECT has_table_privilege('pg_authid', 'SELECT')"):
        grant = sql.SQL("GRANT pg_read_all_data TO {};").format(to)
        found.append(Gap("roles", "passwords are not readable", _text(conn, grant), "silent"))
    if not one_value(conn, "SELECT pg_has_role('pg_read_all_settings', 'USAGE')"):
        grant = sql.SQL("GRANT pg_read_all_settings TO {};").format(to)
        found.append(Gap("server settings", "some are not readable", _text(conn, grant), "silent"))
    return found


def least_privilege_sql(role: str, database: str) -> str:
    """The SQL that makes a backup role with no more rights than a whole backup needs.

    To be run by a superuser in the database itself. BYPASSRLS matters only where tables have row security,
    the last statement only where there are large objects: it must be repeated when new ones are made.
    """
    values = {
        "role": sql.Identifier(role), "name": sql.Literal(role), "database": sql.Identifier(database),
        "quote": _block_quote(role),
    }  # fmt: skip
    return (
        sql.SQL(
            "CREATE ROLE {role} LOGIN CONNECTION LIMIT 20;\n"
            "\\password {role}\n"
            "GRANT CONNECT ON DATABASE {database} TO {role};\n"
            "GRANT pg_read_all_data, pg_read_all_settings TO {role};\n"
            "ALTER ROLE {role} BYPASSRLS;\n"
            "DO {quote} DECLARE number oid; BEGIN\n"
            "    FOR number IN SELECT oid FROM pg_largeobject_metadata LOOP\n"
            "        EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', number, {name});\n"
            "    END LOOP;\n"
            "END {quote};\n"
        )
        .format(**values)
        .as_string(None)
    )
