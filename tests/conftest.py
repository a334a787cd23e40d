"""Fixtures live in ``tests/fix_<subject>.py``; this names them."""

pytest_plugins = [
    "tests.fix_cluster",
    "tests.fix_hostile",
    "tests.fix_mutations",
    "tests.fix_operator",
    "tests.fix_record",
    "tests.fix_world",
    "tests.fix_akig",
    "tests.fix_store",
    "tests.fix_prefect",
    "tests.fix_slack",
]
