"""Where models, updates and records are kept: one port (objectstore), its adapters (disk, memory), who opens them (opening).

And history, the one reader of a job's rounds. Used by fedaggregator, the embedded runner and the command line; never by
sites. No federated logic here.
"""
