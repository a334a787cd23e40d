"""From settings and facts to the page: Markdown by a template for each language, and HTML from that."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pra.errors import NotFoundError
from pra.report.markdown import text
from pra.report.words import Words
from pra.runbook.facts import Facts
from pra.runbook.wording import code, plain, view_of
from pra.settings import Settings
from pra.settings_source import nearest

_FOLDER = Path(__file__).parent / "templates"
_MARKUP = re.compile(r"(<pre>.*?</pre>|<code>.*?</code>|<[^>]+>)", re.DOTALL)
_ANCHOR = re.compile(r'^<a id="([^"]+)"></a>$', re.MULTILINE)
_GAPS = re.compile(r"\n{3,}")


def render(settings: Settings, facts: Facts | None, language: str) -> str:
    """The runbook as Markdown.

    Args:
        facts: What the records say; None leaves out everything that changes from day to day, for a page that
            is kept under version control.
        language: ``en`` or ``fr``; any other reads English.

    Raises:
        UsageError: No target is configured.
    """
    if not settings.targets:
        settings.target(None)
    words = Words(language)
    template = _template(f"runbook.{words.language}.md.j2")
    rendered = template.render(r=view_of(settings, facts, words), unknown=words.unknown)
    return _GAPS.sub("\n\n", rendered).rstrip() + "\n"


def section(markdown: str, name: str) -> str:
    """The part of a runbook that an alert names: from its heading to the next one of the same depth.

    Raises:
        NotFoundError: There is no such section; the hint names the nearest.
    """
    lines = markdown.splitlines()
    fenced = False
    begin, depth, found = 0, 0, []
    for number, line in enumerate(lines):
        fenced ^= line.lstrip().startswith("```")
        heading = 0 if fenced else len(line) - len(line.lstrip("#"))
        if depth and 0 < heading <= depth:
            break
        if heading and number >= 2 and lines[number - 2] == f'<a id="{name}"></a>':
            begin, depth = number, heading
        if begin:
            found.append(line)
    if not found:
        names = _ANCHOR.findall(markdown)
        raise NotFoundError(
            f"no such section: {name[:40]!r}", op="choose section", hint=nearest((name,), names)
        )
    while found and (not found[-1] or found[-1].startswith("<a id=")):
        found.pop()
    return "\n".join(found) + "\n"


def page(markdown: str, language: str) -> str:
    """The same as one HTML page that needs nothing else."""
    from markdown_it import MarkdownIt  # a page alone needs it

    # Raw HTML is the templates' own anchors: whatever comes from outside was escaped when it was put in.
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    title = markdown.partition("\n")[0].lstrip("# ")
    body = body.replace("<li>[ ] ", '<li class="box">')
    if language == "fr":
        body = _unbroken(body)
    style = Markup((_FOLDER / "runbook.css").read_text())
    return _page().render(language=language, title=title, style=style, body=Markup(body))


def _unbroken(html: str) -> str:
    """French signs stay with their word at a line's end; what is typed keeps its blanks."""
    parts = _MARKUP.split(html)
    parts[::2] = [re.sub(r" (?=[;:!?»])|(?<=«) ", "\N{NO-BREAK SPACE}", part) for part in parts[::2]]
    return "".join(parts)


def _ready(value: Any) -> Markup:
    """What is not Markdown yet is made harmless: names come from outside, and none may become markup."""
    return value if isinstance(value, Markup) else Markup(text(str(value)))


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,  # what a macro gives back is then marked as ready
        finalize=_ready,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "plain": plain}
    return environment.get_template(name)


@cache
def _page() -> Template:
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")
