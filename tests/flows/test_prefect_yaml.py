"""prefect.yaml is read by Prefect without a word about unknown keys: every entry is held against its flow."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from deployments.entries import FILE, MODEL, Entry, expand, expanded, read_entries

KEYS = {
    "name",
    "entrypoint",
    "description",
    "tags",
    "parameters",
    "work_pool",
    "concurrency_limit",
    "schedules",
}
UNSCHEDULED = {"failover", "restore"}
FOR_ALL = {"status", "metrics"}
"""One run looks at every target."""
ENTRIES = {entry.entrypoint: entry for entry in read_entries()}


def flow_of(entry: Entry) -> Flow[..., Any]:
    module, _, name = entry.entrypoint.rpartition(".")
    found = getattr(import_module(module), name)
    assert isinstance(found, Flow)
    return found


def test_every_flow_has_a_deployment() -> None:
    wanted = {"backup", "restore-verify", "dr-drill", "failover", "restore", "status", "load-test", "scrub"}
    wanted.add("metrics")
    assert {flow_of(entry).name for entry in ENTRIES.values()} == wanted


def test_the_real_day_is_never_scheduled_and_has_a_pool_of_its_own() -> None:
    pools = {flow_of(entry).name: entry.work_pool for entry in ENTRIES.values()}
    assert {name for name, pool in pools.items() if pool == "emergency"} == UNSCHEDULED


def test_no_key_is_unknown() -> None:
    raw = yaml.safe_load(FILE.read_text())
    assert set(raw) == {"name", "prefect-version", "definitions", "deployments"}
    for entry in raw["deployments"]:
        assert set(entry) <= KEYS
        for schedule in entry["schedules"]:
            assert set(schedule) == {"slug", "cron", "timezone", "active"}


def test_prefect_itself_knows_every_key_and_takes_every_value() -> None:
    """Its own models ignore what they do not know, so the keys are compared with their fields."""
    raw = yaml.safe_load(FILE.read_text())
    model = PrefectYamlModel.model_validate(raw)
    known = {field.alias or name for name, field in PrefectYamlModel.model_fields.items()}
    assert set(raw) - known == {"definitions"}, "anchors alone live beside what Prefect reads"
    assert len(model.deployments) == len(raw["deployments"])
    for entry in raw["deployments"]:
        assert set(entry) <= set(DeploymentConfig.model_fields)
        assert set(entry["work_pool"]) <= set(WorkPoolConfig.model_fields)
        assert set(entry["concurrency_limit"]) <= set(ConcurrencyLimitSpec.model_fields)
        ConcurrencyLimitConfig.model_validate(entry["concurrency_limit"])
        for schedule in entry["schedules"]:
            assert set(schedule) <= set(RawScheduleConfig.model_fields)
            RawScheduleConfig.model_validate(schedule)


def test_the_flows_run_when_the_design_says() -> None:
    """Every hour; Sunday 03:00; the first Saturday of June; every five minutes; 04:00; the 1st; Monday."""
    crons = {flow_of(entry).name: [each["cron"] for each in entry.schedules] for entry in ENTRIES.values()}
    assert {name: cron for name, cron in crons.items() if cron} == {
        "backup": ["0 * * * *"],
        "restore-verify": ["0 3 * * 0"],
        "load-test": ["0 2 1 * *"],
        "dr-drill": ["0 9 * 6 6#1"],
        "status": ["*/5 * * * *"],
        "scrub": ["0 4 * * *"],
        "metrics": ["0 6 * * 1"],
    }


def test_the_drill_is_due_once_a_year() -> None:
    from prefect.server.schemas.schedules import CronSchedule as ServersOwn

    schedule = ServersOwn(cron="0 9 * 6 6#1", timezone="UTC")
    due = asyncio.run(schedule.get_dates(4, start=datetime(2026, 11, 26, tzinfo=UTC)))
    assert [f"{moment:%Y-%m-%d %H}" for moment in due] == [
        "2027-06-05 09", "2028-06-03 09", "2029-06-02 09", "2030-06-01 09",
    ]  # fmt: skip


def test_the_entrypoints_are_dotted() -> None:
    """A file's path would put flows/ first on sys.path."""
    for entry in ENTRIES.values():
        assert ":" not in entry.entrypoint
        assert load_flow_from_entrypoint(entry.entrypoint, use_placeholder_flow=False) is flow_of(entry)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_the_parameters_are_valid_for_the_flow(entry: Entry) -> None:
    asked = {"into": "/srv/beside"} if flow_of(entry).name == "restore" else {}
    valid = flow_of(entry).validate_parameters({**entry.parameters, **asked})
    assert {name: valid[name] for name in entry.parameters} == entry.parameters


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_the_parameters_are_those_of_the_flow(entry: Entry) -> None:
    parameters = inspect.signature(flow_of(entry).fn).parameters
    assert set(entry.parameters) <= set(parameters)
    needed = {name for name, p in parameters.items() if p.default is inspect.Parameter.empty}
    if flow_of(entry).name in FOR_ALL:
        assert (needed, dict(entry.parameters), entry.name) == (set(), {}, "all")
        return
    # Where a restore goes is nobody's to guess either.
    asked = {"into"} if flow_of(entry).name == "restore" else set()
    assert needed == {"target", *asked}, "the target has no default: a run without one must not pick its own"
    assert entry.parameters["target"] == entry.name == MODEL


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_parameter_is_documented_in_the_form(entry: Entry) -> None:
    properties = parameter_schema(flow_of(entry)).properties
    assert all(each.get("description") for each in properties.values())


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_schedule_is_named_and_means_something(entry: Entry) -> None:
    assert bool(entry.schedules) == (flow_of(entry).name not in UNSCHEDULED)
    for schedule in entry.schedules:
        assert schedule["slug"]
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])


def test_what_is_about_all_targets_is_registered_once() -> None:
    names = [f"{flow_of(entry).name}/{entry.name}" for entry in expanded(list(ENTRIES.values()), ["a", "b"])]
    assert [name for name in names if name.startswith("status/")] == ["status/all"]
    assert [name for name in names if name.startswith("backup/")] == ["backup/a", "backup/b"]


def test_an_entry_is_expanded_to_another_target() -> None:
    entry = expand(next(iter(ENTRIES.values())), "other")
    assert (entry.name, entry.parameters["target"]) == ("other", "other")
    assert "akig" not in entry.description
    assert "other" in entry.tags
