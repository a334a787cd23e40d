"""The seeded generator of AKIG's database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deployments.demo.akig import create
from pra.postgres import fingerprint as fp
from tests.fix_akig import MEGABYTES, Akig
from tests.fix_cluster import Cluster


@pytest.fixture
def generated(cluster: Cluster, make_akig: Callable[[Cluster], Akig]) -> Akig:
    return make_akig(cluster)


def test_it_has_the_size_that_was_asked_for(generated: Akig) -> None:
    size = generated.cluster.query(generated.template, "SELECT pg_database_size(current_database())")[0][0]
    assert size == pytest.approx(MEGABYTES * 1e6, rel=0.15)


def test_it_has_thirty_related_tables_that_hold_rows(generated: Akig) -> None:
    filled = [table for table in generated.fingerprint.tables if table.rows]
    assert len(filled) >= 30
    foreign_keys = (
        "SELECT count(DISTINCT conrelid) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0"
    )
    assert generated.cluster.query(generated.template, foreign_keys)[0][0] >= 20


@pytest.mark.parametrize(
    "kind",
    ["enum", "domain", "view", "materialized view", "partitioned table", "function", "trigger", "sequence",
     "index", "constraint", "comment", "extension", "statistics", "composite type"],
)  # fmt: skip
def test_it_has_every_kind_of_object_that_a_business_uses(akig: Akig, kind: str) -> None:
    assert kind in {definition.kind for definition in akig.fingerprint.definitions}


def test_it_has_large_objects(generated: Akig) -> None:
    assert generated.fingerprint.large_objects.count >= 8


def test_sequences_stand_past_their_columns(generated: Akig) -> None:
    assert [s.identity for s in generated.fingerprint.sequences if s.covers is False] == []


def test_the_same_seed_gives_the_same_rows_and_another_seed_gives_others(akig: Akig) -> None:
    def tables(seed: int) -> dict[str, str | None]:
        name = akig.cluster.createdb()
        try:
            with akig.cluster.connect(name) as conn:
                create(conn, megabytes=MEGABYTES, seed=seed)
            found = fp.take(lambda: akig.cluster.connect(name), with_definitions=False).tables
        finally:
            akig.cluster.dropdb(name)
        return {table.identity: table.digest for table in found}

    first = {table.identity: table.digest for table in akig.fingerprint.tables}
    assert tables(1) == first
    other = tables(2)
    assert {name for name in first if first[name] != other[name]} >= {"public.users", "public.payments"}


def test_majors_agree_on_the_rows(pg18: Cluster, pg15: Cluster, make_akig: Callable[[Cluster], Akig]) -> None:
    query = "SELECT md5(string_agg(p::text, '|' ORDER BY id)) FROM payments p"
    answers = {server.query(make_akig(server).template, query)[0][0] for server in (pg18, pg15)}
    assert len(answers) == 1
