"""Is it the same structure? Definitions, extensions, collations, roles; nothing invalid or unvalidated."""

from __future__ import annotations

import json
from collections.abc import Sequence

from checks.content import expected_matviews
from checks.database import bounded, connect, number
from pra.model import CheckResult, Status
from pra.postgres import definitions as ddl
from pra.postgres.connect import postgres_errors
from pra.postgres.facts import Definition, Difference
from pra.restored import RestoredDatabase

GLOBAL_KINDS = frozenset(
    {"role", "role membership", "role setting", "database setting", "tablespace", "parameter"}
)
COLLATION_KIND = "collation version"
EXTENSION_KIND = "extension"
RESULTS = ("definitions", "extensions", "collations", "globals")
# What the check "amcheck" itself puts into a restored database, perhaps while definitions are read.
_AMCHECK = frozenset({("extension", "amcheck"), ("comment", "extension amcheck")})
_DIALS_OUT = ("user mapping", "subscription", "event trigger")
_SHOWN = frozenset({
    "owner", "valid", "validated", "version", "enabled", "grants", "populated", "type", "not null",
    "position", "row security", "forced row security", "persistence", "schema", "labels", "language",
    "volatility", "encoding", "collate", "ctype", "provider", "locale", "login", "superuser",
    "tablespace", "members",
})  # fmt: skip
_APART = GLOBAL_KINDS | {COLLATION_KIND, EXTENSION_KIND}


def definitions(db: RestoredDatabase) -> list[CheckResult]:
    """Every definition against the recorded one, naming what differs; one reading, four answers."""
    with connect(db) as connection:
        found = ddl.read_all(connection)
    return judge(db, found.definitions, found.gaps)


def judge(db: RestoredDatabase, found: Sequence[Definition], gaps: Sequence[str]) -> list[CheckResult]:
    """The four answers about definitions that were read; ``gaps`` names what could not be."""
    expected, observed = _recorded(db), _observed(db, found)
    version = COLLATION_KIND
    return [
        _compared("definitions", _except(expected), _except(observed), gaps),
        _compared("extensions", ddl.of_kind(expected, EXTENSION_KIND), ddl.of_kind(observed, EXTENSION_KIND)),
        _collations(ddl.of_kind(expected, version), ddl.of_kind(observed, version)),
        _compared("globals", ddl.of_kind(expected, *GLOBAL_KINDS), ddl.of_kind(observed, *GLOBAL_KINDS)),
    ]


def _recorded(db: RestoredDatabase) -> list[Definition]:
    """What was recorded, less what this restore left out on purpose (the plan names each)."""
    return [_as_restored(db, d) for d in db.fingerprint.definitions if not _left_out(db, d)]


def _left_out(db: RestoredDatabase, definition: Definition) -> bool:
    """Of a kind that the restore left out, as its plan says by name; or a comment on such a one."""
    kinds = tuple({kind for kind in _DIALS_OUT for named in db.left_out if named.startswith(f"{kind} ")})
    about = definition.identity if definition.kind == "comment" else f"{definition.kind} "
    return bool(kinds) and about.startswith(tuple(f"{kind} " for kind in kinds))


def _observed(db: RestoredDatabase, found: Sequence[Definition]) -> list[Definition]:
    ours = _AMCHECK - {(d.kind, d.identity) for d in db.fingerprint.definitions}
    return [d for d in found if (d.kind, d.identity) not in ours and not _left_out(db, d)]


def _as_restored(db: RestoredDatabase, definition: Definition) -> Definition:
    """A materialized view that reads from a server out of reach has no rows here: known, and in the plan."""
    without = {view.identity for view in db.fingerprint.matviews} - {
        v.identity for v in expected_matviews(db)
    }
    if definition.kind != "materialized view" or definition.identity.replace('"', "") not in without:
        return definition
    return Definition(
        definition.kind, definition.identity, json.dumps({**json.loads(definition.text), "populated": False})
    )


def _except(found: Sequence[Definition]) -> list[Definition]:
    return [d for d in found if d.kind not in _APART]


def _compared(
    name: str, expected: Sequence[Definition], observed: Sequence[Definition], unreadable: Sequence[str] = ()
) -> CheckResult:
    noun = "extension" if name == "extensions" else "definition"
    return _judged(name, noun, expected, observed, ddl.compare(expected, observed), unreadable)


