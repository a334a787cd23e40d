"""Keys, the recovery sheet, and ``pra.toml``: what ``pra init`` leaves behind for good."""

from __future__ import annotations

import os
from pathlib import Path

import pyrage
from rich.markup import escape

from deployments.cli.init_alerts import suite_name
from deployments.cli.init_state import Setup
from deployments.cli.output import Output
from pra.errors import PraError, UsageError
from pra.keys import (
    IDENTITY_FILE,
    SIGNING_FILE,
    RepositoryAccess,
    key_sheet,
    load_identities,
    load_keyring,
    make_keys,
)
from pra.procedures.key_change import record_keys
from pra.settings import Encryption, Settings, Signing
from pra.setup.document import more_text, toml_text
from pra.setup.landing import Landing, land
from pra.timing import utc_now

_LAST = 6
"""Characters of the identity that are typed from the copy: whoever can, has one."""


def keys(this: Setup) -> None:
    """Make keys, or take those that are there: they are never overwritten."""
    _ = this._
    this.heading(_("7. Keys"))
    if this.before is not None:
        this.answer(recipients=tuple(this.before.encryption.recipients or ()))
        return
    folder = this.state_dir / "keys"
    if (folder / IDENTITY_FILE).exists() and (folder / SIGNING_FILE).exists():
        this.out.text(escape(_("Keys are in {folder} already, and stay.").format(folder=folder)))
    else:
        this.made = make_keys(folder, keep_identity=True)
        this.progress = this.progress.without("sheet")  # a sheet of other keys is none of these
        this.out.text(
            escape(_("Keys made in {folder}, readable by this account alone.").format(folder=folder))
        )
    identity = _identities(this)[0]
    this.answer(recipients=(str(pyrage.x25519.Identity.from_str(identity).to_public()),))
    this.reached("keys")


def _identities(this: Setup) -> list[str]:
    return load_identities(Encryption(), this.state_dir)


def sheet(this: Setup) -> None:
    """Insist on a copy of the keys that is not on this machine.

    Raises:
        UsageError: With ``--yes``: no place was named for it, or something else lies there.
    """
    if this.before is not None or this.progress.has("sheet"):
        return
    _ = this._
    text = _text(this)
    if this.given.yes:
        if this.given.sheet is None:
            raise UsageError(
                "no place for the recovery sheet was named",
                op="make recovery sheet",
                hint="Without it an encrypted backup is lost with this machine: give --sheet FILE, and take "
                "the file away from here.",
            )
        this.sheet = _write(this.given.sheet, text)
        sentence = _(
            "The recovery sheet is in {file}. It must leave this machine: print it, keep it elsewhere."
        )
        this.out.text(f"[yellow]{escape(sentence.format(file=this.sheet))}[/]")
    else:
        _insist(this, text)
    this.reached("sheet")


def _insist(this: Setup, text: str) -> None:
    """Show or write it, and go on only when its last characters come back."""
    _, identity = this._, _identities(this)[0]
    this.out.text(
        _("Whoever loses this machine and has no copy of the keys has lost every backup. So make one now.")
    )
    default = str(this.given.sheet or this.config.parent / "recovery-sheet.txt")
    place = this.ask.text(_("File for the recovery sheet (- shows it here)"), "--sheet", default=default)
    if place == "-":
        this.out.text()
        this.out.text(escape(text))
    else:
        this.sheet = _write(Path(place).absolute(), text)
        sentence = _("It is in {file}. Print it now, or copy it to a safe outside this machine.")
        this.out.text(escape(sentence.format(file=this.sheet)))
    question = _("From your copy, the last {count} characters of the age identity").format(count=_LAST)
    while True:
        typed = this.ask.text(question, "--sheet")
        if typed.upper() == identity[-_LAST:]:
            break
        this.out.text(_("Those are others. The identity is the line that begins with AGE-SECRET-KEY-1."))
    if this.sheet is not None and this.ask.sure(_("Remove the file from this machine?"), default=True):
        this.sheet.unlink(missing_ok=True)
        this.sheet = None


def _text(this: Setup) -> str:
    answers = this.answers
    return key_sheet(
        identities=_identities(this),
        public_keys=[key.text() for key in load_keyring(Signing(), this.state_dir) if key.text()],
        repositories=[
            RepositoryAccess(each.name, each.url, each.endpoint, each.region, each.access_key_id)
            for each in answers.repositories
        ],
        targets=[answers.target],
        made_at=utc_now(),
        translate=this._,
    )


def _write(path: Path, text: str) -> Path:
    """A new file, 0600; one of an earlier attempt that says the same is as good.

    Raises:
        UsageError: Something else lies there, or it cannot be written.
    """
    hint = "Name another file with --sheet."
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            known = _undated(path.read_text(encoding="utf-8")) == _undated(text)
        except (OSError, UnicodeDecodeError):
            known = False
        if not known:
            raise UsageError(f"{path} exists already", op="make recovery sheet", hint=hint) from None
        return path
    except OSError as error:
        fact = f"cannot write {path}: {(error.strerror or type(error).__name__).lower()}"
        raise UsageError(fact, op="make recovery sheet", hint=hint) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path


def _undated(text: str) -> list[str]:
    """Without its third line, which says when it was made."""
    lines = text.splitlines()
    return lines[:2] + lines[3:]


# -- pra.toml ------------------------------------------------------------------------------------


def write(this: Setup) -> Settings:
    """Put ``pra.toml``, ``.env`` and the suite in place, all or nothing.

    Raises:
        SettingsError, UsageError: As `land`.
    """
    _, answers = this._, this.answers
    this.heading(_("8. Settings"))
    before = this.config.read_bytes() if this.before is not None else None
    if before is None:
        text = toml_text(answers, _)
    else:
        known = list(this.before.repositories) if this.before else []
        text = before.decode("utf-8").rstrip("\n") + "\n" + more_text(answers, known, _)
    files = {suite_name(this): this.suite} if this.suite else {}
    this.reached("written")  # before it is: whoever dies in between must find it again
    try:
        settings = land(Landing(this.config, text, before, this.secrets, files))
    except PraError:
        this.progress = this.progress.without("written")
        this.save()
        raise
    this.out.text(escape(_("Written: {file}").format(file=this.config)))
    if this.secrets:
        this.out.text(
            escape(
                _("Written: {file}, for this account alone; secrets: {count}").format(
                    file=this.config.parent / ".env", count=len(this.secrets)
                )
            )
        )
    for name in files:
        this.out.text(escape(_("Written: {file}").format(file=this.config.parent / name)))
    _record(this, settings, this.out)
    return settings


def _record(this: Setup, settings: Settings, out: Output) -> None:
    """New keys go on record in the target's evidence, as ``pra key make`` does."""
    if this.made is None:
        return
    for each in record_keys(settings, this.made):
        if each.key:
            out.text(escape(this._("Recorded as {evidence}.").format(evidence=each.key)))
