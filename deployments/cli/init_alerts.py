"""Who is told, and the business rules: the two steps of ``pra init`` that may be left for later."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import SecretStr
from rich.markup import escape

from checks.expectations import load_suite
from checks.proposing import Proposed, propose, suite_text
from deployments.cli.doctor_words import show_findings
from deployments.cli.init_state import Setup, refuse_critical
from pra.errors import PraError
from pra.settings import Alerts, from_environment
from pra.settings_source import read_dotenv, variable
from pra.setup.diagnosis import Diagnosis, ill, well
from pra.watch.status.finding import HOST, Level

SECRETS = ("slack_webhook", "slack_token", "tier1", "tier2", "tier3", "heartbeat")


def alerts(this: Setup) -> None:
    """Ask how people are told, and send them a test message.

    Raises:
        UsageError: With ``--yes``: a channel that is configured does not take it.
    """
    if this.before is not None:
        return  # of an installation that has decided that already
    _ = this._
    this.heading(_("5. Who is told"))
    _known(this)
    while True:
        _asked(this)
        found = _tried(this)
        show_findings(this.out, found)
        if this.given.yes:
            refuse_critical(found)
        wrong = any(finding.level is Level.CRITICAL for finding in found)
        if not wrong or this.ask.sure(_("Keep it, and mend it later?"), default=False):
            this.findings += found
            return
        for key in SECRETS:
            this.secrets.pop(variable(("alerts", key)), None)


def _known(this: Setup) -> None:
    """What the environment and ``.env`` have already."""
    stored = read_dotenv(this.config.parent / ".env")
    for key in SECRETS:
        name = variable(("alerts", key))
        found = from_environment(name) or stored.get(name)
        if found:
            this.secrets[name] = found


def _asked(this: Setup) -> None:
    """At a terminal, one question where nothing is known."""
    channel = this.given.slack_channel or this.answers.slack_channel
    if not this.given.yes and not _configured(this):
        question = this._("Slack webhook or Apprise URL (mailtos://…), not shown; empty: nobody yet")
        address = this.ask.secret(question)
        if address:
            key = "slack_webhook" if address.startswith("https://") else "tier1"
            this.secrets[variable(("alerts", key))] = address
    if variable(("alerts", "slack_token")) in this.secrets and not channel and not this.given.yes:
        channel = this.ask.text(this._("Slack channel"), "--slack-channel", default="#ops")
    this.answer(slack_channel=channel)


def _configured(this: Setup) -> bool:
    return any(variable(("alerts", key)) in this.secrets for key in SECRETS[:-1])


def settings_of(this: Setup) -> Alerts:
    """``[alerts]`` as it will be."""
    given = {
        key: SecretStr(this.secrets[variable(("alerts", key))])
        for key in SECRETS
        if variable(("alerts", key)) in this.secrets
    }
    return Alerts.model_validate({**given, "slack_channel": this.answers.slack_channel})


def _tried(this: Setup) -> list[Diagnosis]:
    if not _configured(this):
        this.out.text(this._("Nobody will be told. Later: PRA_ALERTS__… in .env, then pra doctor --send"))
        return []
    if not this.given.send:
        return []
    from pra.watch.alerts import try_channels  # slack-sdk and Apprise take their time

    found = []
    for channel, problem in try_channels(settings_of(this), this._):
        name = f"alerts.{channel}"
        if problem:
            fact = f"{channel} did not take the test message: {problem}"
            hint = "Correct its token or address."
            found.append(ill(Level.CRITICAL, name, HOST, fact, hint))
        else:
            found.append(well(name, HOST, f"{channel} took the test message"))
    return found


# -- business rules ------------------------------------------------------------------------------


def rules(this: Setup) -> None:
    """Propose rules from what holds in the database, show them, and take them if the operator does.

    Raises:
        UsageError: Rules are there already, and cannot be used.
    """
    _ = this._
    this.heading(_("6. Business rules"))
    if not this.given.rules:
        this.out.text(_("None were asked for."))
        this.answer(suites=())
        return
    kept = this.config.parent / suite_name(this)
    if kept.exists():  # the operator's, or of an attempt that died
        load_suite(kept)
        this.answer(suites=(suite_name(this),))
        this.out.text(escape(_("{file} is there already, and stays as it is.").format(file=kept)))
    try:
        found = propose(this.server.server, this.answers.target, _)
    except PraError as error:
        this.out.text(
            escape(_("None could be proposed: {error}. Everything else goes on.").format(error=error.message))
        )
        return
    this.answer(critical_tables=found.critical)
    if kept.exists():
        return
    if found.suite is None:
        this.out.text(_("There is nothing to propose: no table has rows enough."))
        return
    text = suite_text(found.suite, _)
    _check(text)
    _show(this, found)
    if this.ask.sure(_("Write them? They can be changed at any time"), default=True):
        this.suite = text
        this.answer(suites=(suite_name(this),))


def suite_name(this: Setup) -> str:
    """Of the file, relative to pra.toml."""
    return f"rules/{this.answers.target}.yaml"


def _check(text: str) -> None:
    """Read it as every verification will, before it is anywhere. Raises UsageError."""
    with tempfile.TemporaryDirectory(prefix="pra-init-") as scratch:
        path = Path(scratch) / "suite.yaml"
        path.write_text(text, encoding="utf-8")
        load_suite(path)


def _show(this: Setup, found: Proposed) -> None:
    _ = this._
    assert found.suite is not None  # the caller has looked
    this.out.text(_("These hold in the database today; every backup will be asked whether they still do:"))
    for table in found.suite.tables:
        this.out.text(f"  [bold]{escape(table.table)}[/]: {escape('; '.join(r.says for r in table.rules))}")
    if found.critical:
        sentence = _("Tables without which there is no business, it seems: {tables}")
        this.out.text(escape(sentence.format(tables=", ".join(found.critical))))
    if found.unread:
        sentence = _("Too large or busy to be read now, so left out: {tables}")
        this.out.text(escape(sentence.format(tables=", ".join(found.unread))))
