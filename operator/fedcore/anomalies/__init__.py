"""Which updates of a round are anomalous: their lengths and directions, and the facts that follow. Pure."""
