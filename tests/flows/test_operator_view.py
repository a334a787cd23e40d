"""The operator's morning in Prefect's pages: the night's runs, a drill, a restore, why something failed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fix_browser import Orchestra, orchestra
from tests.fix_world import World
from tests.flows.test_drill_ui import WAIT, answer, choose, final, paused

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.timeout(900), pytest.mark.all]


@pytest.fixture
def stage(drill_world: World, tmp_path: Path) -> Iterator[Orchestra]:
    with orchestra(drill_world, tmp_path / "prefect", "verify", "backup", "emergency") as found:
        yield found


def test_an_operators_morning(stage: Orchestra, drill_world: World, browser: Browser) -> None:
    """From the page to start from, everything is reached by its links."""
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.set_default_timeout(WAIT)
    assert ended(stage, "restore-verify/db") == "Completed"
    assert ended(stage, "status/all") in ("Warning", "Critical"), "the origin's server is gone"

    start_here(stage, page)
    last_nights_runs(stage, page)
    rehearse(stage, page)
    restore_beside(stage, page, drill_world)
    why_did_it_fail(stage, page, drill_world)


def ended(stage: Orchestra, deployment: str, **parameters: Any) -> str:
    """Run it, as its schedule would, and give its last state's name."""
    with stage.client() as client:
        run = client.create_flow_run_from_deployment(
            stage.deployment_id(deployment), parameters=parameters or None
        )
    return str(final(stage, str(run.id)).name)


def open_page(stage: Orchestra, page: Page) -> None:
    """The newest of its history."""
    page.goto(f"{stage.ui_url}/artifacts/key/start-here")
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    page.get_by_role("heading", name="Is everything well?").wait_for()


def follow(stage: Orchestra, page: Page, link: Locator) -> None:
    """Where it leads, in this window; it is an address of this server, whatever name that is reached by."""
    address = str(link.get_attribute("href"))
    assert address.startswith("/"), address
    page.goto(stage.ui_url + address)


def start_here(stage: Orchestra, page: Page) -> None:
    """Which database is not well, and the links to its last proof, to what to press and where to look."""
    open_page(stage, page)
    stage.shot(page, "1-start-here")
    row = page.get_by_role("row", name=re.compile("^db ")).first
    assert re.search("WARNING|CRITICAL", row.inner_text())
    assert "<!--" not in page.locator("body").inner_text()
    follow(stage, page, row.get_by_role("link", name=re.compile("^PASS, ")))
    page.get_by_text("Recorded as").first.wait_for()
    open_page(stage, page)
    follow(stage, page, page.get_by_role("link", name="Deployments", exact=True).last)
    page.get_by_text("restore-verify").first.wait_for()
    stage.shot(page, "2-deployments")


def last_nights_runs(stage: Orchestra, page: Page) -> None:
    """Each by name, in the colour of its verdict."""
    open_page(stage, page)
    follow(stage, page, page.get_by_role("link", name="Runs", exact=True).last)
    # The pass over all databases is named after its moment, the proof after its backup.
    page.get_by_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d$")).first.wait_for()
    page.get_by_text(re.compile(r"^db \d{8}T\d{6}Z-")).first.wait_for()
    words = page.locator("body").inner_text()
    assert re.search("Critical|Warning", words)
    assert "Completed" in words
    stage.shot(page, "3-runs")


def rehearse(stage: Orchestra, page: Page) -> None:
    press(stage, page, "Rehearse a disaster")
    page.get_by_text("What goes wrong").first.wait_for()
    stage.shot(page, "4-drill-form")
    run_id = submit(stage, page, "dr-drill/db")
    paused(stage, run_id)
    answer(stage, page, run_id, "proceed")
    state = final(stage, run_id)
    assert (state.name, "PASS" in str(state.message)) == ("Completed", True), state.message


