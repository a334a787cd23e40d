"""The end of ``pra init``: a first backup, its proof, and what that protects and what it does not."""

from __future__ import annotations

from rich.markup import escape

from checks import Checks
from deployments.cli.doctor_words import show_findings
from deployments.cli.init_cost import cost_of, show_cost
from deployments.cli.init_state import Setup
from deployments.cli.output import coloured, size
from deployments.cli.proof import proof_json, show_proof
from pra.errors import PraError
from pra.model import Verdict
from pra.proc import Scope
from pra.procedures import backup, verify
from pra.procedures.context import Context
from pra.procedures.judging import VerifyReport
from pra.settings import Settings, Target
from pra.setup.closing import Line, Situation, lacks, protects
from pra.setup.diagnosis import Diagnosis
from pra.setup.doctor import left_out
from pra.setup.repositories import places
from pra.setup.server import ServerReport, look
from pra.timing import format_duration
from pra.watch.routing import Policy
from pra.watch.status.finding import Level


def prove(this: Setup, settings: Settings) -> int:
    """Take the first backup, prove it, say what is protected. Returns the exit code."""
    _ = this._
    target = settings.targets[this.answers.target]
    done: VerifyReport | None = None
    code = 0
    if this.given.backup:
        this.heading(_("9. The first backup and its proof"))
        if not this.progress.has("backup"):
            code = _back_up(this, settings, target)
        done = _verify(this, settings, target)
        code = max(code, done.verdict.exit_code)
        if done.verdict is not Verdict.FAIL:
            this.reached("proof")
    _close(this, settings, target, done)
    return code


def _back_up(this: Setup, settings: Settings, target: Target) -> int:
    """Raises PraError where nothing could be taken, or no repository holds it."""
    _ = this._
    if target.engine == "physical" and _at_once(this):
        faster = target.physical.model_copy(update={"checkpoint": "fast"})
        target = target.model_copy(update={"physical": faster})
    with Scope() as scope, this.out.follow() as report:
        done = backup.run(Context(settings, target, scope, report=report))
    for warning in (*done.gaps, *done.warnings):
        this.out.note(f"warning: {warning}")
    sentence = _("Backup {backup_id} of {target}: {size} in {duration}")
    this.out.text(
        escape(
            sentence.format(
                backup_id=done.backup_id,
                target=done.target,
                size=size(done.bytes),
                duration=format_duration(done.seconds),
            )
        )
    )
    failed = [each for each in done.repositories if not each.ok]
    for each in failed:
        this.out.text(f"{coloured('failed')} {escape(each.name)}: {escape(each.error)}. {escape(each.hint)}")
    if done.exit_code == 1:
        raise PraError("no repository holds the backup", op=f"publish {done.backup_id}", hint=failed[0].hint)
    this.result["backup_id"] = done.backup_id
    this.reached("backup")
    if this.report is not None:
        this.cost = (this.cost or cost_of(this)).with_backup(done.bytes)
        show_cost(this, this.cost)
    return done.exit_code


def _at_once(this: Setup) -> bool:
    """A base backup begins with a checkpoint: spread over minutes, or at once in a burst of writes."""
    if this.given.fast or this.given.yes:
        return this.given.fast
    question = this._(
        "Begin at once? The server then writes out its buffers in one burst; else it takes some minutes"
    )
    return this.ask.sure(question, default=True)


def _verify(this: Setup, settings: Settings, target: Target) -> VerifyReport:
    with Scope() as scope, this.out.follow() as report:
        done = verify.run(Context(settings, target, scope, report=report), Checks())
    this.result["proof"] = proof_json(done)
    show_proof(this.out, done)
    return done


# -- what protects -------------------------------------------------------------------------------


def _close(this: Setup, settings: Settings, target: Target, done: VerifyReport | None) -> None:
    _ = this._
    situation = _situation(this, settings, target, done)
    good, bad = protects(situation, _), lacks(situation, _)
    this.result |= {
        "protects": [line.as_json() for line in good],
        "lacks": [line.as_json() for line in bad],
    }
    this.heading(_("What protects you now"))
    _list(this, good, "[green]✓[/]")
    this.heading(_("What is not protected yet"))
    _list(this, bad, "[yellow]✗[/]")
    this.out.text()
    this.out.text(_("Look over everything at any time with: pra doctor"))
    warned = [
        finding for finding in this.findings if finding.level is not Level.OK and finding.name not in _SAID
    ]
    if warned:
        this.out.text()
        this.out.text(_("What the tests found worth mending:"))
        show_findings(this.out, _once(warned))


_SAID = ("slot", "slot.limit")
"""Findings that stand among what is not protected."""


def _once(findings: list[Diagnosis]) -> list[Diagnosis]:
    return list({(each.target, each.name, each.message): each for each in findings}.values())


def _list(this: Setup, lines: list[Line], sign: str) -> None:
    for line in lines:
        this.out.text(f" {sign} {escape(line.text)}")
        if line.command:
            this.out.text(f"     {escape(line.command)}")


def _seen(settings: Settings, target: Target) -> ServerReport | None:
    """What an attempt that goes on with the backup has not looked at; None: unknown, so nothing is well."""
    try:
        return look(Context(settings, target, Scope()).server, target.slot)
    except PraError:
        return None


def _situation(this: Setup, settings: Settings, target: Target, done: VerifyReport | None) -> Situation:
    used = settings.repositories_of(target)
    passed = done is not None and done.verdict is Verdict.PASS
    names = [finding.name for finding in this.findings if finding.level is Level.OK]
    report = this.report or _seen(settings, target)
    slot = report.replication.slot if report else None
    return Situation(
        answers=this.answers,
        proven=done.backup_id if done is not None and passed else "",
        rto_seconds=done.rto_seconds if done is not None else None,
        others=tuple(left_out(settings, target, report)) if report else (),
        places=places(used),
        offsite=any(each.url.startswith("s3://") for each in used),
        locked=any(f"repository.{each.name}.lock" in names for each in used),
        alerting=bool(Policy.of(settings.alerts).channels),
        streaming=slot is not None and slot.active,
        slot_limited=report is not None and report.replication.slot_keep_bytes is not None,
        scheduled=settings.status.prefect_api is not None,
        sheet=str(this.sheet) if this.sheet else "",
        added=this.given.add_target,
    )
