"""What one ``pra init`` knows on its way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deployments.cli.init_ask import Asking, Given
from deployments.cli.output import Output
from pra.errors import UsageError
from pra.keys import KeyReport
from pra.messages import Translate
from pra.settings import Settings
from pra.setup import progress as progresses
from pra.setup.answers import Answers
from pra.setup.diagnosis import Diagnosis
from pra.setup.estimate import Cost
from pra.setup.progress import Progress
from pra.setup.server import ServerReport
from pra.watch.status.finding import Level


@dataclass
class Setup:
    """One set-up under way.

    Attributes:
        before: The settings that a target is added to; None for a new installation.
        secrets: Variables for ``.env``; never shown.
        suite: The proposed rules as YAML; empty: none.
        made: The keys, where they were made just now.
        sheet: Where the recovery sheet lies; None where it was only shown, or is not due.
    """

    given: Given
    out: Output
    language: str
    config: Path
    state_dir: Path
    before: Settings | None
    progress: Progress
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    findings: list[Diagnosis] = field(default_factory=list)
    report: ServerReport | None = None
    suite: str = ""
    cost: Cost | None = None
    made: KeyReport | None = None
    sheet: Path | None = None
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def ask(self) -> Asking:
        return Asking(self.given.yes, self.out)

    @property
    def _(self) -> Translate:
        return self.out.translate

    @property
    def answers(self) -> Answers:
        """What has been answered so far."""
        if self.progress.answers is None:
            raise UsageError("the database has not been named yet", op="set up")
        return self.progress.answers

    def answer(self, **changed: Any) -> None:
        """Remember answers, so that the next attempt knows them."""
        answers = replace(self.answers, **changed)
        if answers.repositories != self.answers.repositories:
            self.progress = self.progress.without("sheet")  # it says where backups lie
        self.progress = replace(self.progress, answers=answers)
        self.save()

    def reached(self, step: str) -> None:
        self.progress = self.progress.with_step(step)
        self.save()

    def save(self) -> None:
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        progresses.save(self.state_dir, self.progress)

    @property
    def server(self) -> ServerReport:
        """The last look at the server."""
        assert self.report is not None  # the first step looks at it
        return self.report

    def heading(self, title: str) -> None:
        self.out.text()
        self.out.text(f"[bold]{title}[/]")


def refuse_critical(findings: list[Diagnosis]) -> None:
    """With ``--yes``: the first critical finding as an error, its remedies in the hint.

    Raises:
        UsageError: There is one.
    """
    for finding in findings:
        if finding.level is Level.CRITICAL:
            remedies = " ".join(" ".join(mend.text.split()) for mend in finding.mend)
            hint = f"{finding.hint} {remedies}".strip()
            where = f"test {finding.target or finding.name}"
            raise UsageError(finding.message, op=where, hint=hint)
