"""The launchers of a site's pods: they agree on generations of the ring, and start and end the ranks of each.

No torch here: a launcher is small, starts fast and outlives its ranks. generations.py decides, service.py serves its
decisions on worker 0, launcher.py follows them in every pod. What ranks do is in fedtrainer.agent and fedtrainer.ring.
"""
