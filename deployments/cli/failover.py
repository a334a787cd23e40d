"""``pra failover``: the real emergency, at a terminal, without Prefect."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from checks import Checks
from deployments.cli import completion
from deployments.cli.alerting import alerting, tell_drill
from deployments.cli.moments import read_moment, read_target
from deployments.cli.output import Output, Report, coloured
from deployments.cli.session import JsonOption, Session, start
from pra.approval import Challenge
from pra.engines.recovery import LATEST
from pra.errors import UsageError
from pra.failover import plan as planning
from pra.failover.plan import FailoverPlan, Outlook
from pra.failover.state import Reply
from pra.failover.words import lines
from pra.model import Status, Verdict
from pra.proc import Scope
from pra.procedures import failover
from pra.procedures.context import Context
from pra.procedures.failover import FailoverReport, Order
from pra.settings import Target
from pra.timing import format_duration, utc_now

TargetArgument = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="The database that was lost.", autocompletion=completion.targets),
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="MOMENT", help="As pra restore --to; default: latest.")
]
RepositoryOption = Annotated[
    str | None, typer.Option("--repository", metavar="NAME", help="Read it from here and nowhere else.")
]
BackupOption = Annotated[
    str | None, typer.Option("--backup", metavar="ID", help="Start from this backup and no other.")
]
DisasterOption = Annotated[
    str | None,
    typer.Option(
        "--disaster-at", metavar="TIME", help="When the service was lost: RTO and RPO count from it."
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the failover that was interrupted, wherever it ran.")
]
OffOption = Annotated[
    str,
    typer.Option(
        "--yes-old-is-off",
        metavar="TARGET",
        help="Type the target's name again: you have seen that the old server is off. Recorded.",
    ),
]
DespiteOption = Annotated[
    str,
    typer.Option(
        "--despite-checks",
        metavar="TARGET",
        help="Type the target's name again: serve although a check failed. Recorded, and never green.",
    ),
]
ApprovalOption = Annotated[
    Path | None,
    typer.Option(
        "--approval", metavar="FILE", help="Read the answer to the challenge there, once it is there."
    ),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write the report there, one HTML page.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and touch nothing.")]


def command(
    context: typer.Context,
    target: TargetArgument,
    to: ToOption = None,
    repository: RepositoryOption = None,
    backup: BackupOption = None,
    disaster_at: DisasterOption = None,
    resume: ResumeOption = False,
    old_is_off: OffOption = "",
    despite_checks: DespiteOption = "",
    approval: ApprovalOption = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> int:
    """Replace a lost server: approved by a second key, fenced, recovered, switched, protected again."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    order = Order(
        moment=LATEST if to is None else read_target(to),
        repository=repository,
        backup_id=backup,
        disaster_at=read_moment(disaster_at, "--disaster-at"),
        resume=resume,
        old_is_off=old_is_off,
        despite_checks=_typed(chosen, despite_checks, "--despite-checks"),
    )
    _typed(chosen, old_is_off, "--yes-old-is-off")
    if dry_run:
        return _show_plan(session, chosen, order)
    return _carry_out(session, chosen, order, approval, report)


def _typed(target: Target, text: str, option: str) -> str:
    if text not in ("", target.name):
        raise UsageError(
            f"{option} names {text[:40]!r}, not the target",
            op="read command line",
            hint=f"Type the target's name: {option} {target.name}",
        )
    return text


def _show_plan(session: Session, target: Target, order: Order) -> int:
    with Scope() as scope:
        plan, outlook = planning.make(Context(session.settings, target, scope), order)
    out, _ = session.out, session.out.translate
    if not out.result("pra/failover-plan/1", _plan_json(plan, outlook)):
        for line in lines(plan, outlook):
            out.text(escape(line))
        out.text(_("Nothing was touched."))
    return 0


def _plan_json(plan: FailoverPlan, outlook: Outlook) -> dict[str, Any]:
    return {"plan": plan.as_json(), "plan_sha256": plan.sha256, **outlook.as_json()}


def _carry_out(
    session: Session, target: Target, order: Order, approval: Path | None, report: Path | None
) -> int:
    out = session.out
    bars = Bars(out)
    with alerting(session, "failover", target.name, typed=True), Scope() as scope, closing(bars):
        work = Context(session.settings, target, scope, report=bars)
        done = failover.run(work, Checks(), order, AtTerminal(out, bars, approval))
    tell_drill(session, done.record, done.evidence.head)
    if report is not None:
        _write(report, done, session.settings.language)
    if not out.result("pra/failover/1", _as_json(done)):
        _show(out, done)
    return done.verdict.exit_code if isinstance(done.verdict, Verdict) else 2


