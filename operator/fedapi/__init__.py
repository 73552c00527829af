"""What crosses a process border: custom resources, wire messages, store layout, names and exit codes.

Every other package may import this one; it imports none of them. No I/O, clock or entropy here.
"""
