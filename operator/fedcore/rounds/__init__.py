"""A round as a state machine: `machine.step(state, event) -> (state, effects)` and the decisions that it is made of.

Called by fedaggregator.engine; everything here is a pure function of frozen values. Tensors are in fedcore.tensors.
"""
