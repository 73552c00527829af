"""What sites ask and send means, whatever carries it: messages of fedapi.wire.site in, their answers out.

Called by the transports, which have proved who speaks; asks the engine and fedcore's pure decisions.
"""
