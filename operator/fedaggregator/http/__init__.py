"""HTTPS: the routes of fedapi.wire.site, blobs by expiring URL, probes and metrics. Built by __main__.

Asks the engine and fedcore's pure decisions; decides nothing itself.
"""
