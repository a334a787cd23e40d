"""What the record rests on: systems and versions, and its place in the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pra.evidence_record import GENESIS
from pra.report.blocks import Block, Cell, Command, Pairs, Sentence
from pra.report.circumstances import left_out
from pra.report.recorded import Recorded
from pra.report.stamp import Stamp
from pra.report.words import Words

_SHOWN = 60


def systems(record: Recorded, words: Words) -> tuple[Block, ...]:
    """Every fact of the record, named by its path in the stored form, so that it can be found there."""
    found = list(_flat(record.facts))
    if not found:
        return (Sentence(words._("Not recorded: systems and versions are unknown."), "unsure"),)
    rows = tuple((Cell(path, code=True), _value(value, words)) for path, value in found[:_SHOWN])
    return (Pairs(rows), *left_out(len(found), words, _SHOWN))


def evidence(record: Recorded, stamp: Stamp | None, words: Words) -> tuple[Block, ...]:
    _ = words._
    if stamp is None:
        return (
            Sentence(_("Not recorded: nothing but this page says what happened, and it is no proof."), "bad"),
        )
    first = stamp.previous_sha256 == GENESIS
    facts = Pairs(
        (
            (Cell(_("Number")), Cell(str(stamp.sequence))),
            (Cell(_("Object")), Cell(stamp.key, code=True)),
            (Cell(_("Repository")), _code(stamp.repository, words)),
            (Cell("SHA-256"), _code(stamp.sha256, words)),
            (
                Cell(_("SHA-256 of the record before")),
                Cell(_("none: it is the first record")) if first else _code(stamp.previous_sha256, words),
            ),
            (Cell(_("Signed at")), Cell(words.moment(stamp.signed_at))),
            (Cell(_("Signed with")), _code(stamp.alg, words)),
            (Cell(_("Key")), _code(stamp.key_id, words)),
        )
    )
    problem = (
        (Sentence(_("It cannot be believed: {problem}.").format(problem=stamp.problem), "bad"),)
        if stamp.problem
        else ()
    )
    return (
        *problem,
        facts,
        Sentence(
            _(
                "This page is a rendering; the signed record is what counts. To check its signature and its "
                "place in the chain, offline, with the public key alone:"
            )
        ),
        Command("pra evidence verify"),
        Sentence(_("The SHA-256 is that of the stored object's bytes: sha256sum gives the same.")),
    )


def _flat(facts: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Nested facts as paths in their order: ``sealed_logs.0.name``, ``versions.postgresql``."""
    for key in sorted(facts):  # as the signed form has them
        yield from _below(f"{path}{key}", facts[key])


def _below(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        yield from _flat(value, f"{path}.")
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for i, each in enumerate(value):
            yield from _below(f"{path}.{i}", each)
    else:
        yield path, value


def _value(value: Any, words: Words) -> Cell:
    if isinstance(value, bool):
        return Cell(words.yes_no(value))
    if value is None or value in ("", [], {}):
        return Cell(words.unknown, "unsure")
    if isinstance(value, list):
        return Cell(", ".join(_value(each, words).text for each in value))
    return Cell(str(value))


def _code(text: str, words: Words) -> Cell:
    return Cell(text, code=True) if text else Cell(words.unknown, "unsure")
