"""``pra doctor``"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from checks.expectations import load_suites
from deployments.cli.doctor_words import show_examination
from deployments.cli.output import Output
from deployments.cli.session import Globals, JsonOption, TargetArgument, start
from pra.errors import PraError, SettingsError
from pra.messages import translator
from pra.settings import Settings, Target, settings_file
from pra.setup.diagnosis import SCHEMA, Diagnosis, Mend, ill, of_error, well
from pra.setup.doctor import Examination, examine, ordered
from pra.timing import utc_now
from pra.watch.status.finding import HOST, Level

SendOption = Annotated[
    bool, typer.Option("--send", help="Send a test message through every channel of [alerts].")
]


def command(
    context: typer.Context, target: TargetArgument = None, send: SendOption = False, json: JsonOption = False
) -> int:
    """Test the whole installation; each finding comes with the command or SQL that mends it.

    Writes scratch objects into the repositories and removes them.
    Exit 0 when all is well, 1 when something is critical, 2 for a warning.
    """
    try:
        session = start(context, json=json)
    except SettingsError as error:
        return _show(Output(json, translator("en")), _without_settings(context, error))
    settings, out = session.settings, session.out
    targets = [settings.target(target)] if target else list(settings.targets.values())
    extra = [*_targets(settings), *_suites(targets), *(_sent(settings, out) if send else [])]
    return _show(out, examine(settings, targets, extra))


def _show(out: Output, done: Examination) -> int:
    if not out.result(SCHEMA, done.as_json()):
        show_examination(out, done)
    return done.exit_code


def _without_settings(context: typer.Context, error: SettingsError) -> Examination:
    """Settings that cannot be read are what is to be said: nothing else can be looked at then."""
    hint = error.hint
    mend: tuple[Mend, ...] = ()
    if command := error.hint.removeprefix("Run: ") if error.hint.startswith("Run: ") else "":
        hint, mend = "Run it, then pra doctor again.", (Mend("shell", command),)
    options = context.find_object(Globals) or Globals()
    if not settings_file(options.config).exists():
        mend = (Mend("shell", "pra init"),)
    found = ill(Level.CRITICAL, "settings", HOST, error.message, hint, *mend)
    return Examination(utc_now(), 0.0, ordered([found]))


def _targets(settings: Settings) -> list[Diagnosis]:
    if settings.targets:
        return [well("settings", HOST, f"pra.toml and .env can be used: {len(settings.targets)} targets")]
    hint = "Set one up, or run this where pra.toml is, or set PRA_CONFIG."
    mend = Mend("shell", "pra init")
    return [ill(Level.CRITICAL, "settings", HOST, "no target is configured", hint, mend)]


def _suites(targets: Sequence[Target]) -> list[Diagnosis]:
    """Business rules are read here: a mistake in them must not wait for the night."""
    found = []
    for target in targets:
        try:
            suites = load_suites(target)
        except PraError as error:
            found.append(of_error(error, "rules", target.name))
            continue
        if suites:
            count = sum(len(table.rules) for suite in suites for table in suite.tables)
            found.append(well("rules", target.name, f"{count} business rules can be asked"))
    return found


def _sent(settings: Settings, out: Output) -> list[Diagnosis]:
    from pra.watch.alerts import try_channels  # slack-sdk and Apprise take their time

    found = []
    for channel, problem in try_channels(settings.alerts, out.translate):
        name = f"alerts.{channel}"
        if problem:
            hint = "Correct its token or address in .env, then: pra doctor --send"
            fact = f"{channel} did not take the test message: {problem}"
            found.append(ill(Level.CRITICAL, name, HOST, fact, hint))
        else:
            found.append(well(name, HOST, f"{channel} took the test message"))
    return found
