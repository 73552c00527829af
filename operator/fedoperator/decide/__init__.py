"""What to do about a FederatedJob or an FLClient, as pure functions of what was observed and the time.

Called by the operator's worker and by the embedded runner. No clock, entropy, logging or client library here.
"""
