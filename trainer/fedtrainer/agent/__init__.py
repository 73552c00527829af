"""Who does what in a site's ranks. The arithmetic is in fedtrainer.training.

Rank 0 asks the aggregator for work (fedapi.wire.site), downloads, uploads and reports (work.py), and tells the other
ranks (rank_group.py), which follow (follow.py).
"""
