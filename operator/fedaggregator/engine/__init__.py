"""Runs the pure round logic over a store: recovery, effects, verification, fold. Called by http/ and __main__.

No HTTP here, and no decision that belongs to fedcore.
"""
