"""Training by DP-SGD (Abadi et al. 2016) with Opacus: records are drawn, clipped one by one, hidden by noise, and accounted for.

private.py is what a training asks; steps.py makes its steps; account.py keeps what has been told. Only this package knows Opacus.
"""
