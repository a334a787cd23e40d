"""The database of ``pra init``: reached, its rights tested, the engine proposed, the objectives set."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Literal, cast

from rich.markup import escape

from deployments.cli.doctor_words import show_findings
from deployments.cli.init_state import Setup, refuse_critical
from pra.errors import ConnectError, UsageError
from pra.postgres.connect import Server
from pra.settings import from_environment
from pra.settings_fields import dsn_fault
from pra.settings_source import read_dotenv, variable
from pra.setup import host, judging
from pra.setup.answers import Answers, check_name, name_from
from pra.setup.doctor import unreachable
from pra.setup.engine import Proposal, keeps_rpo, propose
from pra.setup.server import look
from pra.timing import parse_duration
from pra.watch.status.finding import Level

_ENGINES = ("auto", "logical", "physical")


def database(this: Setup) -> None:
    """Ask for the database until it answers and everything in it can be read.

    Raises:
        UsageError: With ``--yes``: something is missing or wrong.
        ConnectError, PostgresError: With ``--yes``: it cannot be reached.
    """
    _ = this._
    _check_engine(this.given.engine)
    this.heading(_("1. The database"))
    while True:
        _name(this)
        while _reach(this):
            found = judging.judge(this.server, this.answers.target, "logical")
            found += host.programs(this.answers.bindir, "logical", this.answers.target, this.server.major)
            show_findings(this.out, found)
            if this.given.yes:
                refuse_critical(found)
            if not any(finding.level is Level.CRITICAL for finding in found):
                this.findings += found
                return
            this.ask.pause(_("Mend it, then press Enter to test again"))


def _check_engine(engine: str) -> None:
    if engine not in _ENGINES:
        near = difflib.get_close_matches(engine, _ENGINES, 1)
        raise UsageError(
            f"no such engine: {engine[:40]!r}",
            op="read options",
            hint=f"Did you mean {near[0]}?" if near else f"One of: {', '.join(_ENGINES)}.",
        )


# -- DSN, name, password -------------------------------------------------------------------------


def _name(this: Setup) -> None:
    """The DSN and the target's name, which begin the answers."""
    _, known = this._, this.progress.answers
    dsn = this.ask.text(
        _("Where does it answer? postgresql://role@host:5432/database"),
        "--dsn",
        given=this.given.dsn,
        default=known.dsn if known else None,
        check=_check_dsn,
    )
    same = known is not None and known.dsn == dsn
    target = this.ask.text(
        _("What shall it be called here?"),
        "--name",
        given=this.given.target,
        default=known.target if known and same else name_from(Server.parse(dsn).database),
        check=lambda name: _check_new(this, name),
    )
    if known is not None and known.target != target:
        this.progress = this.progress.without("sheet")  # it names the target
    kept = known if known and same else Answers(this.language, target, dsn, "logical", ())
    kept = replace(kept, language=this.language, target=target, bindir=this.given.bindir or kept.bindir)
    this.progress = replace(this.progress, answers=kept)
    this.reached("answers")


def _check_dsn(dsn: str) -> None:
    fault = dsn_fault(dsn, allow_plaintext=False, password_belongs="it is asked for, or read from PGPASSFILE")
    if fault is not None:
        raise UsageError(f"the DSN {fault[0]}", op="read dsn", hint=fault[1])


def _check_new(this: Setup, name: str) -> None:
    check_name("the target's name", name)
    if this.before is not None and name in this.before.targets:
        raise UsageError(f"there is a target {name} already", op="add target", hint="Give another --name.")


