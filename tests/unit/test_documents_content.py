"""What the documents say of the program is what it does: commands, exit codes, settings, figures."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from deployments.spread import BEFORE, HOUR, window_of
from pra.errors import Interrupted, PraError
from pra.postgres.rights import least_privilege_sql
from pra.report.metrics_words import NAMES
from pra.retention import BackupFacts, Policy, plan
from pra.settings import Settings
from pra.settings_alerts import Alerts
from pra.settings_model import Freshness, Retention
from pra.settings_runbook import Contact
from pra.settings_source import _plain
from pra.settings_status import Status
from pra.watch.metrics.prometheus import FAMILIES
from tests import documents
from tests.documents import ENGLISH, ROOT

README, DOCS = ROOT / "README.md", ROOT / "docs"

# -- README --------------------------------------------------------------------------------------


def test_the_role_is_the_one_that_is_tested() -> None:
    assert least_privilege_sql("backup", "akig") in documents.source(DOCS / "SECURITY.md")


def test_every_command_is_in_the_table_with_its_options_and_none_that_is_not_there() -> None:
    known = documents.leaves()
    named: set[str] = set()
    wrong: list[str] = []
    for cell, *_ in documents.rows(README, "Commands"):
        for usage in re.findall(r"`pra ([^`]+)`", cell):
            usage = usage.replace("\\|", "|")
            first, *rest = usage.split()
            choices = rest[0].split("|") if rest and f"{first} {rest[0].split('|')[0]}" in known else [""]
            names = [f"{first} {choice}".strip() for choice in choices]
            named |= set(names)
            for option in re.findall(r"--[a-z-]+", usage):
                if not any(option in known.get(name, ()) for name in names):
                    wrong.append(f"{usage}: {option}")
    assert wrong == []
    assert named == set(known)


def test_the_options_that_many_commands_take_are_told_rightly() -> None:
    known = documents.leaves()
    assert {name for name in known if "--json" not in known[name]} == {"monitor", "wal stream"}  # never end
    assert {name for name in known if "--flow" in known[name]} == {"backup", "verify", "scrub"}
    assert "`backup`, `verify` and `scrub` runs them through Prefect" in " ".join(
        documents.source(README).split()
    )


def test_the_exit_codes_are_those_of_the_program() -> None:
    said = {
        int(n)
        for cell, *_ in documents.rows(README, "Commands")
        for n in re.findall(r"^\d+|(?<=and )\d+", cell)
    }
    said |= {
        int(n) for cell, *_ in documents.rows(README, "Commands") for n in re.findall(r"\b\d{2,3}\b", cell)
    }

    def codes(error: type[PraError]) -> Iterator[int]:
        yield error.exit_code
        for inner in error.__subclasses__():
            yield from codes(inner)

    assert said == {0, 2, *codes(PraError), Interrupted(2).exit_code, Interrupted(15).exit_code}


# -- SETTINGS ------------------------------------------------------------------------------------

SIZES = ("volume_bytes", "backlog", "scrub_bytes")


def sections() -> dict[str, type[BaseModel]]:
    """By heading, every model that has keys of its own; the three of incidents share one."""
    found: dict[str, type[BaseModel]] = {
        "Top level": Settings,
        "[targets.NAME.freshness]": Freshness,
        "[[runbook.contacts]]": Contact,
    }

    def walk(model: type[BaseModel], path: str) -> None:
        for name, field in model.model_fields.items():
            inner, named = _plain(field.annotation), name
            if get_origin(inner) is dict:
                inner, named = _plain(get_args(inner)[1]), f"{name}.NAME"
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                where = f"{path}.{named}".lstrip(".")
                found[f"[{where}]"] = inner
                walk(inner, where)

    walk(Settings, "")
    routes = [found.pop(f"[alerts.p{n}]") for n in (1, 2, 3)]
    return found | {"[alerts.p1], [alerts.p2], [alerts.p3]": routes[0]}


def own_keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Without sections, and without the name, which is the section's."""

    def is_section(field: FieldInfo) -> bool:
        inner = _plain(field.annotation)
        inner = _plain(get_args(inner)[1]) if get_origin(inner) is dict else inner
        return isinstance(inner, type) and issubclass(inner, BaseModel)

    names_itself = {"name"} if model is not Contact else set()
    return {
        name: field
        for name, field in model.model_fields.items()
        if name not in names_itself and not is_section(field)
    }


