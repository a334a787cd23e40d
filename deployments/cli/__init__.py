"""The ``pra`` command. It runs the core in its own process: in an incident Prefect may be the casualty."""

from deployments.cli.app import main

__all__ = ["main"]
