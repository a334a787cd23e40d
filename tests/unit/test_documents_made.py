"""Pictures and reference are made from the code: they show its steps, and are as new as it is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest

from deployments.documents import graph, pictures, reference
from deployments.documents.rooms import Rooms
from pra.procedures import drill, failover, loadtest, physical_restore
from tests.documents import ROOT


@cache
def flows() -> dict[str, graph.Graph]:
    return {each.name: each for each in graph.graphs(Rooms(ROOT))}


@cache
def drawn() -> dict[str, str]:
    return pictures.pictures(ROOT)


def names(flow: str, kind: str = "task") -> list[str]:
    return [node.name for node in flows()[flow].nodes if node.kind == kind]


# -- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(drawn()))
def test_a_picture_is_as_new_as_the_code(name: str) -> None:
    stored = ROOT / "docs/pictures" / name
    assert stored.exists(), "run: make docs"
    assert stored.read_text() == drawn()[name], "run: make docs"


def test_there_is_a_picture_of_nothing_else() -> None:
    assert {path.name for path in (ROOT / "docs/pictures").iterdir()} == set(drawn())


def test_a_picture_is_whole_and_shows_every_step() -> None:
    for name, text in drawn().items():
        words = [each.text for each in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
        assert {node.name for node in flows()[name.removesuffix(".svg")].nodes} <= set(words)


def test_no_box_leaves_the_picture_or_lies_on_another() -> None:
    for name, text in drawn().items():
        root = ET.fromstring(text)
        width, height = (float(word) for word in root.attrib["viewBox"].split()[2:])
        boxes = [
            tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
            for box in root.iter("{http://www.w3.org/2000/svg}rect")
            if "x" in box.attrib
        ]
        for x, y, wide, high in boxes:
            assert x >= 0, name
            assert x + wide <= width, name
            assert y + high <= height, name
            others = [o for o in boxes if o != (x, y, wide, high)]
            assert not any(abs(x - a) < wide and abs(y - b) < high for a, b, *_ in others), name
        assert len(boxes) == len(set(boxes)) == len(flows()[name.removesuffix(".svg")].nodes)


# -- the graph behind them, held against what run() drives -----------------------------------------


def test_the_drill_has_the_phases_of_its_procedure() -> None:
    people = names("dr-drill", "person")
    assert people == ["approve"]
    assert [node.name for node in flows()["dr-drill"].nodes] == list(drill.PHASES)


def test_the_failover_has_the_steps_of_its_procedure() -> None:
    steps = [node.name for node in flows()["failover"].nodes if node.kind != "question"]
    assert steps == [*failover.PHASES, "report"]


def test_the_load_test_has_the_phases_of_its_procedure() -> None:
    assert names("load-test") == list(loadtest.PHASES)


def test_a_base_backup_is_verified_in_the_order_of_its_procedure() -> None:
    wanted = [name for name in physical_restore.PHASES if name not in ("keep", "checks", "evidence")]
    shown = names("restore-verify")
    places = [shown.index(name) for name in wanted]
    assert places == sorted(places)


def test_what_runs_beside_each_other_is_not_shown_as_a_queue() -> None:
    backup = flows()["backup"]
    take, publish = (
        next(n for n, node in enumerate(backup.nodes) if node.name == name) for name in ("take", "publish")
    )
    assert not any({edge.before, edge.after} == {take, publish} for edge in backup.edges)
    assert backup.nodes[publish] == graph.Node("publish", "task", "repositories", beside=True)
    assert [node.beside for node in backup.nodes if node.name == "expire"] == [False]


def test_only_the_first_step_waits_for_nothing() -> None:
    for each in flows().values():
        assert [n for n in range(len(each.nodes)) if not any(edge.after == n for edge in each.edges)] == [
            0
        ], each.name


SOURCE = '''
"""A flow."""
from prefect import flow
from tasks import parts as step

@flow(name="made")
def made(target: str) -> None:
    """Made for a test."""
    first = step.one.submit(target)
    second = step.two.submit(target)
    {between}
    step.three.submit(target).result()
'''
PARTS = """
from tasks.step import step
@step("one")
def one(target: str) -> None: ...
@step("two")
def two(target: str) -> None: ...
@step("three")
def three(target: str) -> None: ...
"""


@pytest.mark.parametrize(
    ("between", "edges"),
    [
        ("pass", set()),
        ("first.result()", {("one", "three", "")}),
        ("[each.result() for each in (first, second)]", {("one", "three", ""), ("two", "three", "")}),
        ("if first.result() is None: return", {("one", "three", "")}),
    ],
    ids=["nothing is waited for", "one is waited for", "both are waited for", "a condition waits"],
)
def test_a_step_waits_for_what_was_asked_for(
    tmp_path: Path, between: str, edges: set[tuple[str, str, str]]
) -> None:
    for room, name, text in (("flows", "made", SOURCE.format(between=between)), ("tasks", "parts", PARTS)):
        (tmp_path / room).mkdir()
        (tmp_path / room / f"{name}.py").write_text(text)
    [one] = graph.graphs(Rooms(tmp_path))
    assert {(one.nodes[e.before].name, one.nodes[e.after].name, e.word) for e in one.edges} == edges


# -- the reference -------------------------------------------------------------------------------


@cache
def pages() -> dict[str, str]:
    return reference.pages(ROOT)


def test_every_public_module_is_in_the_reference() -> None:
    index = pages()[reference.INDEX]
    for module in ("pra.retention", "pra.storage.base", "checks.plan", "flows.backup", "deployments.cli.app"):
        assert f">{module}<" in index


def test_every_link_of_the_reference_leads_somewhere() -> None:
    for name, page in pages().items():
        for link in re.findall(r'href="([^"]+)"', page):
            file, _, anchor = link.partition("#")
            assert file in pages(), f"{name}: {link}"
            assert not anchor or f'id="{anchor}"' in pages()[file], f"{name}: {link}"


def test_a_function_is_there_with_its_signature_and_its_promise() -> None:
    page = pages()["pra.html"]
    assert 'id="pra.retention.plan"' in page
    assert "plan(backups: Sequence[BackupFacts], policy: Policy, now: datetime) -&gt; RetentionPlan" in page
    assert "Decide what to keep and what to expire; touches nothing." in page


def test_what_is_private_is_not_in_the_reference() -> None:
    assert not re.search(r'id="[\w.]*\._\w', "".join(pages().values()))
