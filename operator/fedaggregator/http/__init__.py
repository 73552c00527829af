"""HTTPS: the routes of fedapi.wire, and blobs by expiring URL; plain HTTP: probes and metrics. Built by __main__.

Asks the engine and fedcore's pure decisions; decides nothing itself.
"""
