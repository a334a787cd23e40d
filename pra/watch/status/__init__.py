"""The status of everything that protects a database: probes, one pass over them, and what a pass leaves."""
