"""What people read as prose, in their language: one gettext catalogue, English sentences as its keys.

Errors, logs and JSON stay English, so that they can be searched for; alerts, reports, pages and summaries
come through here. The ``.po`` file is compiled when it is first asked for: nothing generated can be stale.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Translate = Callable[[str], str]
LOCALE = Path(__file__).parent / "locale"


def catalogue(language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / "pra.po"


@cache
def translator(language: str) -> Translate:
    """The function that turns an English sentence into one of that language.

    Call it ``_`` so that the extraction finds its sentences, and fill in values afterwards:
    ``_("{count} tables differ").format(count=3)``. A sentence without translation, and every sentence of a
    language without catalogue, stays English.
    """
    path = catalogue(language)
    if not path.exists():
        return gettext.NullTranslations().gettext
    with path.open("rb") as source:
        compiled = io.BytesIO()
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled).gettext


def mark(sentence: str) -> str:
    """Mark a sentence for the catalogue where it stands as data; it is translated where it is shown."""
    return sentence
