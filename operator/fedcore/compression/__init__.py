"""How the floats of an update become fewer bytes, one module per codec. Pure numpy, shared by trainer and hub.

What a codec is says codec.py, all of them are in table.py, fileform.py says what a file of one looks like.
"""
