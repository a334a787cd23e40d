"""``pra runbook``: needs neither a database nor Prefect, and repositories only for what they would add."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from deployments.cli.session import JsonOption, Session, start
from pra.errors import UsageError

SCHEMA = "pra/runbook/1"

OutputOption = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Where to write it; else it is printed.")
]
LanguageOption = Annotated[
    Literal["en", "fr"] | None, typer.Option("--language", help="Instead of the settings' own.")
]
SectionOption = Annotated[
    str | None,
    typer.Option("--section", metavar="NAME", help="That section alone, by the name that an alert gives."),
]
HtmlOption = Annotated[
    bool, typer.Option("--html", help="As one HTML page that needs nothing else, instead of Markdown.")
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Ask no repository: last proofs and drills as remembered here.")
]
NoFactsOption = Annotated[
    bool,
    typer.Option("--no-facts", help="Leave out what changes by the day, for a page under version control."),
]


def command(
    context: typer.Context,
    output: OutputOption = None,
    language: LanguageOption = None,
    section: SectionOption = None,
    html: HtmlOption = False,
    offline: OfflineOption = False,
    no_facts: NoFactsOption = False,
    json: JsonOption = False,
) -> int:
    """Write the runbook of this installation: who is called, what to do, with its own names and figures.

    Exit 2 when a repository could not be asked: what only it knew is then unknown.
    """
    session = start(context, json=json)
    if offline and no_facts:
        raise UsageError(
            "--offline and --no-facts were given", op="write runbook", hint="Give one of the two."
        )
    written = language or session.settings.language
    text, problems = _made(session, written, section, offline=offline, facts=not no_facts, html=html)
    if output is not None:
        from pra.report.output import write_report

        write_report(output, text)
    document = {
        "language": written,
        "section": section,
        "form": "html" if html else "markdown",
        "file": str(output) if output else None,
        "text": text,
        "problems": problems,
    }
    if not session.out.result(SCHEMA, document) and output is None:
        typer.echo(text, nl=False)
    for line in problems:
        session.out.note(f"warning: {line}")
    return 2 if problems and not offline else 0


def _made(
    session: Session, language: str, section: str | None, *, offline: bool, facts: bool, html: bool
) -> tuple[str, list[str]]:
    """The page, and what could not be found out for it."""
    from pra import runbook  # Jinja2 is needed for this alone

    found = None
    if facts:
        found = runbook.gather(session.settings, config=session.config, offline=offline)
    text = runbook.render(session.settings, found, language)
    if section is not None:
        text = runbook.section(text, section)
    return runbook.page(text, language) if html else text, found.problems if found else []
