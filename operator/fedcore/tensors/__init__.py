"""Tensors as the hub sees them: the container (tensorfile) and block arithmetic of floats and of integers. Pure."""
