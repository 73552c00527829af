"""What strategies ask of a training beside the optimizer's steps (fedapi.wire.training.Method), one module each.

method.py puts together what a round asks for; session.py makes it, and a training calls it through `ctx.correct`.
"""
