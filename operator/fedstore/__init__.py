"""Where models, updates and records are kept: one port (objectstore), its adapters (disk, memory), and who opens them (opening).

Used by fedaggregator, the embedded runner and the command line; never by sites. No federated logic here.
"""
