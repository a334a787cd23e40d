"""Figures of a past that was made up, against a few lines of their own; and of one that went wrong."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.cli.app import run
from deployments.cli.metrics_server import Answers, open_server
from pra.errors import StorageError
from pra.keys import Signer
from pra.layout import evidence_key
from pra.report import html
from pra.report.metrics import metrics_report_of
from pra.report.metrics_letter import letter
from pra.report.words import Words
from pra.storage.s3 import S3Storage
from pra.watch.metrics.prometheus import FAMILIES, exposition
from pra.watch.metrics.reading import gather
from pra.watch.metrics.share import Period, standing
from pra.watch.metrics.whole import TargetMetrics
from tests.fix_metrics import NOW, PUBLISH, Past, live, make_past, proof
from tests.fix_store import LIMITS, serve_s3

ALERTS = Path(__file__).parents[2] / "docs" / "prometheus" / "alerts.yaml"
RPO = 3600
LIMIT = 60
"""Seconds. The goal is ten, on a machine that has nothing else to do."""


def of(past: Past, days: int = 30) -> TargetMetrics:
    (found,) = gather(
        past.settings, [past.settings.target(None)], past.now - timedelta(days=days), clock=past.clock
    )
    return found


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Past:
    past = live(make_past(tmp_path_factory.mktemp("month")), 31, seed=7)
    past.publish_samples(hours=False)
    return past


@pytest.fixture(scope="module")
def measured(month: Past) -> TargetMetrics:
    return of(month)


# -- figures -------------------------------------------------------------------------------------


def test_uptime_is_the_share_of_samples_that_answered_and_unknown_is_apart(
    month: Past, measured: TargetMetrics
) -> None:
    since = datetime(2026, 10, 24, tzinfo=UTC)
    ups = [up for at, up, *_ in month.ticks if at >= since]
    found = measured.month.uptime
    assert (found.good, found.bad, found.unknown) == (ups.count(True), ups.count(False), ups.count(None))
    assert found.unknown > 0
    assert found.value == ups.count(True) / (ups.count(True) + ups.count(False))


def test_the_rpo_is_what_a_disaster_at_each_sample_would_have_cost(
    month: Past, measured: TargetMetrics
) -> None:
    since = datetime(2026, 10, 24, tzinfo=UTC)
    costs = [
        min(v["backup.near"], v["backup.far"]) if "backup.near" in v else None
        for at, _up, v, *_ in month.ticks
        if at >= since
    ]
    known = [cost for cost in costs if cost is not None]
    found = measured.month.exposure
    assert found.worst == max(known)
    assert found.latest == known[-1]
    assert (found.inside.good, found.inside.unknown) == (sum(c <= RPO for c in known), costs.count(None))


def test_backups_are_held_against_the_schedule_even_those_that_have_expired(
    month: Past, measured: TargetMetrics
) -> None:
    since = datetime(2026, 10, 24, tzinfo=UTC)
    hours = {since + timedelta(hours=n) for n in range(int((month.now - since) / timedelta(hours=1)))}
    for figures in measured.month.repositories:
        taken = {at.replace(second=0) for at in month.backups[figures.name] if at + PUBLISH <= month.now}
        missed = hours - taken
        assert set(figures.slots.missed) == missed
        assert figures.slots.share.good == len(hours & taken)
        assert figures.durations.median == median([PUBLISH.total_seconds()])


def test_proofs_are_counted_timed_and_the_lag_behind_the_newest_backup_is_told(
    month: Past, measured: TargetMetrics
) -> None:
    since = datetime(2026, 10, 24, tzinfo=UTC)
    tests = [body for kind, at, body in month.proofs if kind == "verification" and at >= since]
    every = [body for kind, at, body in month.proofs if at >= since]
    passed = sum(body["verdict"] == "PASS" for body in tests)
    assert measured.month.tests.results.value == passed / len(tests)
    assert measured.month.tests.durations.longest == max(b["proof_milliseconds"] for b in tests) / 1000
    assert measured.month.rto.worst == max(b["rto"]["actual_milliseconds"] for b in every) / 1000
    assert measured.month.proven_rpo.worst == max(b["rpo"]["actual_milliseconds"] for b in every) / 1000
    assert measured.last_drill is not None
    assert measured.last_drill.at == max(at for kind, at, _ in month.proofs if kind == "drill")


def test_incidents_last_from_the_first_sample_that_says_so_to_the_first_that_denies_it(
    month: Past, measured: TargetMetrics
) -> None:
    since = datetime(2026, 10, 24, tzinfo=UTC)
    lasted, began = [], None
    for at, up, *_ in month.ticks:
        if up is False and began is None:
            began = at
        elif up is True and began is not None:
            lasted.append((began, (at - began).total_seconds()))
            began = None
    inside = [seconds for at, seconds in lasted if at >= since]
    p1 = measured.month.incidents[0]
    assert (p1.severity, p1.count, p1.mttr) == ("P1", len(inside), sum(inside) / len(inside))
    assert p1.in_time == sum(seconds <= 900 for seconds in inside)


def test_a_day_is_outside_when_anything_in_it_was(month: Past, measured: TargetMetrics) -> None:
    for day in measured.days:
        ticks = [tick for tick in month.ticks if tick[0].date() == day.day]
        down = any(up is False for _, up, *_ in ticks)
        late = any(min(v.get("backup.near", 0), v.get("backup.far", 0)) > RPO for _, _, v, *_ in ticks)
        assert ("uptime" in day.missed) == down
        assert ("rpo" in day.missed) == late
        assert day.inside is not True or not day.missed


@given(st.lists(st.tuples(st.integers(-20, 20 * 24), st.booleans()), max_size=20, unique_by=lambda p: p[0]))
@settings(max_examples=60)
def test_a_proof_stands_until_the_next_and_never_longer_than_its_age_allows(
    proofs: list[tuple[int, bool]],
) -> None:
    """Hour by hour: the last proof at or before it, unless that is older than 8 days."""
    since = datetime(2026, 11, 1, tzinfo=UTC)
    period = Period(since, since + timedelta(days=20))
    found = standing([(since + timedelta(hours=h), met) for h, met in proofs], period, timedelta(days=8))
    good = bad = 0
    for hour in range(20 * 24):
        before = [(h, met) for h, met in proofs if h <= hour and hour - h < 8 * 24]
        if before and max(before)[1]:
            good += 1
        elif before:
            bad += 1
    assert (found.good / 3600, found.bad / 3600) == (good, bad)
    assert found.good + found.bad + found.unknown == 20 * 86400


# -- bad input -----------------------------------------------------------------------------------


def test_an_empty_history_says_so_and_knows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    past = make_past(tmp_path / "empty")
    found = of(past)
    assert (found.empty, found.inside, found.problems) == (True, None, ())
    assert all(each.actual is None for each in found.judgements)
    assert {day.inside for day in found.days} == {None}
    monkeypatch.setenv("PRA_CONFIG", str(past.home / "pra.toml"))
    monkeypatch.setenv("PRA_STATE_DIR", str(past.settings.state_dir))
    assert run(["metrics"]) == 0
    assert "there is no record of anything yet" in capsys.readouterr().out
    assert run(["metrics", "--json", "--since", "90d"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["items"][0]["inside"]) == ("pra/metrics/1", None)


def test_records_that_cannot_be_believed_are_told_and_never_count(tmp_path: Path) -> None:
    """Half-written, signed by a stranger, and signed with a measurement that cannot be."""
    from random import Random

    past = make_past(tmp_path / "false")
    good = proof(Random(1), "near", "20261122T020003Z-full-0a0a") | {"verdict": "PASS"}
    past.record("verification", NOW - timedelta(days=1), good)
    half = past.record("verification", NOW - timedelta(hours=20), good)
    for name in ("near", "far"):
        path = past.folder(name) / evidence_key("db", past.written)
        path.write_bytes(half.read_bytes()[:200])
    past.record("verification", NOW - timedelta(hours=10), good, Signer("ed25519", bytes(range(32))))
    absurd = good | {"rto": {"actual_milliseconds": -5}}
    past.record("verification", NOW - timedelta(hours=5), absurd)
    found = of(past)
    assert found.month.tests.results.good == 1
    assert found.inside is not True
    told = "\n".join(found.problems)
    for sequence in (2, 3, 4):
        assert f"evidence {sequence} in near" in told
    assert of(past).problems == found.problems, "what was not believed is not remembered as if it were"


def test_a_sound_copy_counts_though_another_was_damaged(tmp_path: Path) -> None:
    from random import Random

    past = make_past(tmp_path / "copies")
    past.record("verification", NOW - timedelta(days=1), proof(Random(1), "near", "") | {"verdict": "PASS"})
    (past.folder("near") / evidence_key("db", 1)).write_bytes(b"{}")
    found = of(past)
    assert found.month.tests.results.good == 1
    assert [line for line in found.problems if "evidence 1 in near" in line]


def test_what_a_wrong_clock_dated_ahead_is_told_and_left_out(tmp_path: Path) -> None:
    past = live(make_past(tmp_path / "ahead"), 2)
    past.publish_samples(hours=False)
    past.now -= timedelta(hours=3)
    told = " ".join(of(past, 1).problems)
    assert "samples lie in the future" in told
    assert "the newest backup in near lies" in told


def test_a_repository_that_is_gone_is_a_problem_and_the_other_still_counts(tmp_path: Path) -> None:
    past = live(make_past(tmp_path / "gone"), 9)
    (past.home / "far").rename(past.home / "elsewhere")
    found = of(past)
    assert any(line.startswith("far was not reached") for line in found.problems)
    assert found.month.tests.results.good + found.month.tests.results.bad > 0
    assert found.inside is not True


def test_the_cache_changes_no_figure_and_is_made_anew_when_it_is_damaged(month: Past) -> None:
    first = of(month)
    (cached,) = (month.settings.state_dir / "metrics").glob("db.near.json.zst")
    assert of(month) == first
    cached.write_bytes(b"half")
    assert of(month) == first


# -- what is shown -------------------------------------------------------------------------------


def test_the_page_has_the_same_sections_in_both_languages_and_fetches_nothing(
    measured: TargetMetrics,
) -> None:
    pages = {language: html.page(metrics_report_of([measured], language)) for language in ("en", "fr")}
    sections = {name: re.findall(r'<section id="([a-z-]+)">', page) for name, page in pages.items()}
    assert sections["en"] == sections["fr"]
    assert len(sections["en"]) == 9
    for page in pages.values():
        assert not re.findall(r"<script|\s(?:src|href)=|url\(|@import", page)
        assert page.count("<svg") == 2 * 5
    assert "Against the objectives" in pages["en"]
    assert "Jour par jour" in pages["fr"]


def test_several_targets_stand_on_one_page_under_anchors_of_their_own(measured: TargetMetrics) -> None:
    page = html.page(metrics_report_of([measured, measured], "en"))
    assert "objectives-db" in page
    assert re.findall(r'<section id="([a-z-]+)">', page)[0] == "targets"


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_weekly_report_names_every_objective_and_what_was_missed(
    measured: TargetMetrics, language: str
) -> None:
    text = letter(measured, Words(language))
    assert text.count("\n- ") == len(measured.judgements)
    assert ("MISSED" in text) == (language == "en")
    assert ("MANQUÉ" in text) == (language == "fr")


def test_the_exposition_is_well_formed_and_says_what_was_measured(measured: TargetMetrics) -> None:
    text = exposition([measured])
    sample = re.compile(r'(pra_[a-z_]+)\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\} (-?[0-9.e+-]+|\+Inf)')
    typed: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            name = line.split()[2]
            assert name not in typed, "a family comes once"
            typed.add(name)
        elif not line.startswith("#"):
            match = sample.fullmatch(line)
            assert match, line
            assert match[1] in typed, "its type comes first"
    assert f'pra_uptime_ratio{{target="db",window="month"}} {measured.month.uptime.value!r}' in text
    assert typed <= set(FAMILIES)


def test_the_alert_rules_ask_for_names_and_labels_that_are_exposed(measured: TargetMetrics) -> None:
    text = exposition([measured])
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        names = set(re.findall(r"\bpra_[a-z_]+", rule["expr"]))
        assert names, rule["alert"]
        assert names <= set(FAMILIES), rule["alert"]
        for name, matchers in re.findall(r"(pra_[a-z_]+)\{([^}]*)\}", rule["expr"]):
            lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
            assert any(all(part.strip() in line for part in matchers.split(",")) for line in lines), rule[
                "alert"
            ]
        assert rule["labels"]["severity"] in ("P1", "P2", "P3")
        assert rule["annotations"]["summary"]


TOKEN = re.compile(
    r"""\s*(?:(?P<metric>pra_[a-z_]+(?:\{[a-z]+="[^"]*"(?:,\s*[a-z]+="[^"]*")*\})?)|(?P<number>\d+(?:\.\d+)?)
    |(?P<call>time\(\)|absent\()|(?P<match>(?:on|group_left)\s*\([a-z, ]*\))|(?P<set>unless|or)
    |(?P<operator>[-+*/]|[<>]=?|[=!]=)|(?P<open>\()|(?P<close>\)))""",
    re.VERBOSE,
)
"""What the rules are made of; where there is promtool, it knows more."""


def read_expression(text: str) -> list[str]:
    """The metrics in an expression, in order. Raises ValueError where it is none."""
    metrics, values, joins, depth, place = [], 0, 0, 0, 0
    while place < len(text.rstrip()):
        match = TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise ValueError(f"no token at {text[place:][:30]!r}")
        kind, word, place = match.lastgroup, match[match.lastgroup], match.end()
        depth += word.count("(") - word.count(")")
        values += kind in ("metric", "number") or word == "time()"
        joins += kind in ("operator", "set")
        if depth < 0 or joins > values:
            raise ValueError(f"unexpected {word!r}")
        if kind == "metric":
            metrics.append(word.partition("{")[0])
    if depth or values != joins + 1:
        raise ValueError("it ends too early, or an operator is missing")
    return metrics


@pytest.mark.parametrize(
    "text", ["pra_x >", "pra_x >> 1", "pra_x pra_y", "absent(pra_x", "pra_x) > 1", 'pra_x{a=b"} > 1', "> 1"]
)
def test_what_is_no_expression_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"token|unexpected|early"):
        read_expression(text)


def test_the_alert_rules_are_well_formed_and_name_labels_that_their_figures_have(
    measured: TargetMetrics,
) -> None:
    text = exposition([measured])
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        assert set(group) <= {"name", "interval", "rules"}
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
            assert re.fullmatch(r"\d+[smhdw]", rule.get("for", "1s")), rule["alert"]
            left = read_expression(rule["expr"])[0]
            lines = [line for line in text.splitlines() if line.startswith(f"{left}{{")]
            wanted = set(re.findall(r"\$labels\.([a-z_]+)", json.dumps(rule["annotations"])))
            assert not wanted or lines, rule["alert"]
            assert all(f'{label}="' in line for line in lines for label in wanted), rule["alert"]


def test_every_family_is_exposed_once_its_figure_is_known(measured: TargetMetrics) -> None:
    missing = {name for name in FAMILIES if f"# TYPE {name} gauge" not in exposition([measured])}
    assert missing <= {"pra_rto_forecast_timestamp_seconds"}, "it is only there when the RTO has an end"


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    server = open_server(answers, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_loopback_port_answers_prometheus_and_a_failure_is_an_outage(measured: TargetMetrics) -> None:
    with answering(Answers(lambda: [measured])) as url, urllib.request.urlopen(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.read().decode() == exposition([measured])

    def fails() -> list[TargetMetrics]:
        raise StorageError("injected fault", op="test")

    with answering(Answers(fails)) as url, pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"{url}/metrics")


def test_files_are_written_whole_and_the_exit_code_tells_of_problems(
    month: Past, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRA_CONFIG", str(month.home / "pra.toml"))
    monkeypatch.setenv("PRA_STATE_DIR", str(month.settings.state_dir))
    page, text = tmp_path / "page.html", tmp_path / "pra.prom"
    assert run(["metrics", "--week", "--html", str(page), "--prometheus", "--output", str(text)]) in (0, 2)
    assert page.read_text().startswith("<!doctype html>")
    assert text.read_text().startswith("# HELP pra_build_time_seconds")
    assert sorted(tmp_path.iterdir()) == [page, text]
    assert run(["metrics", "--week", "--month"]) == 64
    assert run(["metrics", "--since", "2999-01-01"]) == 64
    assert run(["metrics", "--listen", "0"]) == 64
    capsys.readouterr()


# -- a year --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A year: 105,120 samples in hourly and daily objects, proofs, and a record for every expiry."""
    past = live(make_past(tmp_path_factory.mktemp("year") / "bucket"), 365, seed=3, expiries=True)
    past.publish_samples()
    return past


