"""Settings and facts become what a template sees."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from markupsafe import Markup
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pra.drill.scenarios import SCENARIOS
from pra.report.markdown import text
from pra.report.words import Words
from pra.runbook.facts import Facts, TargetFacts
from pra.runbook.view import Escalation, Proof, Rehearsal, RepositoryView, TargetView, View, Way
from pra.settings import Repository, Settings, Target
from pra.settings_alerts import Route
from pra.watch.metrics.facts import Fact

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_MARGIN = 1.5
"""The real recovery may take so many times as long as the one that was measured."""


def plain(words: str) -> Markup:
    """As it is, on one line: for a code block, which nothing in it may end."""
    return Markup(" ".join(words.replace("```", "").split()))


def code(words: str) -> Markup:
    """As inline code; as plain text where backticks, bars or backslashes would end or change it."""
    words = " ".join(words.split())
    return Markup(text(words)) if not words or set("`|\\") & set(words) else Markup(f"`{words}`")


def shell(word: str) -> Markup:
    """As one word of a shell command, on one line."""
    return Markup(shlex.quote(str(plain(word))))


def view_of(settings: Settings, facts: Facts | None, words: Words) -> View:
    """Put settings and facts into words."""
    known: Mapping[str, TargetFacts] = facts.targets if facts else {}
    targets = tuple(
        _target(settings, target, known.get(target.name, TargetFacts()), words)
        for target in settings.targets.values()
    )
    alerts = settings.alerts
    routes = (("P1", alerts.p1), ("P2", alerts.p2), ("P3", alerts.p3))
    seen = View(
        organisation=settings.runbook.organisation or "",
        authority=settings.runbook.authority,
        repair_for=brief(settings.runbook.repair_for, words),
        targets=targets,
        repositories=tuple(_repository(each) for each in settings.repositories.values()),
        escalations=tuple(_escalation(name, route, words) for name, route in routes),
        contacts=tuple(settings.runbook.contacts),
        drills={s.name: _rehearsals(s.name, known, words) for s in SCENARIOS},
        asked=facts is not None,
    )
    if facts is None:
        return seen
    return replace(
        seen,
        made=words.moment(facts.at),
        host=facts.host,
        state_dir=code(str(facts.state_dir)),
        keys=shell(str(facts.state_dir / "keys")),
        config=code(str(facts.config)) if facts.config else Markup(),
    )


def brief(span: timedelta, words: Words) -> str:
    """``5 min``, not ``5 min 00 s``."""
    seconds = int(span.total_seconds())
    for size, unit in ((86400, "j" if words.language == "fr" else "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return words.duration(span.total_seconds())


def _target(settings: Settings, target: Target, facts: TargetFacts, words: Words) -> TargetView:
    how = target.failover
    physical = target.engine == "physical"
    way: Way = "database" if not physical else "failover" if how else "directory"
    parts = conninfo_to_dict(target.dsn)
    place, database = _place(parts)
    measured = facts.recovery_seconds
    named = [*(each.table for each in target.freshness), *target.critical_tables]
    table = next((name for name in named if _WORD.fullmatch(name)), "contracts")
    return TargetView(
        name=Markup(target.name),
        way=way,
        physical=physical,
        place=code(place),
        dsn=shell(target.dsn),
        owner=_as_postgres(parts, database),
        beside=_as_postgres(parts, f"{database}_restored"),
        maintenance=_as_postgres(parts, "postgres"),
        database=shell(database),
        rpo=brief(target.rpo, words),
        rto=brief(target.rto, words),
        repositories=tuple(Markup(name) for name in target.repositories),
        offsite=Markup(_offsite(settings.repositories_of(target))),
        table=Markup(table),
        schema=Markup("restored_20261122t094107z" if physical else "restored_20261122t090000z_3f9c"),
        slot=Markup(target.slot),
        directory=shell(f"/srv/postgresql/{target.name}-restored"),
        latest=_latest(target.rto, measured, words),
        measured=words.duration(measured),
        api=target.api.url or "" if target.api else "",
        fence=bool(how and how.fence),
        switch=bool(how and (how.switch or how.service_file)),
        streamer=bool(how and how.streamer),
        standby=bool(how and how.standby),
        approvers=len(how.approvers) if how else 0,
        proofs=tuple(_proof(name, facts.proofs.get(name), words) for name in target.repositories),
        failover=_rehearsal(target.name, facts.failover, words) if facts.failover else None,
        problem=facts.problem,
    )


def _latest(rto: timedelta, measured: float | None, words: Words) -> str:
    """When the recovery must have begun: the objective less what it takes; half of it where nobody knows.

    Example: an RTO of 30 min and 4 min measured: begin within 24 min.
    """
    goal = rto.total_seconds()
    left = goal / 2 if measured is None else goal - _MARGIN * measured
    return brief(timedelta(seconds=max(0, left // 60 * 60)), words)


def _as_postgres(parts: Mapping[str, Any], database: str) -> Markup:
    """The same server as ``postgres``, which stands for a role that may do more than a backup's."""
    kept = {key: value for key, value in parts.items() if key not in ("user", "password", "dbname")}
    return shell(make_conninfo("", **kept, user="postgres", dbname=database))


def _place(parts: Mapping[str, Any]) -> tuple[str, str]:
    database = str(parts.get("dbname") or parts.get("user") or "postgres")
    if "service" in parts and "host" not in parts:
        return f"service={parts['service']}", database
    host = str(parts.get("host") or parts.get("hostaddr") or "local")
    return f"{host}:{parts.get('port') or 5432}/{database}", database


def _is_offsite(repository: Repository) -> bool:
    return urlsplit(repository.url).scheme == "s3"


def _offsite(repositories: Sequence[Repository]) -> str:
    return next((each.name for each in repositories if _is_offsite(each)), "")


def _repository(repository: Repository) -> RepositoryView:
    where = repository.url if repository.endpoint is None else f"{repository.url} ({repository.endpoint})"
    url, offsite = urlsplit(repository.url), _is_offsite(repository)
    folder = Markup() if offsite else shell(unquote(url.path))
    return RepositoryView(Markup(repository.name), code(where), folder, offsite, repository.object_lock)


def _escalation(name: str, route: Route, words: Words) -> Escalation:
    calls = tuple((tier + 1, brief(route.ack_within * tier, words)) for tier in range(route.tiers))
    return Escalation(
        name, calls, brief(route.ack_within, words), brief(route.resolve_within, words), route.slack
    )


def _proof(repository: str, fact: Fact | None, words: Words) -> Proof:
    if fact is None:
        return Proof(code(repository), words.unknown, Markup(text(words.unknown)), words.unknown, known=False)
    return Proof(
        code(repository), words.moment(fact.at), code(fact.backup_id), words.duration(fact.rto), known=True
    )


def _rehearsals(scenario: str, known: Mapping[str, TargetFacts], words: Words) -> tuple[Rehearsal, ...]:
    found = ((name, each.drills.get(scenario)) for name, each in known.items())
    return tuple(_rehearsal(name, fact, words) for name, fact in found if fact is not None)


def _rehearsal(target: str, fact: Fact, words: Words) -> Rehearsal:
    return Rehearsal(
        Markup(target),
        words.day(fact.at),
        fact.verdict,
        words.duration(fact.rto),
        words.duration(fact.rpo),
    )
