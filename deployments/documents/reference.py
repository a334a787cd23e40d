"""The API reference: what modules, classes and functions promise in their docstrings, as a few HTML pages.

One page a package, and an index. Read from the source; nothing is imported, nothing fetched.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOMS = ("pra", "checks", "tasks", "flows", "deployments")
INDEX = "index.html"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1b2430}"
    "pre{white-space:pre-wrap;background:#f5f7f9;padding:.6em;margin:.3em 0 1em}code{font-size:95%}"
    "h3{margin-bottom:0}section{margin-left:1.5em}"
    "@media(prefers-color-scheme:dark){body{background:#15191e;color:#dde3ea}pre{background:#1f252c}a{color:#8ab4f8}}"
)


@dataclass(frozen=True)
class Source:
    """One module. ``package``: the page it stands on."""

    name: str
    package: str
    tree: ast.Module

    @property
    def promise(self) -> str:
        """The first line of its docstring; empty where it has none."""
        return (ast.get_docstring(self.tree) or "").split("\n")[0]


def pages(root: Path) -> dict[str, str]:
    """By file name, the whole reference of the modules below ``root``."""
    sources = list(_sources(root))
    packages = sorted({source.package for source in sources})
    made = {
        f"{package}.html": _page(package, _modules([s for s in sources if s.package == package]))
        for package in packages
    }
    return {INDEX: _page("API reference", _index(sources)), **made}


def _sources(root: Path) -> Iterator[Source]:
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[-1].startswith("_") and parts[-1] != "__init__":
                continue
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree = ast.parse(path.read_text())
            if tree.body:
                yield Source(name, ".".join(parts[:-1]), tree)


def _page(title: str, body: str) -> str:
    back = "" if title == "API reference" else f'<p><a href="{INDEX}">API reference</a></p>'
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style>{back}<h1>{escape(title)}</h1>{body}</html>\n"
    )


def _index(sources: list[Source]) -> str:
    lines = (
        f'<li><a href="{s.package}.html#{s.name}"><code>{s.name}</code></a> {escape(s.promise)}</li>'
        for s in sources
    )
    return f"<ul>{''.join(lines)}</ul>"


def _modules(sources: list[Source]) -> str:
    return "".join(
        f'<h2 id="{source.name}"><code>{source.name}</code></h2>{_text(source.tree)}'
        f"{''.join(_members(source.tree, source.name))}"
        for source in sources
    )


def _members(within: ast.Module | ast.ClassDef, path: str) -> Iterator[str]:
    """Public classes, functions and documented values, in the order in which they stand."""
    for number, node in enumerate(within.body):
        match node:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                bases = ", ".join(ast.unparse(base) for base in node.bases)
                inner = "".join(_members(node, f"{path}.{name}"))
                yield _entry(f"{path}.{name}", f"class {name}({bases})", _text(node))
                yield f"<section>{inner}</section>"
            case ast.FunctionDef(name=name) if not name.startswith("_"):
                returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
                yield _entry(f"{path}.{name}", f"{name}({ast.unparse(node.args)}){returns}", _text(node))
            case ast.Assign(targets=[ast.Name(id=name)]) if not name.startswith("_"):
                if words := _said_below(within.body, number):
                    yield _entry(f"{path}.{name}", name, f"<pre>{escape(words)}</pre>")


def _entry(anchor: str, signature: str, text: str) -> str:
    return f'<h3 id="{anchor}"><code>{escape(signature)}</code></h3>{text}'


def _text(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    words = ast.get_docstring(node)
    return f"<pre>{escape(words)}</pre>" if words else ""


def _said_below(body: list[ast.stmt], number: int) -> str:
    """The string right below a value."""
    match body[number + 1 : number + 2]:
        case [ast.Expr(value=ast.Constant(value=str(words)))]:
            return words
    return ""
