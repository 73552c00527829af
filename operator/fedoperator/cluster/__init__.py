"""Where the operator meets the API server: cache, observe, apply, credentials, leadership.

Called by the workers and by lifecycle.py. The only package of the operator that knows the Kubernetes client; what is
to be done is decided elsewhere (decide/). Nothing is imported here, so that kinds and cache stay free of the client.
"""
