"""The report of a drill or a failover: one page for manager, operator and auditor.

``content`` says what stands in it, once, in one language; ``html`` and ``markdown`` only show it. So the
page, the Prefect artifact, and English and French cannot tell different stories.
"""
