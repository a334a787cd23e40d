"""The way through ``pra init``: where it begins, where it goes on, and what it leaves when it is stopped."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from deployments.cli import init_alerts, init_database, init_keys, init_proof, init_repositories
from deployments.cli.init_ask import Asking, Given, require_terminal
from deployments.cli.init_state import Setup
from deployments.cli.output import Output
from deployments.cli.signals import Stopped
from pra.errors import PraError, UsageError
from pra.messages import translator
from pra.settings import Settings, from_environment, load_settings, state_folder
from pra.setup import progress as progresses
from pra.setup.landing import refuse_existing

SCHEMA = "pra/init/1"


def run(given: Given, config: Path, *, json: bool) -> int:
    """Set up, or go on with what an earlier try left. Returns the exit code.

    Raises:
        UsageError: Something is missing, wrong, or there already; whatever exists by then is said.
        PraError: A backup or its proof could not be made.
    """
    # The password of a target that is to be added may be in the environment already.
    before = load_settings(config, strangers=True) if config.exists() else None
    state_dir = before.state_dir if before else state_folder()
    progress = progresses.load(state_dir, config)
    resumed = before is not None and _is_half_done(progress, before) and not _is_another(given, progress)
    if before is not None and not resumed and not given.add_target:
        refuse_existing(config)
    if before is None and given.add_target:
        raise UsageError(
            f"there is no {config} to add a target to", op="add target", hint="Leave out --add-target."
        )
    if not given.yes:
        require_terminal()
    language = before.language if before else _language(given)
    out = Output(json, translator(language))
    adding = before if given.add_target and not resumed else None
    if not resumed and (adding is not None or progress.has("proof")):
        progress = progresses.Progress(config)
    if not resumed:  # whatever was written then is gone
        progress = progress.without("written", "backup", "proof")
    this = Setup(given, out, language, config, state_dir, adding, progress)
    try:
        settings = before if resumed and before is not None else _configure(this)
        if resumed:
            _say_resumed(this)
        code = init_proof.prove(this, settings)
    except (PraError, Stopped):
        _say_left(this)
        raise
    if this.progress.has("proof") or not given.backup:
        progresses.forget(state_dir)
    _result(this)
    return code


def _spoken() -> str:
    spoken = from_environment("LC_ALL", "LC_MESSAGES", "LANG") or ""
    return "fr" if spoken.lower().startswith("fr") else "en"


def _language(given: Given) -> str:
    """As asked for, else as the terminal speaks, else as is chosen now."""
    if given.language is not None:
        return given.language
    asking = Asking(given.yes, Output(False, translator("en")))
    return asking.choose("Language / Langue", "--language", ("en", "fr"), _spoken())


def _is_half_done(progress: progresses.Progress, settings: Settings) -> bool:
    """An earlier try has written these settings, and no proof followed."""
    answers = progress.answers
    return progress.unfinished and answers is not None and answers.target in settings.targets


def _is_another(given: Given, progress: progresses.Progress) -> bool:
    """Another target is asked for than the one that is half set up."""
    known = progress.answers
    return given.add_target and given.target is not None and (not known or known.target != given.target)


def _configure(this: Setup) -> Settings:
    """Every step up to the settings' file."""
    _ = this._
    if this.progress.done:
        this.out.text(_("An earlier try left its answers: they are the defaults now."))
    init_database.database(this)
    init_database.engine(this)
    init_database.objectives(this)
    init_repositories.repositories(this)
    init_alerts.alerts(this)
    init_alerts.rules(this)
    state = from_environment("PRA_STATE_DIR")
    this.answer(state_dir=str(this.state_dir) if state else None)
    init_keys.keys(this)
    init_keys.sheet(this)
    return init_keys.write(this)


def _say_resumed(this: Setup) -> None:
    _ = this._
    sentence = _("{file} stands since an earlier try: going on with the first backup and its proof.")
    if this.progress.has("backup"):
        sentence = _("{file} and a first backup stand since an earlier try: going on with the proof.")
    this.out.text(escape(sentence.format(file=this.config)))


def _say_left(this: Setup) -> None:
    """What exists after an error or an interruption, and how to go on."""
    _, done = this._, this.progress
    if done.has("written"):
        left = _("{file} and .env are written and stay; what is missing is the proof.").format(
            file=this.config
        )
    elif done.has("keys"):
        left = _("Keys are in {folder} and stay; {file} is not written yet.").format(
            folder=this.state_dir / "keys", file=this.config
        )
    elif done.has("answers"):
        left = _("Nothing is written yet but your answers; passwords are not kept.")
    else:
        this.out.note(_("Nothing is written yet."))
        return
    this.out.note(left)
    this.out.note(_("Run the same command again: it goes on from here."))


def _result(this: Setup) -> None:
    answers, cost = this.answers, this.cost
    this.out.result(
        SCHEMA,
        {
            "config": str(this.config),
            "target": answers.target,
            "engine": answers.engine,
            "repositories": [each.name for each in answers.repositories],
            "retention_bytes": cost.total if cost else None,
            "retention_measured": cost.measured if cost else None,
            "sheet": str(this.sheet) if this.sheet else None,
            "backup_id": None,
            "proof": None,
            "findings": [finding.as_json() for finding in this.findings],
            **this.result,
        },
    )
