"""Differential privacy of what a job releases: clip, then noise, then account. Pure; docs/privacy.md has what is promised.

clipping.py bounds what one site can change, noise.py hides that much, gaussian.py says what it costs, account.py adds it up.
"""
