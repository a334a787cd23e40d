"""What `pra deploy` reports. Knows no Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["created", "updated", "removed", "unchanged"]


@dataclass(frozen=True)
class Change:
    """What was done to a deployment (``flow/target``), a work pool or an automation.

    ``what`` names the fields that differed.
    """

    name: str
    action: Action
    what: tuple[str, ...] = ()
