"""What the records and samples add up to, against the objectives.

``reading`` gathers (evidence, listings, samples); everything else is pure over what it brings: ``observed``
adds samples up by day, ``figures`` are those of one period, ``whole`` is a target's metrics. Nothing that is
unknown ever counts as good, and nothing that cannot be believed counts at all: it is told as a problem.
"""
