"""The runbook of this installation: what to do at three in the morning, with its own names and figures."""

from pra.runbook.facts import Facts, TargetFacts
from pra.runbook.gathering import gather
from pra.runbook.rendering import page, render, section

__all__ = ["Facts", "TargetFacts", "gather", "page", "render", "section"]
