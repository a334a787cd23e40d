"""``python -m deployments.cli`` is ``pra``, where the script is not on the path."""

from deployments.cli.app import main

main()
