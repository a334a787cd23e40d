"""``pra approve``: an approver's own key answers a failover's challenge. Works anywhere, without pra.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from deployments.cli.output import Output
from deployments.cli.session import JsonOption
from deployments.running.access import find_api
from pra.approval import Challenge, answer, read_challenge
from pra.errors import UsageError
from pra.keys import load_approver_key
from pra.messages import translator
from pra.settings import approver_key_file, state_folder
from pra.signing import Signer

_LARGEST = 1 << 20

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE|-|RUN", help="A file with the challenge, - for standard input, or a Prefect flow run."
    ),
]
KeyOption = Annotated[Path | None, typer.Option("--key-file", metavar="FILE", help="The approver's own key.")]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask whether the plan that was shown is agreed to.")
]


def command(
    source: SourceArgument, key_file: KeyOption = None, yes: YesOption = False, json: JsonOption = False
) -> int:
    """Sign a failover's challenge with your own key and print the answer, or resume the run that waits."""
    out = Output(json, translator("en"))
    signer = load_approver_key(key_file or approver_key_file())
    if (run := _run_id(source)) is not None:
        return _resume(out, run, signer, yes=yes)
    challenge = read_challenge(_read(source))
    _show(out, challenge, ask=not yes and source != "-" and sys.stdin.isatty())
    _answered(out, challenge, signer, answer(challenge, signer))
    return 0


def _answered(out: Output, challenge: Challenge, signer: Signer, text: str) -> None:
    document = {
        "target": challenge.target,
        "failover": challenge.failover,
        "plan_sha256": challenge.plan_sha256,
        "key_id": signer.key_id,
        "answer": "".join(text.split()),
    }
    if not out.result("pra/approval/1", document):
        sys.stdout.write(text + "\n")


def _show(out: Output, challenge: Challenge, *, ask: bool) -> None:
    """What is about to be signed: the plan in words, and its digest."""
    for line in challenge.lines:
        out.note(line)
    out.note(f"Failover {challenge.failover} of {challenge.target}, plan {challenge.plan_sha256[:16]}")
    out.note(f"To be answered before {challenge.expires_at:%Y-%m-%d %H:%M:%S} UTC.")
    if ask and not typer.confirm("Approve?", err=True):
        raise UsageError("it was not approved", op="approve", hint="Nothing was signed.")


def _read(source: str) -> str:
    if source == "-":
        return sys.stdin.read(_LARGEST)
    path = Path(source)
    try:
        with path.open() as file:
            return file.read(_LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read {source[:200]}: {type(error).__name__}",
            op="read challenge",
            hint="Name a file with the challenge, write - and paste it, or give a Prefect flow run's id.",
        ) from None


def _run_id(source: str) -> UUID | None:
    if source == "-" or Path(source).exists():
        return None
    try:
        return UUID(source.rstrip("/").rpartition("/")[2])  # the run's address will do
    except ValueError:
        return None


def _resume(out: Output, run: UUID, signer: Signer, *, yes: bool) -> int:
    find_api(state_folder())
    # Loaded here: only an approval of a run may load Prefect.
    from deployments import flow_runs

    challenge = flow_runs.challenge_of(run)
    _show(out, challenge, ask=not yes and sys.stdin.isatty())
    text = answer(challenge, signer)
    flow_runs.answer(run, text)
    _answered(out, challenge, signer, text)
    return 0