def _judged(
    name: str,
    noun: str,
    expected: Sequence[Definition],
    observed: Sequence[Definition],
    differences: Sequence[Difference],
    unreadable: Sequence[str] = (),
) -> CheckResult:
    was, now = number(len(expected), noun), number(len(observed), noun)
    lines = [line(difference) for difference in differences]
    if lines:
        observed_text = f"{now}; {number(len(lines), 'difference')}"
        return CheckResult(name, Status.FAILED, was, observed_text, lines[0], details=bounded(lines))
    if unreadable:
        reason = f"the role may not read {', '.join(unreadable)}"
        return CheckResult(name, Status.SKIPPED, was, now, reason, details=bounded(unreadable))
    return CheckResult(name, Status.PASSED, was, now)


def line(difference: Difference) -> str:
    """What differs, fit for evidence, which lies unencrypted: DDL may quote data, so of most aspects only
    that they differ is said; names, flags, versions and rights are shown.
    """
    if difference.aspect == "existence":
        absent = difference.observed == "missing"
        return f"{difference.object}: {'missing' if absent else 'not in the backup'}"
    if difference.aspect in _SHOWN:
        return str(difference)
    return f"{difference.object}: {difference.aspect} differs"


def _collations(expected: Sequence[Definition], observed: Sequence[Definition]) -> CheckResult:
    """Collation versions: what the restored database recorded must be what its libraries do now.

    A machine with other libraries than production's sorts otherwise. A logical restore builds its indexes
    anew, so that is no damage: it is said, and does not fail. Recorded and actual must agree, or indexes
    built by one and read by the other are wrong.
    """
    recorded = {d.identity: json.loads(d.text) for d in expected}
    stale, other = [], []
    for definition in observed:
        facts = json.loads(definition.text)
        actual = facts.get("actual", facts.get("recorded"))
        if facts.get("recorded") != actual:
            stale.append(
                f"{definition.identity}: built with {facts.get('recorded')}, the library is {actual}"
            )
        source = recorded.get(definition.identity, {}).get("recorded")
        if source is not None and source != facts.get("recorded"):
            other.append(f"{definition.identity}: {source} in production, {facts.get('recorded')} here")
    expected_text = f"{number(len(recorded), 'version')} recorded"
    if stale:
        return CheckResult(
            "collations", Status.FAILED, expected_text, "stale", stale[0], details=bounded(stale)
        )
    observed_text = f"{number(len(other), 'version')} other than production's" if other else "the same"
    return CheckResult("collations", Status.PASSED, expected_text, observed_text, details=bounded(other))


_INVALID_INDEXES = """
SELECT (pg_identify_object('pg_class'::regclass, i.indexrelid, 0)).identity
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND n.nspname !~ '^pg_' ORDER BY 1
"""
_UNVALIDATED = """
SELECT (pg_identify_object('pg_constraint'::regclass, k.oid, 0)).identity
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
 WHERE NOT k.convalidated AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1
"""


def indexes_valid(db: RestoredDatabase) -> CheckResult:
    """No index is invalid that was valid."""
    return _flags(db, "indexes-valid", "index", "valid", _INVALID_INDEXES)


def constraints_validated(db: RestoredDatabase) -> CheckResult:
    """No constraint is NOT VALID that was validated."""
    return _flags(db, "constraints-validated", "constraint", "validated", _UNVALIDATED)


def _flags(db: RestoredDatabase, name: str, kind: str, flag: str, query: str) -> CheckResult:
    with connect(db) as connection, postgres_errors(f"look for {kind}s that are not {flag}"):
        connection.execute("SET search_path = ''")
        found = [str(row[0]) for row in connection.execute(query.encode())]
    return judge_flags(db, name, kind, flag, found)


def without_flag(found: Sequence[Definition], kind: str, flag: str) -> list[str]:
    """Identities of objects whose flag is not set."""
    return [d.identity for d in ddl.of_kind(found, kind) if json.loads(d.text).get(flag) is False]


def judge_flags(db: RestoredDatabase, name: str, kind: str, flag: str, found: Sequence[str]) -> CheckResult:
    """Those ``found`` without the flag must have lacked it before."""
    facts = ddl.of_kind(db.fingerprint.definitions, kind)
    before = set(without_flag(facts, kind, flag))
    wrong = [f"{kind} {identity} is not {flag}" for identity in found if identity not in before]
    total = number(len(facts) - len(before), kind)
    expected = f"{total} {flag}"
    if not wrong:
        return CheckResult(name, Status.PASSED, expected, f"none that is not {flag}, which was")
    return CheckResult(
        name, Status.FAILED, expected, f"{len(wrong)} not {flag}", wrong[0], details=bounded(wrong)
    )
