"""Pure builders of every object that the operator makes: one module per kind, values in and a manifest out.

Called by fedoperator.decide. Manifests hold owned leaves only, so that `difference.differs` is meaningful.
No clock, no I/O, no Kubernetes client.
"""
