"""Adapters of the ports: a job's facts in Kubernetes or in a file, the API's objects from either.

Made by __main__ only. The Kubernetes client is known to adapters/kubernetes.py alone.
"""
