"""Adapters of the ports: identity by token, status to a file, status and heartbeats to Kubernetes.

Made by __main__ only. The Kubernetes client is known to adapters/kubernetes.py alone.
"""
