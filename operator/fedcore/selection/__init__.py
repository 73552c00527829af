"""Which sites take part in an attempt. Pure; called by fedcore.rounds.planning."""
