"""Runs suites with Great Expectations, in a process of its own: importing it costs 3 s and 200 MB.

Reads one job (JSON) on stdin, writes one answer (JSON) on stdout. The answer holds the suites' own words,
counts and the server's primary messages; values of rows stay in this process, which ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from typing import Any

Rule = dict[str, Any]
Answer = dict[str, Any]


def main() -> None:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    warnings.simplefilter("ignore")
    job = json.load(sys.stdin)
    # Great Expectations prints advice; stdout belongs to the answer.
    with contextlib.redirect_stdout(sys.stderr):
        answer = _validate(job) if job["dsn"] is None else _run(job)
    json.dump(answer, sys.stdout)


def _make(rule: Rule, number: int) -> Any:
    """Build the expectation, which checks its parameters' names and types."""
    from great_expectations.expectations.registry import get_expectation_impl

    if rule["type"] == "no_rows":
        # Counting a constant instead of selecting columns: no value of a row leaves the server.
        query = f"SELECT 1 AS broken FROM ({rule['kwargs']['query'].strip().rstrip(';')}) AS found"
        kind, kwargs = "unexpected_rows_expectation", {"unexpected_rows_query": query}
    else:
        kind, kwargs = rule["type"], rule["kwargs"]
    make: Any = get_expectation_impl(kind)
    return make(**kwargs, meta={"number": number})


def _validate(job: Answer) -> Answer:
    """Build every expectation and run none; answers with what cannot be built."""
    wrong = []
    for suite in job["suites"]:
        for table in suite["tables"]:
            for number, rule in enumerate(table["rules"]):
                try:
                    _make(rule, number)
                except Exception as error:
                    wrong.append({"suite": suite["name"], "table": table["table"], "says": rule["says"],
                                  "error": _sentence(str(error))})  # fmt: skip
    return {"wrong": wrong}


def _run(job: Answer) -> Answer:
    import great_expectations as gx
    import sqlalchemy
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_postgres("restored", connection_string=job["dsn"])
    engine = sqlalchemy.create_engine(job["dsn"])
    answers = []
    for suite in job["suites"]:
        for table in suite["tables"]:
            answer: Answer = {"suite": suite["name"], "table": table["table"], "error": None, "rules": []}
            query = _query(engine, table["table"])
            if query is None:
                answer["error"] = "no such table"
            else:
                name = f"{suite['name']}/{table['table']}"
                answer["rules"] = _run_table(context, source.add_query_asset(name, query), table["rules"])
            answers.append(answer)
    return {"tables": answers}


def _query(engine: Any, table: str) -> str | None:
    """The table as a query in which enums are text: PostgreSQL compares no enum with a string parameter."""
    import sqlalchemy

    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".", 1))
    columns = sqlalchemy.text(
        "SELECT quote_ident(a.attname), t.typtype::text, a.attrelid::regclass::text "
        "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE a.attrelid = to_regclass(:name) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    with engine.connect() as connection:
        rows = connection.execute(columns, {"name": quoted}).all()
    if not rows:
        return None
    listed = ", ".join(f"CAST({name} AS text) AS {name}" if kind == "e" else name for name, kind, _ in rows)
    return f"SELECT {listed} FROM {rows[0][2]}".replace(":", "\\:")


def _run_table(context: Any, asset: Any, rules: list[Rule]) -> list[Answer]:
    import great_expectations as gx

    answers = [_answer(rule) for rule in rules]
    made = []
    for number, rule in enumerate(rules):
        try:
            made.append(_make(rule, number))
        except Exception as error:
            answers[number]["error"] = _sentence(str(error))
    batches = asset.add_batch_definition_whole_table("all")
    suite = context.suites.add(gx.ExpectationSuite(asset.name, expectations=made))
    definition = gx.ValidationDefinition(name=asset.name, data=batches, suite=suite)
    found = context.validation_definitions.add(definition).run(
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": 0}
    )
    for result in found.results:
        answer = answers[result.expectation_config.meta["number"]]
        answer["error"] = _exception(result.exception_info or {})
        if answer["error"] is None:
            answer["held"] = bool(result.success)
            answer["unexpected"] = _count(result.result.get("unexpected_count"), result, answer)
            answer["of"] = result.result.get("element_count")
    return answers


def _answer(rule: Rule) -> Answer:
    return {
        "says": rule["says"],
        "type": rule["type"],
        "held": None,
        "unexpected": None,
        "of": None,
        "error": None,
    }


def _count(unexpected: Any, result: Any, answer: Answer) -> int | None:
    if unexpected is None and answer["type"] == "no_rows":
        unexpected = result.result.get("observed_value")
    return unexpected if isinstance(unexpected, int) else None


def _exception(info: dict[str, Any]) -> str | None:
    """Great Expectations keeps one exception, or one for each metric."""
    for one in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if one.get("raised_exception"):
            return _sentence(str(one.get("exception_message")))
    return None


def _sentence(text: str) -> str:
    """The first telling line: the rest holds SQL, parameters and DETAIL."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and "validation error" in lines[0]:
        return f"{lines[1]}: {lines[-1]}"[:300]
    return lines[0][:300] if lines else "no message"


if __name__ == "__main__":
    main()
