"""What can go wrong with encrypted sums, by whose fault it is."""


class HomomorphicError(Exception):
    """Base of all below; the message is fit for a log: no key and no value is in it."""


class MalformedError(HomomorphicError):
    """The bytes are no ciphertext, key or file of these parameters: their sender's fault."""


class NotASumError(HomomorphicError):
    """What was decrypted is no sum of whole numbers: another key encrypted it, or it was made to mislead. Nothing is told of it."""
