"""A status pass for tired eyes: the verdict, what is not well with what to do, and the rest in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from deployments.cli.moments import local_zone
from deployments.cli.output import Output
from pra.messages import Translate, mark
from pra.timing import format_duration, utc_now
from pra.watch.status.aim import size
from pra.watch.status.finding import HOST, Finding, Level, StatusPass, worst

STYLES = {
    Level.CRITICAL: "bold white on red",
    Level.WARNING: "black on yellow",
    Level.UNKNOWN: "black on cyan",
    Level.OK: "black on green",
}
WORDS = {
    Level.CRITICAL: mark("CRITICAL"),
    Level.WARNING: mark("WARNING"),
    Level.UNKNOWN: mark("UNKNOWN"),
    Level.OK: mark("OK"),
}


_FLEET = 8
"""More targets than this are not told one by one where all is well."""
_NAMES = 5


def show(out: Output, done: StatusPass) -> None:
    """The worst first. Messages and hints stay English, as everywhere."""
    _ = out.translate
    bad = [finding for finding in done.findings if finding.level is not Level.OK]
    well = _well_together(done, _) if len(done.targets) > _FLEET else _well(done, _)
    out.show(Group(_head(done, len(bad), _), *([_table(bad, _)] if bad else []), *well))


def _head(done: StatusPass, bad: int, _: Translate) -> Text:
    head = Text()
    head.append(f" {_(WORDS[done.level])} ", STYLES[done.level])
    at = done.at.astimezone(local_zone())
    counted = _("{bad} of {count} checks need a look") if bad else _("all {count} checks are well")
    head.append(f"  {counted.format(bad=bad, count=len(done.findings))}", "bold")
    if len(done.targets) > _FLEET:
        head.append(f"  {_counted(done, _)}")
    head.append(f"  {at:%Y-%m-%d %H:%M:%S} · {format_duration(done.seconds)}", "dim")
    return head


def _counted(done: StatusPass, _: Translate) -> str:
    """How many targets are how bad, by their worst finding."""
    levels = Counter(worst(f.level for f in done.of(target)) for target in done.targets if target != HOST)
    parts = [f"{levels[level]} {_(WORDS[level])}" for level in WORDS if levels[level]]
    return _("databases: {parts}").format(parts=", ".join(parts))


def _table(bad: Sequence[Finding], _: Translate) -> Table:
    table = Table(show_edge=False, pad_edge=False, box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for name in (_("Target"), _("Check")):
        table.add_column(name, no_wrap=True)
    table.add_column(_("What was found, and what to do"), overflow="fold", ratio=1)
    table.add_column(_("Since"), no_wrap=True, justify="right")
    now = utc_now()
    for group in _folded(bad):
        first = group[0]
        what = Text(first.message)
        if first.hint:
            what.append(f"\n→ {first.hint}", "dim")
        table.add_row(
            Text(f" {_(WORDS[first.level])} ", STYLES[first.level]),
            escape(_names([finding.target or _("this host") for finding in group], _)),
            escape("\n".join(dict.fromkeys(finding.name for finding in group))),
            what,
            _since(min((f.since for f in group if f.since is not None), default=None), now),
        )
    return table


def _names(targets: Sequence[str], _: Translate) -> str:
    once = list(dict.fromkeys(targets))
    if len(once) <= _NAMES:
        return "\n".join(once)
    return "\n".join([*once[: _NAMES - 1], _("and {count} more").format(count=len(once) - _NAMES + 1)])


def _folded(bad: Sequence[Finding]) -> list[list[Finding]]:
    """What has one cause is one row: several names, or several targets, with the same words."""
    groups: dict[tuple[Level, str], list[Finding]] = {}
    for finding in bad:
        groups.setdefault((finding.level, finding.message), []).append(finding)
    return list(groups.values())


def _since(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    if now - moment < timedelta(seconds=60):
        return "<1 min"
    words = format_duration((now - moment).total_seconds()).split()
    return " ".join(words[:2])


def _well(done: StatusPass, _: Translate) -> list[Text]:
    """One paragraph a target: every check that is well, with its measurement."""
    found = []
    for target in done.targets:
        good = sorted((f for f in done.of(target) if f.level is Level.OK), key=lambda f: f.name)
        if good:
            line = Text(f" {_(WORDS[Level.OK])} ", STYLES[Level.OK])
            line.append(f" {target if target != HOST else _('this host')}: ", "bold")
            line.append(" · ".join(_short(finding) for finding in good))
            found.append(line)
    return found


def _well_together(done: StatusPass, _: Translate) -> list[Text]:
    """The targets of which everything is well, by name."""
    good = [
        target
        for target in done.targets
        if target != HOST and worst(finding.level for finding in done.of(target)) is Level.OK
    ]
    if not good:
        return []
    line = Text(f" {_(WORDS[Level.OK])} ", STYLES[Level.OK])
    line.append(" " + _("all is well with {count}:").format(count=len(good)) + " ", "bold")
    line.append(", ".join(good))
    return [line]


def _short(finding: Finding) -> str:
    value = finding.value
    if value is None:
        return finding.name
    match finding.unit:
        case "ms":
            return f"{finding.name} {value:.0f} ms"
        case "s":
            return f"{finding.name} {' '.join(format_duration(abs(value)).split()[:2])}"
        case "bytes":
            return f"{finding.name} {size(value)}"
        case "share":
            return f"{finding.name} {value:.0%}"
    return finding.name
