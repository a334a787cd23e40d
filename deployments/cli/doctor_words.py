"""Findings with their remedies, so that these can be copied as they are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from deployments.cli.moments import local_zone
from deployments.cli.output import Output
from deployments.cli.status_words import STYLES, WORDS
from pra.messages import Translate, mark
from pra.setup.diagnosis import Diagnosis
from pra.setup.doctor import Examination
from pra.timing import format_duration
from pra.watch.status.finding import Level

_KINDS = {
    "sql": mark("SQL:"),
    "shell": mark("Command:"),
    "pra.toml": mark("In pra.toml:"),
    ".env": mark("In .env:"),
    "pg_hba.conf": mark("In pg_hba.conf, on the server:"),
}
_IN_FULL = 3


def show_examination(out: Output, done: Examination) -> None:
    """The verdict, what is not well with what mends it, and what is well."""
    _ = out.translate
    bad = [finding for finding in done.findings if finding.level is not Level.OK]
    head = Text(f" {_(WORDS[done.level])} ", STYLES[done.level])
    counted = _("{bad} of {count} checks need a look") if bad else _("all {count} checks are well")
    head.append(f"  {counted.format(bad=len(bad), count=len(done.findings))}", "bold not reverse")
    at = done.at.astimezone(local_zone())
    out.show(Group(head, Text(f"{at:%Y-%m-%d %H:%M:%S} · {format_duration(done.seconds)}", "dim"), Text()))
    show_findings(out, bad)
    good = [finding for finding in done.findings if finding.level is Level.OK]
    if len({finding.target for finding in done.findings}) - 1 <= _IN_FULL:
        show_findings(out, good)
    else:
        _show_names(out, good)


def show_findings(out: Output, findings: Sequence[Diagnosis]) -> None:
    """Each on a line; what is not well with its hint and its remedies below."""
    for finding in findings:
        _show(out, finding, out.translate)


def _show(out: Output, finding: Diagnosis, _: Translate) -> None:
    line = Text(f" {_(WORDS[finding.level])} ", STYLES[finding.level])
    where = f"{finding.target} {finding.name}" if finding.target else finding.name
    line.append(f" {where}", "bold")
    line.append(f": {finding.message}")
    out.lines(line)
    if finding.level is Level.OK:
        return
    if finding.hint:
        out.lines(Text(f"   → {finding.hint}", "dim"))
    for mend in finding.mend:
        out.lines(Text(f"   {_(_KINDS[mend.kind])}", "dim"))
        # As it is: no colour, no folding, so that it can be copied.
        out.lines(Text("\n".join(f"     {each}" for each in mend.text.splitlines())))
    out.lines(Text())


def _show_names(out: Output, good: Sequence[Diagnosis]) -> None:
    """Of many targets, what is well in a line each."""
    names: dict[str, list[str]] = {}
    for finding in good:
        names.setdefault(finding.target, []).append(finding.name)
    for target, found in sorted(names.items(), key=lambda item: (item[0] == "", item[0])):
        line = Text(f" {out.translate(WORDS[Level.OK])} ", STYLES[Level.OK])
        line.append(f" {target or out.translate('this host')}: {' · '.join(sorted(found))}")
        out.lines(line)
