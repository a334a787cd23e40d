"""``pra key make | sheet | rotate | approver``"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from deployments.cli import completion
from deployments.cli.output import Output
from deployments.cli.session import JsonOption, start
from pra.keys import (
    KeyReport,
    RepositoryAccess,
    key_sheet,
    load_identities,
    load_keyring,
    make_approver_key,
    make_keys,
    rotate_keys,
)
from pra.messages import translator
from pra.procedures.key_change import KeyRecord, record_keys
from pra.settings import Settings, approver_key_file
from pra.timing import utc_now

app = typer.Typer(help="The keys that encrypt and sign: make them, print the recovery sheet, replace them.")


@app.command()
def make(context: typer.Context, json: JsonOption = False) -> None:
    """Write a new age identity and a new signing key below the state directory."""
    session = start(context, json=json)
    report = make_keys(session.settings.state_dir / "keys", alg=session.settings.signing.alg)
    _show(session.out, report, record_keys(session.settings, report))


@app.command()
def rotate(context: typer.Context, json: JsonOption = False) -> None:
    """Replace both keys; what the old ones encrypted or signed stays readable."""
    session = start(context, json=json)
    report = rotate_keys(session.settings.state_dir / "keys")
    _show(session.out, report, record_keys(session.settings, report))


@app.command()
def sheet(
    context: typer.Context,
    json: JsonOption = False,
    target: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]…", help="Only these.", autocompletion=completion.targets),
    ] = None,
) -> None:
    """Print all that is needed to restore on an empty host. Whoever holds it can read every backup."""
    session = start(context, json=json)
    settings, out = session.settings, session.out
    targets = [settings.target(name).name for name in target] if target else sorted(settings.targets)
    used = {name for each in targets for name in settings.targets[each].repositories}
    text = key_sheet(
        identities=load_identities(settings.encryption, settings.state_dir),
        public_keys=[key.text() for key in load_keyring(settings.signing, settings.state_dir) if key.text()],
        repositories=_access(settings, used),
        targets=targets,
        made_at=utc_now(),
        translate=out.translate,
    )
    if not out.result("pra/key-sheet/1", {"targets": targets, "sheet": text}):
        typer.echo(text, nl=False)


@app.command()
def approver(
    key_file: Annotated[
        Path | None, typer.Option("--key-file", metavar="FILE", help="Where to write it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make the key of a person who approves failovers. Needs no pra.toml: run it on that person's machine."""
    file = key_file or approver_key_file()
    signer = make_approver_key(file)
    # No settings, hence no language: in English.
    out = Output(json, translator("en"))
    document = {"public_key": signer.public_key, "key_id": signer.key_id, "key_file": str(file)}
    if not out.result("pra/approver-key/1", document):
        out.text(escape(f"The key is in {file}. Put its public half into pra.toml, where failovers are run:"))
        out.text(escape(f'approvers = ["{signer.public_key}"]'))


def _access(settings: Settings, names: set[str]) -> list[RepositoryAccess]:
    return [
        RepositoryAccess(each.name, each.url, each.endpoint, each.region, each.access_key_id)
        for each in settings.repositories.values()
        if each.name in names
    ]


def _show(out: Output, report: KeyReport, records: Sequence[KeyRecord]) -> None:
    _ = out.translate
    document = {
        "recipient": report.recipient,
        "signing_public_key": report.signing_public_key,
        "identity_file": str(report.identity_file),
        "key_id": report.key_id,
        "evidence": [
            {"target": each.target, "key": each.key or None, "reason": each.reason or None}
            for each in records
        ],
    }
    if out.result("pra/key/1", document):
        return
    out.text(_("Keys written to {directory}.").format(directory=escape(str(report.identity_file.parent))))
    out.text(_("Put this into pra.toml:"))
    out.text()
    out.text(escape(f'[encryption]\nrecipients = ["{report.recipient}"]'))
    out.text()
    if report.signing_public_key:
        out.text(
            _("Other machines trust what this one signs with signing.trusted = {keys}").format(
                keys=escape(f'["{report.signing_public_key}"]')
            )
        )
    for each in records:
        if each.key:
            out.text(_("Recorded as {evidence}.").format(evidence=escape(each.key)))
        else:
            out.text(_("Not recorded as evidence: {reason}.").format(reason=escape(each.reason)))
    out.text(_("Print the recovery sheet now, and keep it off this site: pra key sheet"))
