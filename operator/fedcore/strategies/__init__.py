"""How updates become the next model, one module per strategy. Pure.

What a strategy is says strategy.py, all of them are in table.py, folding.py takes a block through one.
"""
