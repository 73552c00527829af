"""Messages between processes, the store's records and layout, and the bytes that are hashed.

Read by the operator (job configuration only), the aggregator, the trainer and the embedded runner.
Every model is frozen, refuses unknown fields and uses snake_case JSON; times are seconds since the epoch (UTC).
"""
