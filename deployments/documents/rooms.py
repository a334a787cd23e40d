"""Modules as they are written: functions, tasks, and what a name in them stands for. Nothing is imported."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PAUSE = "pause_flow_run"
"""Whatever comes to this in the end waits for a person."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Found:
    """A function of one module. ``task``: its name in Prefect's history; empty where it is no task."""

    module: str
    function: Function
    task: str = ""

    @property
    def manages(self) -> bool:
        """A context manager: what it does is not a step."""
        return any(ast.unparse(each) == "contextmanager" for each in self.function.decorator_list)


class Module:
    """One file."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.tree = ast.parse(source)

    @cached_property
    def functions(self) -> dict[str, Found]:
        return {
            node.name: Found(self.name, node, _task_name(node))
            for node in self.tree.body
            if isinstance(node, Function)
        }

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """``from tasks import backup as step`` is ``step``: ``("tasks", "backup")``."""
        return {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in self.tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    @cached_property
    def mentions(self) -> dict[str, set[str]]:
        """By each name that the module defines, the names that its definition mentions."""
        found: dict[str, set[str]] = {}
        for node in self.tree.body:
            words = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            if isinstance(node, Function | ast.ClassDef):
                found[node.name] = words
            elif isinstance(node, ast.Assign):
                found |= {each.id: words for each in node.targets if isinstance(each, ast.Name)}
        return found


def _task_name(function: Function) -> str:
    """The name in ``@step("name", …)``."""
    for each in function.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "step":
            return str(ast.literal_eval(each.args[0]))
    return ""


class Rooms:
    """The flows and tasks below one folder."""

    def __init__(self, root: Path) -> None:
        self.modules = {
            ".".join(path.relative_to(root).with_suffix("").parts): Module(
                ".".join(path.relative_to(root).with_suffix("").parts), path.read_text()
            )
            for room in ("flows", "tasks")
            for path in sorted((root / room).glob("*.py"))
        }

    def find(self, module: str, words: str) -> Found | None:
        """What ``step.take`` or ``prove`` means in that module; None for what is no function of ours."""
        here = self.modules[module]
        first, _, rest = words.partition(".")
        if not rest:
            if first in here.functions:
                return here.functions[first]
            home, name = here.imports.get(first, ("", ""))
            return self.modules[home].functions.get(name) if home in self.modules else None
        home, name = here.imports.get(first, ("", ""))
        there = self.modules.get(f"{home}.{name}")
        return there.functions.get(rest) if there else None

    def waits(self, found: Found) -> bool:
        """Whether it comes to a pause until a person answers."""
        seen: set[tuple[str, str]] = set()
        ahead = [(found.module, found.function.name)]
        while ahead:
            module, name = here = ahead.pop()
            if name == PAUSE:
                return True
            if here in seen or module not in self.modules:
                continue
            seen.add(here)
            ahead += [self._home(module, each) for each in self.modules[module].mentions.get(name, ())]
        return False

    def _home(self, module: str, name: str) -> tuple[str, str]:
        """Where a name that a module mentions is defined."""
        return self.modules[module].imports.get(name, (module, name))
