"""The one process per site that speaks to the aggregator: asks for work, downloads, uploads, reports.

Rank 0's duties; the arithmetic is in fedtrainer.training. Messages are fedapi.wire.site.
"""
