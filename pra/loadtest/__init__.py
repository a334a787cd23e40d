"""A load test's parts: rounds, queries, load, comparison, forecast. `pra.procedures.loadtest` drives them."""
