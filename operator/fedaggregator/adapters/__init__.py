"""Adapters of the ports: token authentication, status to a file, status and heartbeats to Kubernetes.

Made by __main__ only. The Kubernetes client is known to adapters/kubernetes.py alone.
"""
