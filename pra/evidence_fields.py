"""Parts that several kinds of records have in common, to JSON and back. Durations are whole milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pra.model import CheckResult, Status, Verdict
from pra.timing import Objective


def milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def seconds(found: int | None) -> float | None:
    """The way back."""
    return None if found is None else found / 1000


def verdict_of(text: str) -> Verdict | str:
    """A verdict, or another word for how it ended."""
    return Verdict(text) if text in set(Verdict) else text


def checks_json(checks: Sequence[CheckResult]) -> list[dict[str, Any]]:
    """Without how long each took: two records of the same answers shall be the same."""
    return [{key: value for key, value in c.as_json().items() if key != "seconds"} for c in checks]


def checks_of(found: Sequence[Mapping[str, Any]]) -> tuple[CheckResult, ...]:
    """Raises KeyError, ValueError where one is none."""
    return tuple(
        CheckResult(
            name=c["name"],
            status=Status(c["status"]),
            expected=c["expected"],
            observed=c["observed"],
            reason=c["reason"],
            details=tuple(c["details"]),
        )
        for c in found
    )


def objective_json(objective: Objective | None, how: str) -> dict[str, Any] | None:
    """Target, measurement and verdict; ``how`` says in one sentence how it was measured."""
    if objective is None:
        return None
    return {
        "target_milliseconds": milliseconds(objective.target_seconds),
        "actual_milliseconds": milliseconds(objective.seconds),
        "met": objective.met,
        "how": how,
    }


def objective_of(name: str, found: Mapping[str, Any] | None) -> Objective | None:
    if found is None:
        return None
    return Objective(name, found["target_milliseconds"] / 1000, seconds(found["actual_milliseconds"]))
