"""Secure aggregation: the hub learns the sum of the sites' updates and no single one of them. Pure; shared by trainer and hub.

Double masking (Bonawitz et al. 2017, ePrint 2017/281, with its consistency round) over a complete graph, or over a ring of
neighbours where there are many sites (after Bell et al. 2020, ePrint 2020/704). site.py and hub.py are the two state machines,
graph.py says who masks with whom, masking.py works on whole models, quantization.py takes floats into the ring Z_2^32.
Messages are in fedapi.wire.secagg. Entropy comes as values. Nothing here is constant-time: Python's integers are not, so whoever
can measure a process of a site to the microsecond is outside of what this protects from (docs/adr/0060).
"""
