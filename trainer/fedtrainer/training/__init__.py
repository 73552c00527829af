"""Training at a site: the Task API, the torch loop, and update files. Knows nothing of the aggregator.

Called by fedtrainer.agent (one process per site today; every rank of a ring calls the same session later).
Only `task` is imported before torch is needed.
"""
