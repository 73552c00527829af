"""Queues between the hub and its sites: one port, its adapters. At-least-once; duplicates are harmless to both ends.

Used by fedaggregator and fedtrainer alike, and knows neither: bytes in, bytes out.
"""
