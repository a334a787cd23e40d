"""What both engines' restores have in common for the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from deployments.cli.output import Output
from pra.errors import PraError
from pra.procedures.judging import VerifyReport

Show = Callable[[Output], None]


@dataclass(frozen=True)
class Done:
    """A finished restore: ``document`` is what its JSON adds to the proof, ``tell`` what a person reads."""

    report: VerifyReport
    document: Mapping[str, Any]
    tell: Show


class Way(Protocol):
    """A restore that has been asked for and can be planned or carried out."""

    def plan(self) -> Show:
        """What would happen, ready to be shown. Changes nothing."""

    def refusal(self) -> PraError | None:
        """Why the destination could not receive it as it stands now."""

    def carry_out(self) -> Done:
        """Do it. Raises PraError as the procedures do."""
