"""Fixtures live in ``tests/fix_<subject>.py``; this names them, each before those that import it."""

pytest_plugins = [
    "tests.fix_cluster",
    "tests.fix_hostile",
    "tests.fix_pooler",
    "tests.fix_world",
    "tests.fix_physical",
    "tests.fix_stream",
    "tests.fix_failover",
    "tests.fix_recovery",
    "tests.fix_mutations",
    "tests.fix_physical_mutations",
    "tests.fix_operator",
    "tests.fix_record",
    "tests.fix_akig",
    "tests.fix_store",
    "tests.fix_locked",
    "tests.fix_faults",
    "tests.fix_slack",
    "tests.fix_prefect",
    "tests.fix_drill",
    "tests.fix_browser",
]
