"""Distributed differential privacy: every site adds its share of the noise before its update is masked. Pure; docs/adr/0060.

The distributed discrete Gaussian mechanism (Kairouz, Liu and Steinke 2021, ICML): lattice.py makes integers of an update, so that
its length is bounded exactly, and adds discrete.py's noise; concentrated.py says what the sum of the survivors' costs.
Secure aggregation (fedcore.secagg) adds up what comes of it, modulo 2^32.
"""
