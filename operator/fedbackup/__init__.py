"""Backups of a job: made, verified by restoring them, and restored. Runs as Jobs beside the aggregator, and after it.

Works on stores (fedstore) and on the API objects that it is given; never on what sites hold. No scheduling here: CronJobs
of the operator, or the embedded runner's clock, start it.
"""
