"""The full drill, scenario by scenario; its sabotages; what an outside observer measured; what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pra.drill.record import DrillRecord, record_of
from pra.drill.scenarios import SCENARIOS, Intensity, Sabotage
from pra.drill.state import Answer
from pra.errors import NotFoundError, UsageError
from pra.model import Status, Verdict
from pra.procedures import drill
from tests.fix_drill import Observer, bad, check_of, keys_of, rehearsals, rehearse
from tests.fix_world import World

pytestmark = pytest.mark.timeout(300)
slow = pytest.mark.all
HEAVY = [one.name for one in SCENARIOS]


@pytest.mark.parametrize(
    ("name", "intensity"),
    [pytest.param(name, "heavy", id=name, marks=() if name == "database-down" else slow) for name in HEAVY]
    + [
        pytest.param("data-corruption", "light", id="data-corruption, light", marks=slow),
        pytest.param("data-loss", "light", id="data-loss, light", marks=slow),
    ],
)
def test_a_rehearsed_disaster_is_recovered_from_and_leaves_nothing(
    drill_world: World, name: str, intensity: Intensity, tmp_path: Path
) -> None:
    """PASS, with the observer's figures, the same keys in the real repositories, and no folder left."""
    before, there = keys_of(drill_world), rehearsals(drill_world)
    with Observer(drill_world) as observer:
        record = rehearse(drill_world, name, intensity=intensity)
    assert record.verdict is Verdict.PASS, bad(record)
    assert [step.name for step in record.steps] == list(drill.PHASES)
    assert record.rows is not None
    assert record.rows.missing == 0
    assert keys_of(drill_world) == before
    assert rehearsals(drill_world) == there
    assert_seen_alike(record, observer, tmp_path)
    with drill_world.context() as context:
        head = context.evidence.head()
        assert head is not None
        assert (head.kind, head.problem) == ("drill", "")
        assert record_of("drill", head.body).verdict is Verdict.PASS


def assert_seen_alike(record: DrillRecord, observer: Observer, folder: Path) -> None:
    """RTO and RPO as the drill says, against what was seen from outside; within one second."""
    assert record.rto is not None
    assert record.rpo is not None
    assert record.rto.seconds is not None
    assert record.rows is not None
    committed = observer.committed(folder)
    assert len(committed) >= record.rows.committed
    if (record.scenario, record.intensity) == ("data-corruption", "light"):
        return  # the service answered all the time
    _, back = observer.outage()
    disaster = next(event.at for event in record.events if event.name == "disaster")
    assert (back - disaster).total_seconds() == pytest.approx(record.rto.seconds, abs=1.0)
    if record.rows.lost:
        old = [at for _, at in committed[: record.rows.committed]]
        lost = (old[-1] - old[-1 - record.rows.lost]).total_seconds()
        assert lost == pytest.approx(record.rpo.seconds, abs=1.0)


SABOTAGES: list[tuple[Sabotage, str, str]] = [
    ("missing-row", "sentinels", "1 rows are missing that should be there, the first is number 1"),
    ("switch-nowhere", "service answers", "GET /api/health: 503"),
    ("api-error", "service answers", "GET /api/contracts: 500"),
    ("stops-early", "sentinels", "rows are missing that should be there"),
    ("slow", "rto", ""),
]
FAST = {("database-down", "switch-nowhere")}


@pytest.mark.parametrize(
    ("name", "sabotage", "check", "words"),
    [
        pytest.param(
            name, sabotage, check, words,
            id=f"{name}: {sabotage}", marks=() if (name, sabotage) in FAST else slow,
        )
        for name in HEAVY
        for sabotage, check, words in SABOTAGES
    ],
)  # fmt: skip
def test_a_sabotaged_drill_fails_and_says_why(
    drill_world: World, name: str, sabotage: Sabotage, check: str, words: str
) -> None:
    record = rehearse(drill_world, name, sabotage=sabotage)
    assert record.verdict is Verdict.FAIL
    found = check_of(record, check)
    assert found.status is Status.FAILED, bad(record)
    assert words in f"{found.observed} {found.reason}"


@slow
def test_an_abort_at_the_approval_recovers_nothing_and_leaves_nothing(drill_world: World) -> None:
    before, there = keys_of(drill_world), rehearsals(drill_world)
    record = rehearse(drill_world, "data-loss", ask=lambda _: Answer("abort", "the manager", "not today"))
    assert record.verdict == "aborted"
    assert [step.name for step in record.steps][-2:] == ["approve", "report"]
    (decision,) = record.interventions
    assert (decision.decision, decision.by, decision.comment) == ("abort", "the manager", "not today")
    assert keys_of(drill_world) == before
    assert rehearsals(drill_world) == there


def test_a_target_of_dumps_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="is backed up logically") as caught:
        rehearse(world, "database-down")
    assert caught.value.exit_code == 64


def test_an_unknown_scenario_names_those_there_are(world: World) -> None:
    with pytest.raises(NotFoundError, match="no such scenario") as caught:
        rehearse(world, "flood")
    assert "site-loss" in caught.value.hint
