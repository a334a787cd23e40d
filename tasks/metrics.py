"""Metrics as tasks: gathered once, then shown as a page, a table and the report text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Completed

from pra.report import html, markdown
from pra.report.metrics import metrics_report_of
from pra.report.metrics_letter import letter
from pra.report.metrics_words import actual, goal, inside_word, reach
from pra.report.output import write_report
from pra.report.words import Words
from pra.settings import Settings, load_settings
from pra.timing import utc_now
from pra.watch.metrics.judge import judged
from pra.watch.metrics.reading import gather
from pra.watch.metrics.whole import MONTH, TargetMetrics
from tasks import report
from tasks.report import Ended
from tasks.step import Handle, discreet, step

Configured = Handle[Settings]
Gathered = Handle[list[TargetMetrics]]
PAGE = "metrics.html"
"""The newest page, in the folder ``metrics`` of the state directory."""


@contextmanager
def settled() -> Iterator[Configured]:
    """Raises SettingsError."""
    with discreet():
        yield Handle(load_settings())


@step("gather")
def gathered(this: Configured) -> Gathered:
    """The last month of every target."""
    settings = this.held
    targets = list(settings.targets.values())
    return Handle(gather(settings, targets, utc_now() - timedelta(days=MONTH)) if targets else [])


@step("page", retries=0)
def page(this: Configured, found: Gathered) -> None:
    """As a file in the state directory, and as an artifact."""
    if not found.held:
        return
    settings = this.held
    shown = metrics_report_of(found.held, settings.language)
    write_report(settings.state_dir / "metrics" / PAGE, html.page(shown))
    with report.unimportant("the run's artifacts"):
        create_markdown_artifact(markdown.page(shown), key="metrics", description=shown.headline)


@step("table", retries=0)
def table(this: Configured, found: Gathered) -> None:
    """Week and month of every target against each objective."""
    words = Words(this.held.language)
    _ = words._
    rows = [
        {
            _("Target"): one.target,
            _("Objective"): reach(week.name, words),
            _("Goal"): goal(week, words),
            _("Week"): actual(week, words).text,
            _("Month"): actual(month, words).text,
        }
        for one in found.held
        for week, month in zip(judged(one.week, one.goals), judged(one.month, one.goals), strict=True)
    ]
    with report.unimportant("the run's artifacts"):
        create_table_artifact(rows, key="metrics-table", description=_("Against the objectives"))


@step("report", retries=0)
def letters(this: Configured, found: Gathered) -> None:
    """The weekly report as text, one artifact a target."""
    words = Words(this.held.language)
    for one in found.held:
        with report.unimportant("the run's artifacts"):
            create_markdown_artifact(
                f"```text\n{letter(one, words)}\n```",
                key=f"metrics-report-{one.target}",
                description=words._("Weekly report, ready to send"),
            )


def ended(this: Configured, found: Gathered) -> Ended:
    """Metrics are a measurement: missed objectives are told, and are no failure of the run."""
    words = Words(this.held.language)
    insides = [each.inside for each in found.held]
    said = "; ".join(f"{each.target}: {inside_word(each.inside, words)}" for each in found.held)
    if False in insides:
        return Completed(name="Outside", message=said)
    if None in insides or not insides:
        return Completed(name="Unknown", message=said or "no target is configured")
    return Completed(message=said)
