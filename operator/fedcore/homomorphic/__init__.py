"""Sums of updates that the hub adds up without reading them: CKKS by TenSEAL, with a key that the sites alone hold.

parameters.py has the numbers of the scheme, contexts.py the sites' key and the hub's context without one, envelope.py what a foreign
ciphertext must look like; vectors.py encrypts, adds and decrypts. What is encrypted are the whole numbers of
fedcore.secagg.quantization, and what is decrypted is rounded to whole numbers: a sum is exact, and no error of the scheme leaves a site.
Pure but for the library's own draws of keys and errors. It needs the extra `he`.
"""
