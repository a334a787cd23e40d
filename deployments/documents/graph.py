"""The graph of a flow's steps, read from the flow as it is written: what waits for what, what runs beside it.

A step that was submitted runs beside whatever comes next, until its result is asked for.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deployments.documents.rooms import Found, Function, Module, Rooms

Kind = Literal["task", "person", "question"]
_ASKS = ("result", "wait")
_MANY = 3
"""A loop over more steps than this is said once, not at each of them."""


@dataclass(frozen=True)
class Node:
    """One step.

    Attributes:
        each: What it is done for each of; empty: once.
        beside: All of those at the same time, rather than in turn.
    """

    name: str
    kind: Kind = "task"
    each: str = ""
    beside: bool = False


@dataclass(frozen=True)
class Edge:
    """``after`` begins once ``before`` has ended; of a question, only when the answer is ``word``."""

    before: int
    after: int
    word: str = ""


@dataclass(frozen=True)
class Graph:
    """A flow: its name in Prefect, the first line of its docstring, and ``notes`` on its loops."""

    name: str
    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    notes: tuple[str, ...] = ()

    def layers(self) -> list[list[int]]:
        """Numbers of the nodes by the longest way that leads to them."""
        depth: dict[int, int] = {}
        for number in range(len(self.nodes)):  # edges lead from lower to higher numbers
            depth[number] = max((depth[e.before] + 1 for e in self.edges if e.after == number), default=0)
        return [
            [n for n in depth if depth[n] == level] for level in range(max(depth.values(), default=-1) + 1)
        ]


def graphs(rooms: Rooms) -> list[Graph]:
    """Every flow, in the order of their files."""
    return [
        _graph(rooms, module, function)
        for module in rooms.modules.values()
        for function in module.tree.body
        if isinstance(function, ast.FunctionDef) and _flow_name(function)
    ]


def _flow_name(function: Function) -> str:
    """The name in ``@flow(name="…")``; empty for what is no flow."""
    for each in function.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "flow":
            return next(str(ast.literal_eval(k.value)) for k in each.keywords if k.arg == "name")
    return ""


def _graph(rooms: Rooms, module: Module, function: ast.FunctionDef) -> Graph:
    reader = _Reader(rooms, module.name)
    reader.run(function.body)
    title = (ast.get_docstring(function) or "").splitlines()[0]
    return Graph(_flow_name(function), title, tuple(reader.nodes), tuple(reader.edges), tuple(reader.notes))


class _Reader:
    """Walks a flow's statements in order.

    Attributes:
        frontier: Steps that have ended and that the next one waits for, with the word on that edge.
        names: What a variable holds: steps that still run, or a task that is passed on.
    """

    def __init__(self, rooms: Rooms, module: str) -> None:
        self.rooms = rooms
        self.module = module
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.notes: list[str] = []
        self.frontier: dict[int, str] = {}
        self.names: dict[str, list[int] | Found] = {}
        self.each, self.beside = "", False

    # -- statements ------------------------------------------------------------------------------

    def run(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.names[name] = self.value(value)
                case ast.If():
                    self.choice(statement)
                case ast.For():
                    self.loop(statement)
                case ast.With(items=items, body=inner):
                    for item in items:
                        self.value(item.context_expr)
                    self.run(inner)
                case ast.Try(body=inner, handlers=handlers, orelse=orelse, finalbody=final):
                    self.run([*inner, *(each for one in handlers for each in one.body), *orelse, *final])
                case ast.FunctionDef() | ast.ClassDef():
                    pass
                case _:
                    for child in ast.iter_child_nodes(statement):
                        if isinstance(child, ast.expr):
                            self.value(child)

    def choice(self, statement: ast.If) -> None:
        self.value(statement.test)
        if not self.adds([*statement.body, *statement.orelse]):
            return
        test, answers = statement.test, ["yes", "no"]
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, answers = test.operand, ["no", "yes"]
        question = self.add(_words(test), "question")
        ends: dict[int, str] = {}
        for answer, body in zip(answers, (statement.body, statement.orelse), strict=True):
            self.frontier = {question: answer}
            self.run(body)
            ends |= self.frontier
        self.frontier = ends

    def adds(self, body: Sequence[ast.stmt]) -> bool:
        """Whether there is any step in it."""
        trial = copy.copy(self)
        trial.nodes, trial.edges, trial.notes = [*self.nodes], [*self.edges], [*self.notes]
        trial.frontier, trial.names = dict(self.frontier), dict(self.names)
        trial.run(body)
        return len(trial.nodes) > len(self.nodes)

    def loop(self, statement: ast.For) -> None:
        name = ast.unparse(statement.target)
        if isinstance(statement.iter, ast.Tuple):  # the same for each of these steps
            for one in statement.iter.elts:
                found = self.find(one)
                self.names[name] = found if found is not None else self.value(one)
                self.run(statement.body)
            return
        self.names[name] = self.value(statement.iter)
        begin, outside = len(self.nodes), (self.each, self.beside)
        self.each, self.beside = _last(statement.iter), False
        self.run(statement.body)
        self.each, self.beside = outside
        inside = self.nodes[begin:]
        if len(inside) > _MANY:
            self.notes.append(
                f"in turn, for each of {_last(statement.iter)}: {inside[0].name} … {inside[-1].name}"
            )
            self.nodes[begin:] = [one if one.beside else replace(one, each="") for one in inside]

    # -- expressions -----------------------------------------------------------------------------

    def value(self, expression: ast.expr | None) -> list[int]:
        """The steps that the value stands for and that may still run."""
        match expression:
            case None:
                return []
            case ast.Name(id=name):
                held = self.names.get(name, [])
                return [] if isinstance(held, Found) else held
            case ast.Call():
                return self.call(expression)
            case ast.ListComp(elt=element, generators=made) | ast.GeneratorExp(elt=element, generators=made):
                return self.comprehension(element, made)
            case _:
                children = (each for each in ast.iter_child_nodes(expression) if isinstance(each, ast.expr))
                return [number for each in children for number in self.value(each)]

    def comprehension(self, element: ast.expr, made: Sequence[ast.comprehension]) -> list[int]:
        """The same for each of something, side by side."""
        first = made[0]
        if isinstance(first.iter, ast.Tuple):  # of these steps
            found: list[int] = []
            for one in first.iter.elts:
                self.names[ast.unparse(first.target)] = self.find(one) or self.value(one)
                found += self.value(element)
            return found
        for each in made:
            self.names[ast.unparse(each.target)] = self.value(each.iter)
        outside = (self.each, self.beside)
        self.each, self.beside = _last(first.iter), True
        found = self.value(element)
        self.each, self.beside = outside
        return found

    def call(self, call: ast.Call) -> list[int]:
        match call.func:
            case ast.Attribute(attr=verb, value=subject) if verb in _ASKS:
                self.join(self.value(subject))
                return []
            case ast.Attribute(attr="submit", value=subject) if found := self.find(subject):
                return [self.add(found.task, "task", self.arguments(call))]
        found = self.find(call.func)
        if found is None or found.task or found.manages:
            return [] if found is not None else [*self.value(call.func), *self.arguments(call)]
        if self.rooms.waits(found):
            self.join([self.add(found.function.name, "person", self.arguments(call))])
            return []
        return self.inside(found, call)

    def inside(self, found: Found, call: ast.Call) -> list[int]:
        """What a function of ours does, in its own words."""
        given: dict[str, list[int] | Found] = {}
        for parameter, value in zip(found.function.args.args, call.args, strict=False):
            given[parameter.arg] = self.find(value) or self.value(value)
        outside = (self.module, self.names)
        self.module, self.names = found.module, given
        self.run(found.function.body)
        self.module, self.names = outside
        return []

    def arguments(self, call: ast.Call) -> list[int]:
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        return [number for each in values for number in self.value(each)]

    def find(self, expression: ast.expr) -> Found | None:
        words = ast.unparse(expression)
        held = self.names.get(words)
        if isinstance(held, Found):
            return held
        return None if held is not None else self.rooms.find(self.module, words)

    # -- the graph -------------------------------------------------------------------------------

    def add(self, name: str, kind: Kind, besides: Iterable[int] = ()) -> int:
        """A step that begins once everything known to have ended has, and what it is given."""
        number = len(self.nodes)
        each = (self.each, self.beside) if kind == "task" else ("", False)
        self.nodes.append(Node(name, kind, *each))
        before = {**dict.fromkeys(besides, ""), **self.frontier}
        needless = {way for one in before for way in self.ways_to(one)}
        self.edges += [
            Edge(one, number, word) for one, word in sorted(before.items()) if word or one not in needless
        ]
        return number

    def join(self, ended: Iterable[int]) -> None:
        ended = list(ended)
        past = {way for one in ended for way in self.ways_to(one)}
        self.frontier = {one: word for one, word in self.frontier.items() if one not in past}
        self.frontier |= dict.fromkeys(ended, "")

    def ways_to(self, number: int) -> set[int]:
        """Every step that has ended before this one begins."""
        before = {edge.before for edge in self.edges if edge.after == number}
        return before.union(*(self.ways_to(one) for one in before))


def _last(expression: ast.expr) -> str:
    """``step.repositories(this)`` is ``repositories``."""
    words = ast.unparse(expression.func if isinstance(expression, ast.Call) else expression)
    return words.rsplit(".", 1)[-1].replace("_", " ")


def _words(test: ast.expr) -> str:
    """A condition as a question."""
    if isinstance(test, ast.NamedExpr):
        test = test.value
    return f"{_last(test)}?"
