"""The drill as an operator runs it: from the deployment's form in Prefect's pages, approved in its dialog."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.fix_browser import Orchestra, orchestra
from tests.fix_drill import rehearsals
from tests.fix_world import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.timeout(600), pytest.mark.all]
WAIT = 120_000  # milliseconds


@pytest.fixture
def stage(drill_world: World, tmp_path: Path) -> Iterator[Orchestra]:
    with orchestra(drill_world, tmp_path / "prefect", "verify") as found:
        yield found


def test_a_drill_is_run_approved_and_read_in_the_browser(stage: Orchestra, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    run_id = start(stage, page, "data-loss")
    paused(stage, run_id)
    answer(stage, page, run_id, "proceed")
    ended = final(stage, run_id)
    assert (ended.name, "PASS" in str(ended.message)) == ("Completed", True), ended.message
    page.goto(f"{stage.ui_url}/runs/flow-run/{run_id}")
    stage.shot(page, "5-run")
    page.goto(f"{stage.ui_url}/artifacts/artifact/{report_of(stage, run_id)}")
    for words in ("Inside our objectives", "as rehearsed", "the operator on call", "Checks"):
        page.get_by_text(words).first.wait_for(timeout=WAIT)
    stage.shot(page, "6-report")


def report_of(stage: Orchestra, run_id: str) -> str:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run_id)]))
    with stage.client() as client:
        (found,) = [a for a in client.read_artifacts(artifact_filter=mine) if a.key == "drill-db"]
    return str(found.id)


def test_an_abort_in_the_browser_leaves_nothing_running(
    stage: Orchestra, drill_world: World, browser: Browser
) -> None:
    before = rehearsals(drill_world)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    run_id = start(stage, page, "database-down")
    paused(stage, run_id)
    answer(stage, page, run_id, "abort")
    ended = final(stage, run_id)
    assert ended.name == "Aborted", ended.message
    deadline = time.monotonic() + 30
    while rehearsals(drill_world) != before:
        assert time.monotonic() < deadline, rehearsals(drill_world) - before
        time.sleep(0.2)


def start(stage: Orchestra, page: Page, scenario: str) -> str:
    deployment = stage.deployment("dr-drill/db")
    page.goto(f"{stage.ui_url}/deployments/deployment/{deployment}")
    page.get_by_text("dr-drill").first.wait_for(timeout=WAIT)
    stage.shot(page, "1-deployment")
    page.goto(f"{stage.ui_url}/deployments/deployment/{deployment}/run")
    page.get_by_text("approval_minutes").wait_for(timeout=WAIT)
    stage.shot(page, "2-form")
    if scenario != "database-down":
        choose(page, page.locator("button.p-select-button__control", has_text="database-down"), scenario)
    stage.shot(page, "3-filled")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/deployments/deployment/**", timeout=WAIT)
    deadline = time.monotonic() + 60
    while (run := stage.newest_run(deployment)) is None or run.parameters["scenario"] != scenario:
        assert time.monotonic() < deadline, "the form did not start a run"
        time.sleep(0.5)
    return str(run.id)


def choose(page: Page, select: Locator, option: str) -> None:
    """By keyboard: Prefect's lists open and close within one click of a machine."""
    select.focus()
    page.keyboard.press("ArrowDown")
    page.locator(".p-select-option", has_text=option).click(timeout=WAIT)


def paused(stage: Orchestra, run_id: str) -> None:
    deadline = time.monotonic() + 200
    while (state := state_of(stage, run_id)).name != "Paused":
        assert not state.is_final(), state.message
        assert time.monotonic() < deadline, state.name
        time.sleep(0.5)


def answer(stage: Orchestra, page: Page, run_id: str, decision: str) -> None:
    page.goto(f"{stage.ui_url}/runs/flow-run/{run_id}")
    page.get_by_role("button", name="Resume").first.click(timeout=WAIT)
    dialog = page.locator(".p-modal")
    dialog.get_by_text("Recover?").wait_for(timeout=WAIT)
    choose(page, dialog.locator("button.p-select-button__control"), decision)
    dialog.locator("textarea").nth(0).fill("the operator on call")
    dialog.locator("textarea").nth(1).fill("as rehearsed")
    stage.shot(page, f"4-{decision}")
    dialog.get_by_role("button", name="Submit").click()
    dialog.wait_for(state="hidden", timeout=WAIT)


def final(stage: Orchestra, run_id: str) -> Any:
    deadline = time.monotonic() + 200
    while not (state := state_of(stage, run_id)).is_final():
        assert time.monotonic() < deadline, state.name
        time.sleep(0.5)
    return state


def state_of(stage: Orchestra, run_id: str) -> Any:
    with stage.client() as client:
        return client.read_flow_run(UUID(run_id)).state