@pytest.mark.all
@pytest.mark.timeout(600)
def test_a_year_is_measured_in_time(year: Past) -> None:
    begin = time.monotonic()
    found = of(year, 365)
    assert time.monotonic() - begin < LIMIT
    assert len(found.days) == 366
    ups = [up for _, up, *_ in year.ticks]
    assert found.chosen.uptime.value == ups.count(True) / (ups.count(True) + ups.count(False))


@pytest.mark.all
@pytest.mark.timeout(600)
def test_a_year_in_s3_is_measured_in_time(
    tmp_path: Path,
) -> None:
    """8,885 records of evidence and 9,125 objects of samples, read by a machine that has never seen any."""
    year = live(make_past(tmp_path / "bucket"), 365, seed=4, expiries=True)
    year.publish_samples()
    year.publish_bundles()
    with serve_s3(year.home.parent) as server:
        storages = {
            name: S3Storage(name, f"s3://bucket/{name}", server.account(), limits=LIMITS)
            for name in ("near", "far")
        }

        def measure() -> tuple[TargetMetrics, float]:
            begin = time.monotonic()
            (found,) = gather(
                year.settings,
                [year.settings.target(None)],
                year.now - timedelta(days=365),
                clock=year.clock,
                storages=dict(storages),
            )
            return found, time.monotonic() - begin

        first, cold = measure()
        again, warm = measure()
    print(f"S3: {cold:.1f} s the first time, {warm:.1f} s afterwards")  # noqa: T201
    assert first.chosen == again.chosen == of(year, 365).chosen
    assert max(cold, warm) < LIMIT
