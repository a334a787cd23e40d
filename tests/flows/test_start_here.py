"""The page to start from, on a real server: written when it has something new to say, and once a day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from pra.watch.status.finding import Finding, Level, StatusPass
from tasks import start_here
from tests.fix_fleet import configure

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def client(prefect_api: None) -> Iterator[SyncPrefectClient]:
    """Of a server on which nothing was ever shown."""
    with get_client(sync_client=True) as client:
        for artifact in pages(client) + pages(client, "verify-page"):
            client.delete_artifact(artifact.id)
        yield client


def pages(client: SyncPrefectClient, key: str = start_here.KEY) -> list[Any]:
    chosen = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    return client.read_artifacts(artifact_filter=chosen)


def test_it_is_written_when_something_changed_and_once_a_day(
    tmp_path: Path, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configure(tmp_path / "pra.toml", ["page"])
    finding = Finding("backup.local", "page", Level.OK, "newest backup in local is 5 min old", 300.0, "s")
    done = StatusPass(datetime.now(UTC), "host", 1.0, (finding,))
    assert start_here.refresh(settings, done)
    assert "| page | OK |" in str(pages(client)[0].data)

    older = replace(finding, message="newest backup in local is 10 min old", value=600.0)
    assert not start_here.refresh(settings, replace(done, findings=(older,)))
    late = replace(finding, level=Level.WARNING)
    assert start_here.refresh(settings, replace(done, findings=(late,)))
    assert not start_here.refresh(settings, replace(done, findings=(late,)))

    proof = "FAIL: 20261122T070955Z-full-3f9c from local: fetch failed"
    client.create_artifact(
        ArtifactCreate(key="verify-page", type="markdown", data="## FAIL", description=proof)
    )
    assert start_here.refresh(settings, replace(done, findings=(late,)))
    assert "[FAIL, " in str(max(pages(client), key=lambda each: each.created).data)
    assert not start_here.refresh(settings, replace(done, findings=(late,)))
    assert len(pages(client)) == 3

    tomorrow = datetime.now(UTC) + timedelta(hours=25)
    monkeypatch.setattr(start_here, "utc_now", lambda: tomorrow)
    assert start_here.refresh(settings, replace(done, findings=(late,)))
