"""The `fedloom` command line: run without a cluster, look at results, fetch models.

Only cluster.py knows the Kubernetes client; everything else works without it.
"""
