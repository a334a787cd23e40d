"""What every record that is shown has in common, whatever it is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pra.model import CheckResult


class Recorded(Protocol):
    @property
    def checks(self) -> tuple[CheckResult, ...]: ...
    @property
    def facts(self) -> Mapping[str, Any]: ...
