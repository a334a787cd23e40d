"""Questions at a terminal, and the same questions answered beforehand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm, Prompt

from deployments.cli.output import Output
from pra.errors import UsageError
from pra.messages import Translate


@dataclass(frozen=True)
class Given:
    """What the command line said. With ``yes`` nothing is asked: what is missing is an error.

    Attributes:
        repositories: URLs by name; an empty one names a repository that pra.toml has already.
        sheet: Where the recovery sheet is written.
    """

    yes: bool = False
    add_target: bool = False
    target: str | None = None
    dsn: str | None = None
    engine: str = "auto"
    repositories: dict[str, str] = field(default_factory=dict)
    endpoints: dict[str, str] = field(default_factory=dict)
    regions: dict[str, str] = field(default_factory=dict)
    access_keys: dict[str, str] = field(default_factory=dict)
    object_lock: tuple[str, ...] = ()
    rpo: str | None = None
    rto: str | None = None
    language: str | None = None
    slack_channel: str | None = None
    rules: bool = True
    sheet: Path | None = None
    bindir: str | None = None
    fast: bool = False
    backup: bool = True
    send: bool = True


@dataclass
class Asking:
    """Asks a person; with ``yes`` it takes defaults, and refuses where there is none."""

    yes: bool
    out: Output

    @property
    def _(self) -> Translate:
        return self.out.translate

    def text(
        self,
        question: str,
        option: str,
        *,
        given: str | None = None,
        default: str | None = None,
        check: Callable[[str], object] = bool,
    ) -> str:
        """One answer, which ``check`` accepts: it raises UsageError for a wrong one, and is asked again.

        Args:
            option: What answers it on the command line.
        """
        while True:
            answer = given if given is not None else self._line(question, option, default)
            try:
                check(answer)
                return answer
            except UsageError as error:
                if self.yes or given is not None:
                    raise
                self.out.text(f"[red]{escape(error.message)}[/]. {escape(error.hint)}")

    def _line(self, question: str, option: str, default: str | None) -> str:
        if self.yes:
            if default is None:
                raise UsageError(
                    f"{option} is missing", op="set up", hint=f"With --yes nothing is asked: give {option}."
                )
            return default
        while True:
            answer = self._answered(lambda: Prompt.ask(escape(question), console=Console(), default=default))
            if answer:
                return answer.strip()

    def secret(self, question: str) -> str:
        """Typed without being shown."""
        return self._answered(lambda: Prompt.ask(escape(question), console=Console(), password=True)) or ""

    def sure(self, question: str, *, default: bool) -> bool:
        """Yes or no; with ``yes``, the default."""
        if self.yes:
            return default
        _ = self._
        letters = [_("y"), _("n")]
        asking = Confirm(escape(question), console=Console(), choices=letters)
        asking.validate_error_message = f"[prompt.invalid]{' / '.join(letters)}"
        return bool(self._answered(lambda: asking(default=default)))

    def choose(self, question: str, option: str, choices: Sequence[str], default: str) -> str:
        if self.yes:
            return default
        asking = Prompt(escape(question), console=Console(), choices=list(choices))
        asking.illegal_choice_message = f"[prompt.invalid.choice]{' / '.join(choices)}"
        return str(self._answered(lambda: asking(default=default)))

    def pause(self, question: str) -> None:
        """Wait for Enter."""
        self._answered(
            lambda: Prompt.ask(escape(question), console=Console(), default="", show_default=False)
        )

    def _answered[T](self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except EOFError:
            raise UsageError(
                "the answers ended before the questions",
                op="set up",
                hint="Answer at a terminal, or give everything as options with --yes: pra init --help",
            ) from None


def require_terminal() -> None:
    """Raises UsageError where nobody could answer."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "there is no terminal to ask at",
            op="set up",
            hint="Give everything as options: pra init --yes --dsn … --repository local=file:///backups "
            "--sheet FILE",
        )