def said(name: str, value: Any) -> str:
    """A value as the page writes it."""
    if value is None or isinstance(value, SecretStr):
        return "none"
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        count, unit = next(
            (seconds // n, u)
            for u, n in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
            if seconds % n == 0
        )
        return f"`{count}{unit}`"
    if name in SIZES:
        units = (("GiB", 1 << 30), ("MiB", 1 << 20), ("GB", 10**9))
        return next(f"`{value // n}{u}`" for u, n in units if value % n == 0)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_section_of_the_settings_is_described_and_no_other() -> None:
    headings = [words for depth, words in documents.headings(DOCS / "SETTINGS.md") if depth == 2]
    assert sorted(headings) == sorted(sections())


@pytest.mark.parametrize("section", [s for s in sections() if s != "[alerts.p1], [alerts.p2], [alerts.p3]"])
def test_every_key_is_described_with_its_default(section: str) -> None:
    found = {key: default for key, default, _ in documents.rows(DOCS / "SETTINGS.md", section)}
    expected: dict[str, str] = {}
    for name, field in own_keys(sections()[section]).items():
        default = (
            "required" if field.is_required() else said(name, field.get_default(call_default_factory=True))
        )
        expected[f"`{name}`"] = "XDG state directory, `pra/`" if name == "state_dir" else default
    assert found == expected


def test_every_key_of_a_severity_is_described_with_its_defaults() -> None:
    alerts = Alerts()
    found = documents.rows(DOCS / "SETTINGS.md", "[alerts.p1], [alerts.p2], [alerts.p3]")
    assert [row[:4] for row in found] == [
        [f"`{name}`", *(said(name, getattr(route, name)) for route in (alerts.p1, alerts.p2, alerts.p3))]
        for name in type(alerts.p1).model_fields
    ]


def test_every_key_has_a_meaning() -> None:
    for section in sections():
        for row in documents.rows(DOCS / "SETTINGS.md", section):
            assert len(row[-1]) > 5, row


# -- METRICS -------------------------------------------------------------------------------------


def test_every_name_for_prometheus_is_described() -> None:
    found = {name.strip("`"): what for name, what in documents.rows(DOCS / "METRICS.md", "Prometheus")}
    assert found == {name: words.rstrip(".") for name, words in FAMILIES.items()}


def test_week_and_month_name_every_objective_in_its_order() -> None:
    assert [row[0] for row in documents.rows(DOCS / "METRICS.md", "Week and month")] == list(NAMES.values())


def test_every_figure_says_how_it_is_measured() -> None:
    measured = [row[0] for row in documents.rows(DOCS / "METRICS.md", "How each figure is measured")]
    assert measured == [*list(NAMES.values())[:-3], "mean time to resolve"]


def test_the_severities_have_the_times_of_the_program() -> None:
    found = documents.rows(DOCS / "METRICS.md", "Severities and times")[:3]
    alerts = Alerts()
    for row, route in zip(found, (alerts.p1, alerts.p2, alerts.p3), strict=True):
        assert spoken(route.resolve_within) == row[4]
        assert row[3].startswith(spoken(route.ack_within) if route.tiers else "nobody")


def test_the_thresholds_are_the_defaults() -> None:
    text = documents.source(DOCS / "METRICS.md").split("| measured | warning")[1]
    status = Status()
    for line in text.split("\n\n")[0].splitlines():
        keys = re.findall(r"`status\.(\w+)`", line)
        for key in keys:
            value = getattr(status, key)
            if key in ("backup_every", "scrub_within"):  # told in words
                continue
            words = spoken(value) if isinstance(value, timedelta) else f"{value * 100:.0f} %"
            assert words in line, f"{key} is {words}: {line}"


def spoken(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, length in (("day", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    raise AssertionError(value)


# -- OPERATIONS ----------------------------------------------------------------------------------


def test_the_example_of_retention_is_what_retention_does() -> None:
    """A year and more of dumps every hour, thinned out as it goes; looked at when the page says."""
    defaults = Retention()
    policy = Policy(
        defaults.hourly, defaults.daily, defaults.weekly, defaults.monthly, window=defaults.pitr_window
    )
    now = datetime(2026, 11, 26, 10, 30, tzinfo=UTC)
    kept: list[BackupFacts] = []
    moment = datetime(2025, 10, 20, tzinfo=UTC)
    while moment <= now:
        kept.append(BackupFacts(f"{moment:%Y%m%dT%H%M%SZ}-full-0000", moment))
        if moment.hour == 0:
            stays = {one.backup_id for one in plan(kept, policy, moment).keep}
            kept = [one for one in kept if one.backup_id in stays]
        moment += timedelta(hours=1)
    taken = {one.backup_id: one.taken_at for one in kept}
    rest = list(plan(kept, policy, now).keep)
    text = documents.source(DOCS / "OPERATIONS.md")
    assert f"Kept are **{len(rest)}**" in text
    table = [row for row in documents.rows(DOCS / "OPERATIONS.md", "Retention") if row[0] in PERIODS]
    assert [row[0] for row in table] == list(PERIODS)
    for period, first, last, count in table:
        counted = [one for one in rest if any(reason.startswith(PERIODS[period]) for reason in one.reasons)]
        rest = [one for one in rest if one not in counted]
        moments = [f"{taken[one.backup_id]:%Y-%m-%d %H:%M}" for one in counted]
        assert (moments[0], moments[-1], len(moments)) == (first, last, int(re.findall(r"\d+", count)[0]))
    assert rest == []


PERIODS = {"hours": "hourly", "days": "daily", "weeks": "weekly", "months": "monthly"}


def test_the_table_of_schedules_is_that_of_prefect_yaml() -> None:
    """Pools, and the hours over which targets are spread."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    found: dict[str, tuple[str, str]] = {}
    for flows, when, pool in documents.rows(DOCS / "OPERATIONS.md", "Schedules"):
        found |= dict.fromkeys(re.findall(r"`([a-z-]+)`", flows), (when, pool.split(",")[0]))
    assert len(found) == len(deployments)
    for each in deployments:
        when, pool = found[each["entrypoint"].rsplit(".", 1)[1].replace("_", "-")]
        assert pool == each["work_pool"]["name"]
        for schedule in each["schedules"]:
            hours = re.findall(r"\d\d:\d\d", when)
            window = window_of(schedule["cron"], BEFORE.get(schedule["slug"], 0))
            assert window is not None
            if "target" in each["parameters"] and window.minutes > HOUR:
                first, last = window.cron(0).split(), window.cron(window.minutes - 1).split()
                assert hours == [f"{int(first[1]):02}:{int(first[0]):02}", f"{int(last[1]) + 1:02}:00"]


def test_every_flow_has_its_picture_in_the_architecture() -> None:
    shown = {row[0].strip("`") for row in documents.rows(DOCS / "ARCHITECTURE.md", "The flows as pictures")}
    assert shown == {path.stem for path in (DOCS / "pictures").glob("*.svg")}


# -- DEPLOYMENT ----------------------------------------------------------------------------------


def test_types_of_pools_and_their_variables_are_prefects_own() -> None:
    """Read from what its server offers, without importing it."""
    found = importlib.util.find_spec("prefect")
    assert found is not None
    assert found.origin is not None
    file = next(Path(found.origin).parent.rglob("aggregate-worker-metadata.json"))
    offered = {
        kind: set(about["default_base_job_configuration"]["variables"]["properties"])
        for package in json.loads(file.read_text()).values()
        for kind, about in package.items()
    }
    table = documents.rows(DOCS / "DEPLOYMENT.md", "Other work pools")
    assert [row[0] for row in table] == ["`docker`", "`kubernetes`", "`ecs`"]
    for kind, variables, beside in table:
        named = set(re.findall(r"`(\w+)`", f"{variables} {beside}"))
        assert named <= offered[kind.strip("`")]


def test_the_image_is_the_one_that_compose_builds() -> None:
    compose = yaml.safe_load((ROOT / "deployments/compose/compose.yaml").read_text())
    for block in documents.blocks("dockerfile"):
        assert block.text.startswith(f"FROM {compose['x-pra']['image']}\n")


# -- INDEX ---------------------------------------------------------------------------------------


def test_the_index_says_how_long_each_document_takes() -> None:
    """Between a hurried 250 and a careful 100 words a minute, tables and blocks included."""
    listed = {
        (DOCS / re.search(r"\(([^)]+)\)", name)[1]).resolve(): int(minutes)  # type: ignore[index]
        for name, _what, minutes, _french in documents.rows(DOCS / "INDEX.md", "Every document")
    }
    assert set(listed) == {file.resolve() for file in ENGLISH}
    for file, minutes in listed.items():
        words = len(Path(file).read_text().split())
        assert words / 250 <= minutes <= max(2, words / 100), f"{file.name} has {words} words"
