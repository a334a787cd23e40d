"""Everything on one machine: Prefect server, workers, streamers; started, kept up, stopped in order.

Nothing here imports Prefect: its programs run as processes of their own.
"""
