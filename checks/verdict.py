"""From answers to a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from checks.plan import Plan, required
from pra.model import CheckResult, Verdict, verdict_of


def verdict(plan: Plan, results: Sequence[CheckResult]) -> Verdict:
    """PASS only if every planned question was asked and answered well.

    ``plan.ruled_out`` may be among the results or not: it does not lower the verdict.
    """
    return verdict_of(results, required=required(plan))