def restore_beside(stage: Orchestra, page: Page, world: World) -> None:
    """A moment is chosen in the form of the waiting run; the folder holds the server as it was then."""
    assert world.settings.sandbox.dir is not None
    into = world.settings.sandbox.dir / "beside"  # PostgreSQL's account can reach it
    press(stage, page, "Restore beside")
    page.get_by_text("The new folder").first.wait_for()
    field = page.locator(".schema-form-property", has_text="The new folder")
    field.locator("textarea").first.fill(str(into))
    stage.shot(page, "5-restore-form")
    run_id = submit(stage, page, "restore/db")
    paused(stage, run_id)
    page.goto(f"{stage.ui_url}/runs/flow-run/{run_id}")
    page.get_by_role("button", name="Resume").first.click()
    dialog = page.locator(".p-modal")
    dialog.get_by_text("to which moment?").wait_for()
    stage.shot(page, "6-moment")
    assert re.search(r"near: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d to ", dialog.inner_text())
    choose(page, dialog.locator("button.p-select-button__control").first, " UTC)")
    dialog.get_by_role("button", name="Submit").click()
    dialog.wait_for(state="hidden")
    state = final(stage, run_id)
    assert state.name in ("Completed", "Partial"), state.message
    assert (into / "PG_VERSION").read_text().strip() == "18"
    page.goto(f"{stage.ui_url}/artifacts/artifact/{stage.artifact(run_id, 'restore-db')}")
    page.get_by_text("Objective").first.wait_for()
    stage.shot(page, "7-restored")


def why_did_it_fail(stage: Orchestra, page: Page, world: World) -> None:
    """The state's message says what happened and what to do; a verdict's page names what is damaged."""
    before = {run.id for run in looks(stage)}
    press(stage, page, "Take a backup")
    run_id = submit(stage, page, "backup/db")
    assert final(stage, run_id).name == "Failed"
    page.goto(f"{stage.ui_url}/runs/flow-run/{run_id}")
    page.get_by_text("HINT:").first.wait_for()
    stage.shot(page, "8-failed")

    # Its failure made the automation look at everything.
    until(lambda: any(run.id not in before for run in looks(stage)), 60, "nothing looked")

    (whole,) = {path.name for path in list(world.folder("near").glob("backups/*/objects/*"))[:1]}
    for repository in ("near", "far"):
        (damaged,) = world.folder(repository).glob(f"backups/*/objects/{whole}")
        damaged.chmod(0o600)
        damaged.write_bytes(damaged.read_bytes()[:-1])
    press(stage, page, "Prove a backup")
    run_id = submit(stage, page, "restore-verify/db")
    state = final(stage, run_id)
    assert (state.name, "FAIL" in str(state.message)) == ("Fail", True), state.message
    page.goto(f"{stage.ui_url}/runs/flow-run/{run_id}")
    page.get_by_text("Fail", exact=True).first.wait_for()
    stage.shot(page, "9-fail")
    page.goto(f"{stage.ui_url}/artifacts/artifact/{stage.artifact(run_id, 'verify-db')}")
    page.get_by_text("failed").first.wait_for()
    stage.shot(page, "10-what-failed")
    assert whole in page.locator("body").inner_text(), "the damaged object is named"


def looks(stage: Orchestra) -> list[Any]:
    """The runs of the status flow that no schedule made."""
    return stage.runs("status/all", auto_scheduled=False)


def press(stage: Orchestra, page: Page, what: str) -> None:
    """Follow a link of the page to start from, to the form behind it."""
    open_page(stage, page)
    follow(stage, page, page.get_by_role("link", name=what, exact=True).first)
    page.get_by_role("button", name="Submit").wait_for()


def submit(stage: Orchestra, page: Page, deployment: str) -> str:
    """Send the form as it stands; the id of the run that it made."""
    known = {run.id for run in stage.runs(deployment, auto_scheduled=False)}
    page.get_by_role("button", name="Submit").click()
    found: list[Any] = []

    def made() -> bool:
        found[:] = [run for run in stage.runs(deployment, auto_scheduled=False) if run.id not in known]
        return bool(found)

    until(made, 60, "the form did not start a run")
    return str(found[0].id)


def until(true: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.5)
