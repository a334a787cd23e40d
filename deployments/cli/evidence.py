"""``pra evidence list | show | verify``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.evidence_words import item, record_json, show_audit, show_record, show_records
from deployments.cli.output import Output
from deployments.cli.session import JsonOption, TargetArgument, start
from pra.errors import NotFoundError
from pra.evidence_chain import walk
from pra.evidence_copies import from_folder
from pra.evidence_record import EvidenceRecord, Head, parse_head
from pra.keys import Keyring, load_keyring
from pra.messages import translator
from pra.proc import Scope
from pra.procedures.context import Context
from pra.procedures.evidence_audit import Audit, audit
from pra.signing import TrustedKey, parse_public_key

app = typer.Typer(help="The signed record of what was done and proven: list it, read it, verify it offline.")

KeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--public-key",
        metavar="KEY",
        help="Trust this key, ed25519:…, or those in this file, one a line; instead of the settings' keys.",
    ),
]


@app.command("list")
def list_records(
    context: typer.Context,
    target: TargetArgument = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="K", help="Only these: verification, restore, expiry …")
    ] = None,
    json: JsonOption = False,
) -> int:
    """List the records, newest first. Exit 2 where one of them cannot be believed."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    with Scope() as scope:
        everything = list(Context(session.settings, chosen, scope).evidence.records())
    # What cannot be believed has no kind, and is shown whatever was asked for.
    records = [each for each in everything if kind is None or each.problem or each.kind == kind]
    if not session.out.result("pra/evidence-list/1", {"items": [item(record) for record in records]}):
        show_records(session.out, records)
    return 2 if any(record.problem for record in records) else 0


@app.command("show")
def show(
    context: typer.Context,
    sequence: Annotated[int, typer.Argument(metavar="SEQUENCE", min=1, help="Its number in the list.")],
    target: TargetArgument = None,
    json: JsonOption = False,
) -> int:
    """Show one record. Exit 1 where it cannot be believed."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    with Scope() as scope:
        record = _find(Context(session.settings, chosen, scope), sequence)
    if not session.out.result("pra/evidence-record/1", record_json(record)):
        show_record(session.out, record)
    return 1 if record.problem else 0


@app.command("verify")
def verify(
    context: typer.Context,
    target: TargetArgument = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Copies of the records, instead of the repositories."),
    ] = None,
    public_key: KeysOption = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            "--head", metavar="SEQ:SHA256", help="A head known from elsewhere, as a verdict shows it."
        ),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Walk the chain: altered, removed, reordered, inserted, forked or cut off is found and named.

    With --folder and --public-key neither settings nor network are needed. Exit 1 where something was found.
    """
    heads = [_given(text) for text in head or ()]
    given = Keyring(key for text in public_key for key in read_keys(text)) if public_key else None
    if folder is not None and given is not None:
        out = Output(json, translator("en"))
        found = _audit_folder(folder, given, target, heads)
    else:
        session = start(context, json=json)
        out, settings = session.out, session.settings
        if folder is not None:
            keyring = load_keyring(settings.signing, settings.state_dir)
            found = _audit_folder(folder, keyring, target, heads)
        else:
            with Scope() as scope:
                work = Context(settings, settings.target(target), scope)
                found = audit(work, heads=heads, keyring=given)
    show_audit(out, found)
    return found.exit_code


def _find(context: Context, sequence: int) -> EvidenceRecord:
    records = context.evidence.records()
    record = next((each for each in records if each.sequence <= sequence), None)
    if record is None or record.sequence != sequence:
        raise NotFoundError(
            f"there is no record {sequence} of {context.target.name}",
            op="read evidence",
            hint=f"List them with: pra evidence list {context.target.name}",
        )
    return record


def _audit_folder(folder: Path, keyring: Keyring, target: str | None, heads: list[Head]) -> Audit:
    copies = from_folder(folder)
    return Audit(walk([copies], keyring, target=target, heads=heads), (copies.name,), len(heads))


def _given(text: str) -> Head:
    head = parse_head(text)
    return Head(head.sequence, head.sha256, "--head")


def read_keys(text: str) -> list[TrustedKey]:
    """A public key, or the file that holds one a line; blank lines and those with ``#`` are left out.

    Raises:
        SettingsError: It is neither, or a line is no key.
    """
    path = Path(text)
    if ":" in text or not path.is_file():
        return [parse_public_key(text)]
    try:
        lines = [line.strip() for line in path.read_text("ascii").splitlines()]
    except (OSError, UnicodeDecodeError):
        lines = [text]  # refused below, as what it is: no key
    keys = [line for line in lines if line and not line.startswith("#")]
    return [parse_public_key(line) for line in keys or [text]]
