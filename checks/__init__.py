"""What "recovered" means: questions about a restored database, each with what was expected and observed."""

from checks.plan import Checks

__all__ = ["Checks"]
