"""Every sentence that people read has its French translation, with the same placeholders."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from pra.messages import catalogue, mark, translator

ROOT = Path(__file__).parents[2]
ROOMS = ("pra", "checks", "tasks", "flows", "deployments")
PLACEHOLDER = re.compile(r"\{[^}]*\}")


@cache
def in_code() -> dict[str, str]:
    """Every sentence in the code, with the place where it stands."""
    found: dict[str, str] = {}
    for room in ROOMS:
        messages = extract_from_dir(
            ROOT / room, method_map=[("**.py", "python")], keywords={"_": None, "mark": None}
        )
        for file, line, sentence, _comments, _context in messages:
            assert isinstance(sentence, str), f"{room}/{file}:{line} is not one sentence"
            found[sentence] = f"{room}/{file}:{line}"
    return found


@cache
def in_french() -> dict[str, str]:
    with catalogue("fr").open("rb") as source:
        return {
            str(message.id): str(message.string) for message in read_po(source, locale="fr") if message.id
        }


def test_every_sentence_in_the_code_is_translated() -> None:
    missing = {sentence: place for sentence, place in in_code().items() if not in_french().get(sentence)}
    assert not missing


def test_no_translation_is_left_of_a_sentence_that_is_gone() -> None:
    assert not set(in_french()) - set(in_code())


def test_a_translation_has_the_placeholders_of_its_sentence() -> None:
    differing = {
        sentence
        for sentence, translation in in_french().items()
        if sorted(PLACEHOLDER.findall(sentence)) != sorted(PLACEHOLDER.findall(translation))
    }
    assert not differing


def test_french_is_french_and_english_stays() -> None:
    assert translator("fr")("Protected databases") == "Bases protégées"
    assert translator("en")("Protected databases") == "Protected databases"


@pytest.mark.parametrize("language", ["en", "fr", "xx"])
def test_an_unknown_sentence_stays_as_it_is(language: str) -> None:
    assert translator(language)("never written") == mark("never written") == "never written"
