"""Business rules: suites in YAML, run by Great Expectations in a child process. Only counts come back."""

from __future__ import annotations

import difflib
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from checks.database import number
from checks.names import EXPECTATIONS
from pra import proc
from pra.errors import ToolError, UsageError
from pra.model import CheckResult, Status
from pra.postgres.connect import Server
from pra.redact import redact
from pra.settings import Target

SCHEMA = "pra-suite/1"
SUITES = Path(__file__).parent / "suites"
SECONDS = 3600
_OP = "read suite"
_ROOT = Path(__file__).resolve().parents[1]
_TABLE = re.compile(r"[^.\s]+(\.[^.\s]+)?")


@dataclass(frozen=True)
class Rule:
    """One sentence that must hold. ``type`` is an expectation's name, or ``no_rows`` with ``query``."""

    says: str
    type: str
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class TableRules:
    table: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Suite:
    name: str
    tables: tuple[TableRules, ...]


def load_suites(target: Target) -> tuple[Suite, ...]:
    """Read the suites that a target names: a path, or a name below ``checks/suites``.

    Raises:
        UsageError: A suite is missing, unreadable, or says something that is not a rule. Call it in
            preflight: a mistake must not wait for the night.
    """
    suites = tuple(load_suite(_find(named)) for named in target.suites)
    names = [suite.name for suite in suites]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two suites are called {name!r}", op=_OP, hint="Give each its own name.")
    return suites


def _find(named: Path | str) -> Path:
    given = Path(named)
    own = SUITES / f"{named}.yaml"
    if given.suffix not in (".yaml", ".yml") and own.is_file():
        return own
    if given.is_file():
        return given
    known = ", ".join(sorted(path.stem for path in SUITES.glob("*.yaml")))
    raise UsageError(
        f"no such suite: {str(named)!r}", op=_OP, hint=f"Give a path to a YAML file, or one of: {known}."
    )


