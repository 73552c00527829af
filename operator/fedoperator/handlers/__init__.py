"""The watches: kopf, embedded, with event handlers that fill the cache and enqueue keys, and nothing else.

Started by lifecycle.py. Nothing here decides, writes, or knows the Kubernetes client; nothing but this package knows
kopf. No finalizer, annotation, event or status is ever written by kopf.
"""
