"""Where models, updates and records are kept: one port (objectstore) and its adapters (disk, memory).

Used by fedaggregator, the embedded runner and the command line; never by sites. No federated logic here.
"""