class Bars:
    """Progress, shown only while there is some: a live display wipes the line in which somebody types."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._report: Report | None = None

    def __call__(self, phase: str, done: int, total: int) -> None:
        with self._lock:
            if self._report is None:
                self._report = self._stack.enter_context(self._out.follow())
            self._report(phase, done, total)

    def close(self) -> None:
        """Clear the display; the next report brings it back."""
        with self._lock:
            self._report = None
            self._stack.close()


@dataclass(frozen=True)
class AtTerminal:
    """See `pra.failover.state.Hands`.

    Attributes:
        file: Where the answer will be; None: it is pasted.
    """

    out: Output
    bars: Bars
    file: Path | None = None

    def approve(self, challenge: Challenge) -> Reply:
        self.bars.close()
        for line in challenge.lines:
            self.out.note(line)
        self.out.note(f"Challenge, to be answered before {challenge.expires_at:%Y-%m-%d %H:%M} UTC:")
        self.out.note("")
        self.out.note(challenge.text())
        self.out.note("")
        self.out.note("An approver signs it with: pra approve -")
        if self.file is not None:
            return Reply(_await_file(self.file, challenge))
        return self._pasted()

    def _pasted(self) -> Reply:
        """Lines up to an empty one; a terminal takes no longer ones than 4,095 bytes."""
        self.out.note("Paste the answer and an empty line; or type: abort")
        lines: list[str] = []
        while True:
            line = sys.stdin.readline()
            if not line and not lines:
                raise UsageError(
                    "nobody answered the challenge",
                    op="approve",
                    hint="Run it with --resume at a terminal, or with --resume --approval FILE.",
                )
            if line.strip().lower() == "abort":
                return Reply(abort=True)
            if not line.strip() and lines:
                return Reply("".join(lines))
            if line.strip():
                lines.append(line)

    def old_is_off(self, target: str, place: str) -> str:
        self.bars.close()
        self.out.note(f"Is the old server at {place} off, and can it not come back by itself?")
        self.out.note(f"When you have seen that it is, type the target's name ({target}):")
        return sys.stdin.readline().strip()

    def say(self, line: str) -> None:
        self.bars.close()
        self.out.note(line)


def _await_file(file: Path, challenge: Challenge) -> str:
    """The answer, once somebody has put it there; an empty file is not ready yet."""
    while True:
        try:
            text = file.read_text()
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read {file}: {type(error).__name__}",
                op="read answer",
                hint="Name a text file with --approval.",
            ) from None
        if text.strip() or utc_now() >= challenge.expires_at:
            return text
        time.sleep(0.2)


def _as_json(done: FailoverReport) -> dict[str, Any]:
    return {
        **done.record.as_json(),
        "evidence": done.evidence.key,
        "evidence_head": done.evidence.head.as_json(),
    }


def _show(out: Output, done: FailoverReport) -> None:
    _, record = out.translate, done.record
    sentence = _("{verdict}: failover of {target}")
    out.text(
        sentence.format(verdict=f"[bold]{coloured(str(record.verdict))}[/]", target=escape(record.target))
    )
    rto, rpo = record.rto, record.rpo
    if rto is not None and rpo is not None:
        out.text(
            _("Service back after {rto}; lost: {rpo}; proven after {proven}.").format(
                rto=_duration(rto.seconds),
                rpo=_duration(rpo.seconds),
                proven=_duration(record.proven_seconds),
            )
        )
    for step in record.steps:
        out.text(f"  [dim]{_duration(step.seconds):>12}[/]  {escape(step.name)}")
    for check in record.checks:
        if check.status in (Status.FAILED, Status.SKIPPED):
            words = check.reason or check.observed
            out.text(f"  {coloured(check.status.value)} {escape(check.name)}: {escape(words)}")
    passed = sum(check.status is Status.PASSED for check in record.checks)
    out.text(_("{count} checks passed.").format(count=passed))
    for line in (*record.deviations, *record.findings):
        out.text(f"  [yellow]![/] {escape(line)}")
    if record.afterwards:
        out.text(_("What comes next:"))
    for line in record.afterwards:
        out.text(f"  - {escape(line)}")
    out.text(_("Recorded as {evidence}.").format(evidence=escape(done.evidence.key)))
    out.text(_("Evidence head: {head}").format(head=done.evidence.head.short))


def _write(path: Path, done: FailoverReport, language: str) -> None:
    from pra.report import html  # Jinja2 is needed for a page alone
    from pra.report.output import write_report
    from pra.report.stamp import Stamp

    write_report(path, html.render(done.record, Stamp.of(done.evidence), (), language))


def _duration(seconds: float | None) -> str:
    return "?" if seconds is None else format_duration(seconds)
