"""The endpoint of the registry: sites everywhere send heartbeats to it, the operator reads from it who is there.

A process of its own, beside the operator: it alone has a port that sites of other networks reach and credentials of the
table. It stands on the aggregator's HTTPS server (fedaggregator.http) and on the port and adapters of fedstore.
"""
