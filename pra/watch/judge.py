"""What one status pass says about incidents: the rules applied to its findings and samples. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pra.watch.incident_model import Priority
from pra.watch.rules import BLIND, BLIND_AFTER, RULES, SHARE_RULES, Rule, ShareRule
from pra.watch.samples import Sample
from pra.watch.status.finding import HOST, Finding, Level, StatusPass

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Matter:
    """One thing that is bad enough.

    Attributes:
        key: By which it is followed: target (or ``@host``) and rule.
        members: The findings in it, the worst first.
    """

    key: str
    target: str
    rule: str
    priority: Priority
    members: tuple[str, ...]
    message: str
    hint: str
    since: datetime


@dataclass(frozen=True)
class Judged:
    """What one pass says about incidents.

    Attributes:
        matters: What is bad.
        well: Keys about which it says that all is well; nothing is said of any other key.
        succeeded: By key, when the newest success was: it ends what a failed procedure opened.
    """

    matters: tuple[Matter, ...]
    well: frozenset[str]
    succeeded: Mapping[str, datetime]


History = Callable[[str], Sequence[Sample]]
"""The newest day of samples of a target."""
Spans = Callable[[str], Sequence[tuple[datetime, datetime]]]
"""When a target's database or API had an incident: what was in it is not told again as a share."""


@dataclass(frozen=True)
class Past:
    """What rules know beside the pass itself.

    Attributes:
        interval: That of the backup schedule.
        api_slow: What is a warning for being slow only is no error.
    """

    interval: timedelta = timedelta(hours=1)
    api_slow: timedelta = timedelta(seconds=5)
    history: History = lambda _target: ()
    spans: Spans = lambda _target: ()


def key_of(target: str, rule: str, host: str) -> str:
    return f"{target}/{rule}" if target != HOST else f"@{host}/{rule}"


def judge(
    done: StatusPass,
    now: datetime,
    past: Past,
    *,
    rules: Sequence[Rule] = RULES,
    shares: Sequence[ShareRule] = SHARE_RULES,
) -> Judged:
    """Apply every rule to every target that was asked."""
    matters: list[Matter] = []
    well: set[str] = set()
    succeeded: dict[str, datetime] = {}
    for target in done.targets:
        findings = done.of(target)
        for rule in rules:
            mine = [f for f in findings if _rule_of(f, rules) is rule]
            key = key_of(target, rule.name, done.host)
            if success := _success(rule, mine, now):
                succeeded[key] = success
            if _is_critical(rule.unless, findings):
                continue
            if matter := _matter(rule, key, target, mine, now, past.interval):
                matters.append(matter)
            elif all(f.level is Level.OK for f in mine):
                well.add(key)
        for share in shares:
            if done.find(share.finding, target) is not None:
                key = key_of(target, share.name, done.host)
                found = _share(share, key, target, now, past)
                matters += found
                well |= set() if found else {key}
        if blind := _blind(key_of(target, BLIND, done.host), target, findings, now):
            matters.append(blind)
        elif all(f.level is not Level.UNKNOWN for f in findings):
            well.add(key_of(target, BLIND, done.host))
        if _is_critical("database", findings):
            # What is asked through it is not in the findings: that says nothing.
            well -= {key for key in well if key.startswith(f"{target}/")}
    return Judged(tuple(matters), frozenset(well), succeeded)


def _rule_of(finding: Finding, rules: Sequence[Rule]) -> Rule | None:
    return next((rule for rule in rules if rule.covers(finding.name)), None)


def _is_critical(name: str, findings: Iterable[Finding]) -> bool:
    return any(f.name == name and f.level is Level.CRITICAL for f in findings)


def _matter(
    rule: Rule, key: str, target: str, findings: Sequence[Finding], now: datetime, interval: timedelta
) -> Matter | None:
    found: list[tuple[Priority, int, Finding]] = []
    for number, finding in enumerate(findings):
        reached = [step.priority for step in rule.steps if step.reached(finding, now, interval)]
        if reached:
            found.append((min(reached), number, finding))
    if not found:
        return None
    found.sort(key=lambda item: item[:2])
    priority, _, first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    since = min(finding.since or now for _, _, finding in found)
    members = tuple(finding.name for _, _, finding in found)
    return Matter(key, target, rule.name, priority, members, first.message + more, first.hint, since)


def _success(rule: Rule, findings: Iterable[Finding], now: datetime) -> datetime | None:
    """When the newest success was, by findings whose value is its age."""
    if rule.name not in ("backup", "proof", "drill", "scrub"):
        return None
    ages = [f.value for f in findings if f.level is Level.OK and f.value is not None and f.unit == "s"]
    return now - timedelta(seconds=min(ages)) if ages else None


def _share(rule: ShareRule, key: str, target: str, now: datetime, past: Past) -> list[Matter]:
    spans = past.spans(target)
    recent = [
        sample
        for sample in past.history(target)
        if now - rule.window <= sample.at <= now
        and not any(start <= sample.at <= end for start, end in spans)
    ]
    slow = past.api_slow.total_seconds() * 1000 if rule.finding == "api" else 0.0
    bad = [sample for sample in recent if _failed(sample, rule.finding, slow)]
    if len(bad) < rule.least or len(bad) <= rule.share * len(recent):
        return []
    message = (
        f"{rule.finding} was not well in {len(bad)} of {len(recent)} looks within {rule.window / _HOUR:g} h"
    )
    hint = "Look at what happened at those times: logs/akig_monitoring.log"
    since = min(sample.at for sample in bad)
    return [Matter(key, target, rule.name, rule.priority, (rule.finding,), message, hint, since)]


def _failed(sample: Sample, name: str, slow: float) -> bool:
    """An API's warning without a slow answer is a failed endpoint."""
    if name in sample.critical:
        return True
    return bool(slow) and name in sample.warning and sample.values.get(name, 0.0) <= slow


def _blind(key: str, target: str, findings: Sequence[Finding], now: datetime) -> Matter | None:
    """All that could not be looked at is one matter; while the database is down, that explains it."""
    lasting = [f for f in findings if f.level is Level.UNKNOWN and now - (f.since or now) >= BLIND_AFTER]
    if not lasting or _is_critical("database", findings):
        return None
    names = ", ".join(f.name for f in lasting[:5]) + (", …" if len(lasting) > 5 else "")
    message = f"{names} cannot be looked at: {lasting[0].message}"
    since = min(f.since or now for f in lasting)
    members = tuple(f.name for f in lasting)
    return Matter(key, target, BLIND, Priority.P3, members, message, lasting[0].hint, since)
