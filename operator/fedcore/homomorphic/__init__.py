"""Sums of updates that the hub adds up without reading them: CKKS by TenSEAL, with a key that the sites alone hold.

parameters.py has the numbers of the scheme. addition.py adds encrypted vectors, which needs neither the key nor the library: all that a hub
does. At a site contexts.py holds the key, envelope.py makes the library's bytes of coefficients, vectors.py encrypts and decrypts, sealing.py
brings the key to other sites, tags.py tells whether a sum is of the updates that it is said to be of, and site.py takes part in an attempt. What is encrypted are the whole
numbers of fedcore.secagg.quantization, and what is decrypted is rounded to whole numbers: a sum is exact, and no error of the scheme
leaves a site. Pure but for the library's own draws of keys and errors. A site needs the extra `he`.
"""
