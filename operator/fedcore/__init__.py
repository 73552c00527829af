"""Federated mathematics and the logic of a round, pure: values in, values out.

Interpreted by fedaggregator; imports fedapi and numpy only. No clock, entropy, I/O or logging here.
"""
