"""The numbers of CKKS (Cheon, Kim, Kim and Song 2017) for sums of whole numbers up to 2^31. Pure.

Ring degree 4096 and a modulus of 60 + 49 bits: 128 bits of security allow for 109 (Homomorphic Encryption Standard 2018, table 1, ternary
secrets). Ciphertexts have the first prime alone, as nothing is multiplied. Encryption is by the secret key, since those who encrypt are
those who may decrypt: there is no public key to keep, and the error is the smallest that the scheme has.

A whole number m is encrypted as m x 2^27, so that sums stay below half of the first prime. The error of a sum of n is normal with standard
deviation 3.2 sqrt(4096 n) / 2^27: 5e-5 for 1000 sites, of the 1/2 that would make another whole number of it.
"""

DEGREE = 4096
MODULUS_BITS = (60, 49)
SCALE = 2.0**27
SLOTS = DEGREE // 2  # whole numbers of a ciphertext
LARGEST = (1 << 31) - 1  # of a sum
COEFFICIENTS = 2 * DEGREE  # of a ciphertext: two polynomials modulo the first prime
COEFFICIENT_BYTES = 8 * COEFFICIENTS
PRIME = 0xFFFFFFFFFFFC001  # the first of the modulus, of 60 bits: coefficients are below it