def _reach(this: Setup) -> bool:
    """Look at the server; False: it is to be named anew.

    Raises:
        ConnectError, PostgresError: With ``--yes``.
    """
    _, answers = this._, this.answers
    name = variable(("targets", answers.target, "password"))
    before = read_dotenv(this.config.parent / ".env").get(name)
    password = this.secrets.get(name) or from_environment(name, "PGPASSWORD") or before
    while True:
        try:
            server = Server.parse(answers.dsn, password)
            this.report = look(server, _slot(answers.target))
        except ConnectError as error:
            if this.given.yes:
                raise
            asked = "password" in error.message
            if password or not asked:  # that it wants one is no fault yet
                show_findings(this.out, [unreachable(error, answers.target)])
            if not asked:
                _offer_sql(this, server)
                if this.given.dsn is None:
                    return False
                this.ask.pause(_("Mend it, then press Enter to test again"))
                continue
            password = this.ask.secret(_("Password of the role"))
            if not password:
                return False
            continue
        break
    if password:
        this.secrets[name] = password
    this.answer(password_from="env" if password else "libpq")
    return True


def _offer_sql(this: Setup, server: Server) -> None:
    words = server.words()
    command = f"pra init --sql --role {words.get('user', 'backup')} --database {server.database}"
    sentence = this._("SQL that makes the role, for whoever may run it: {command} --engine physical")
    this.out.text(escape(sentence.format(command=command)))


def _slot(target: str) -> str:
    return f"pra_{target.replace('-', '_')}"


# -- engine and objectives -----------------------------------------------------------------------


def engine(this: Setup) -> None:
    """Propose the better engine that the server allows, and say what it cannot keep.

    Raises:
        UsageError: With ``--yes``: the engine that was asked for is not possible.
    """
    _ = this._
    this.heading(_("2. The engine"))
    while True:
        proposal = propose(this.server, this.answers.target)
        chosen = _choose(this, proposal)
        hindrances = list(proposal.hindrances) if chosen == "physical" else []
        hindrances += [
            finding
            for finding in host.programs(this.answers.bindir, chosen, this.answers.target, this.server.major)
            if finding.level is Level.CRITICAL
        ]
        if this.given.yes:
            refuse_critical(hindrances)
        if not hindrances:
            break
        show_findings(this.out, hindrances)
        this.ask.pause(_("Mend it, then press Enter to test again"))
        _reach(this)
    this.answer(engine=chosen)
    this.out.text(_("The engine is {engine}.").format(engine=f"[bold]{chosen}[/]"))
    found = [each for each in judging.judge(this.server, this.answers.target, chosen) if each.name in _MORE]
    if chosen == "physical":
        this.findings += found
        show_findings(
            this.out, [each for each in found if each.level is not Level.OK and each.name != "slot"]
        )


_MORE = ("replication", "slot", "slot.limit", "summaries", "rights.monitor")


def _choose(this: Setup, proposal: Proposal) -> Literal["logical", "physical"]:
    _ = this._
    if proposal.engine == "physical":
        this.out.text(
            _("The server can be copied: the physical engine loses seconds, and goes back to any moment.")
        )
    else:
        this.out.text(
            _("Only dumps are possible as it is. The physical engine, which loses seconds, would need this:")
        )
        show_findings(this.out, proposal.hindrances)
    default = proposal.engine if this.given.engine == "auto" else this.given.engine
    chosen = this.ask.choose(_("Engine"), "--engine", ("logical", "physical"), default)
    return cast('Literal["logical", "physical"]', chosen)


def objectives(this: Setup) -> None:
    """How much may be lost, and how long until it works again."""
    _, known = this._, this.answers
    this.heading(_("3. The objectives"))
    rpo = this.ask.text(
        _("How much may be lost at most (RPO)?"),
        "--rpo",
        given=this.given.rpo,
        default=known.rpo,
        check=parse_duration,
    )
    rto = this.ask.text(
        _("How long until it works again at most (RTO)?"),
        "--rto",
        given=this.given.rto,
        default=known.rto,
        check=parse_duration,
    )
    this.answer(rpo=rpo, rto=rto)
    if not keeps_rpo(known.engine, parse_duration(rpo)):
        sentence = _(
            "A dump an hour cannot keep an RPO of {rpo}: in the worst case an hour and the time to publish "
            "are lost. Dump more often than that, or use the physical engine."
        )
        this.out.text(f"[yellow]{escape(sentence.format(rpo=rpo))}[/]")
