"""Setting up an installation and looking it over: what ``pra init`` and ``pra doctor`` try."""