def load_suite(path: Path) -> Suite:
    """Read one suite.

    Raises:
        UsageError: As `load_suites`.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {type(error).__name__}", op=_OP) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path} is not YAML{where}", op=_OP, hint="Correct the line.") from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        _wrong(path, f"is not a suite: it has no 'schema: {SCHEMA}'")
    unknown = set(raw) - {"schema", "name", "tables"}
    if unknown:
        _wrong(path, f"has an unknown key {sorted(map(str, unknown))[0]!r}")
    name, tables = raw.get("name"), raw.get("tables")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        _wrong(path, "has no name of a-z, 0-9 and -")
    if not isinstance(tables, dict) or not tables:
        _wrong(path, "names no table")
    return Suite(name, tuple(_table(path, str(table), rules) for table, rules in tables.items()))


def _table(path: Path, table: str, rules: Any) -> TableRules:
    if not _TABLE.fullmatch(table):
        _wrong(path, f"names {table!r}, which is neither table nor schema.table")
    if not isinstance(rules, list) or not rules:
        _wrong(path, f"has no list of rules for {table}")
    made = tuple(_rule(path, table, rule) for rule in rules)
    sentences = [rule.says for rule in made]
    if len(set(sentences)) < len(sentences):
        _wrong(path, f"says the same sentence twice for {table}")
    return TableRules(table, made)


def _rule(path: Path, table: str, raw: Any) -> Rule:
    if not isinstance(raw, dict) or not isinstance(raw.get("says"), str) or len(raw) != 2:
        _wrong(path, f"has a rule for {table} that is not 'says' and one expectation")
    says = raw["says"]
    kind, kwargs = next((key, value) for key, value in raw.items() if key != "says")
    if kind == "no_rows":
        if not isinstance(kwargs, str) or not re.match(r"(?i)\s*(select|with)\b", kwargs):
            _wrong(path, f"has a rule for {table} ({says}) whose no_rows is not a SELECT")
        return Rule(says, kind, {"query": kwargs})
    if kind not in EXPECTATIONS:
        near = difflib.get_close_matches(str(kind), ["no_rows", *EXPECTATIONS], 1)
        _wrong(path, f"has an unknown expectation {kind!r}", f"Did you mean {near[0]!r}?" if near else "")
    if not isinstance(kwargs, dict):
        _wrong(path, f"has a rule for {table} ({says}) without parameters")
    return Rule(says, kind, kwargs)


def _wrong(path: Path, what: str, hint: str = "") -> Any:
    example = SUITES / "akig.yaml"
    raise UsageError(f"{path} {what}", op=_OP, hint=hint or f"Compare it with {example}.")


def check_parameters(suites: Sequence[Suite]) -> None:
    """Build every expectation in the child, without a database (about 3 s).

    Raises:
        UsageError: A parameter is unknown, missing or of the wrong type.
    """
    with proc.Scope() as scope:
        wrong = _ask({"dsn": None, "suites": _plain(suites)}, scope, op="check suites", seconds=120)["wrong"]
    if wrong:
        first = wrong[0]
        raise UsageError(
            f"suite {first['suite']}: {first['table']} ({first['says']}): {redact(first['error'])}",
            op=_OP,
            hint="Correct the expectation's parameters.",
        )


def run_suites(
    suites: Sequence[Suite], server: Server, scope: proc.Scope, *, seconds: float = SECONDS
) -> list[CheckResult]:
    """One result for each table of each suite. ``seconds`` limits the whole run.

    Raises:
        ToolError: The child could not run.
    """
    if not suites:
        return []
    job = {"dsn": sqlalchemy_url(server, seconds), "suites": _plain(suites)}
    found = _ask(job, scope, op="run suites", seconds=seconds)
    return [_result(table) for table in found["tables"]]


def result_name(suite: str, table: str) -> str:
    return f"rules:{suite}/{table}"


def _result(table: dict[str, Any]) -> CheckResult:
    name, rules = result_name(table["suite"], table["table"]), table["rules"]
    if table["error"]:
        return CheckResult(
            name, Status.FAILED, "the table is there", table["error"], f"{table['error']}: {table['table']}"
        )
    broken = [rule for rule in rules if not rule["held"]]
    details = tuple(_detail(rule) for rule in broken)
    expected = f"{number(len(rules), 'rule')} hold{'s' if len(rules) == 1 else ''}"
    observed = f"{len(rules) - len(broken)} hold, {len(broken)} do not" if broken else expected
    status = Status.FAILED if broken else Status.PASSED
    return CheckResult(name, status, expected, observed, details[0] if details else "", details=details)


def _detail(rule: dict[str, Any]) -> str:
    if rule["error"]:
        return f"{rule['says']}: could not be asked: {redact(rule['error'])}"
    if rule["unexpected"] is None:
        return f"{rule['says']}: does not hold"
    if rule["of"] is not None:
        return f"{rule['says']}: {rule['unexpected']} of {rule['of']} rows break it"
    verb = "breaks" if rule["unexpected"] == 1 else "break"
    return f"{rule['says']}: {number(rule['unexpected'], 'row')} {verb} it"


def _plain(suites: Sequence[Suite]) -> list[dict[str, Any]]:
    return [
        {
            "name": suite.name,
            "tables": [
                {
                    "table": t.table,
                    "rules": [{"says": r.says, "type": r.type, "kwargs": r.kwargs} for r in t.rules],
                }
                for t in suite.tables
            ],
        }
        for suite in suites
    ]


def _ask(job: dict[str, Any], scope: proc.Scope, *, op: str, seconds: float) -> Any:
    """Run the child. The job goes through stdin: a DSN has no place in an argv."""
    with tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(job, default=str).encode())
        stdin.seek(0)
        done = scope.run(
            [sys.executable, "-m", "checks._gx_child"],
            op=op,
            timeout=seconds,
            cwd=_ROOT,
            stdin=stdin,
            env={"GX_ANALYTICS_ENABLED": "false", "PYTHONWARNINGS": "ignore"},
        )
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise ToolError("the child that runs the suites gave no answer", op=op, stderr=done.stderr) from None


def sqlalchemy_url(server: Server, seconds: float = SECONDS) -> str:
    """A server as SQLAlchemy and Great Expectations take it, password included: for the child's stdin alone.

    A socket directory goes into the query, behind the host ``localhost``: Great Expectations refuses a URL
    without a host. The session is read-only and each statement limited: a suite asks, it never changes.
    """
    words = server.words()
    password = f":{quote(server.password, safe='')}" if server.password else ""
    user, database = (quote(words.pop(w, "postgres"), safe="") for w in ("user", "dbname"))
    limits = f"-c statement_timeout={int(seconds * 1000)} -c default_transaction_read_only=on"
    words["options"] = f"{words.get('options', '')} {limits}".strip()
    return f"postgresql+psycopg://{user}{password}@localhost/{database}?{urlencode(words, quote_via=quote)}"
