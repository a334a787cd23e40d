"""The core: PostgreSQL, object storage, time and signatures. Works without Prefect."""

__version__ = "0.1.0"
