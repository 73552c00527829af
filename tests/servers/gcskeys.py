"""A service account's key as Google hands it out, of no account that exists: URLs are signed with it and nobody is asked."""

import json
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

EMAIL = "fedloom@tests.iam.gserviceaccount.com"


@cache
def private_key() -> rsa.RSAPrivateKey:
    """Of this process."""
    return rsa.generate_private_key(65537, 2048)


def service_account() -> str:
    """The file."""
    private = private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "tests",
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": "https://127.0.0.1:1/token",
        }
    )
