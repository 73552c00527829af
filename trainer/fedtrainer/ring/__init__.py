"""The ranks of one site, joined: one port (port.py) and its adapters (single, horovod, torchdist, xla).

Ranks train on shares of the site's data and sum what they find; what is trained is in fedtrainer.training, how
ranks are started and started again is in fedtrainer.launch. Only this package knows Horovod and torch_xla.
"""
