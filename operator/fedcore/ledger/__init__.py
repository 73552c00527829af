"""A job's ledger: entries in a Merkle tree (RFC 6962), kept as tiles, with signed checkpoints (C2SP). Pure: bytes in, bytes out.

The aggregator writes it (fedaggregator.engine.ledger), fedstore.ledgers reads it and fedstore.ledgeraudit verifies it, for `fedloom ledger` and
backups. What is told in it is decided by whoever appends.
"""
