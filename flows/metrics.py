"""Metrics: are we inside our objectives? Once a week, for every target."""

from __future__ import annotations

from prefect import flow

from tasks import metrics as step
from tasks import report
from tasks.report import Ended


@flow(name="metrics", flow_run_name=report.moment_name, persist_result=False, **report.HOOKS)
def metrics() -> Ended:
    """Put the records of all targets together, and show week and month against the objectives.

    Leaves a page, a table and the weekly report's text. Ends as Completed when every objective was met,
    Outside when one was missed, Unknown when too little is known to say so.
    """
    if newer := report.overtaken():
        return report.skipped(newer)
    with step.settled() as this:
        found = step.gathered.submit(this).result()
        shown = [each.submit(this, found) for each in (step.page, step.table, step.letters)]
        for each in shown:
            each.result()
        return step.ended(this, found)
