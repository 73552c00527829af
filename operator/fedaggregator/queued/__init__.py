"""Queues as another transport of what sites ask and send, and of the store's word that something arrived.

Beside http/: proves who speaks and calls requests/; decides nothing itself. Made by __main__ where the job has queues.
"""
