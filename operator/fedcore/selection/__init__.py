"""Which sites take part in an attempt: one policy per module. Pure; called by fedcore.rounds.planning.

A policy reads candidates and a draw, and nothing else: what it knows of the past is in the commits of the job's store, so
that a restarted aggregator plans the same.
"""
