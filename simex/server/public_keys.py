"""Public keys of API keys: Ed25519 and RSA (PKCS#1 v1.5 with SHA-256), signatures in base64. Pure."""

import base64
import binascii
from collections.abc import Callable
from typing import Literal

Kind = Literal["HMAC", "RSA", "ED25519"]
Check = Callable[[str, str], bool]
"""(signed text, signature) -> whether it is genuine."""


def read_public_key(pem: str) -> tuple[Kind, Check]:
    """A PEM public key. ValueError if it is none, or of another kind."""
    from cryptography.exceptions import InvalidSignature  # slow to import, and most starts need none of it
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise ValueError("not a PEM public key") from error

    def genuine(text: str, signature: str) -> bool:
        try:
            raw = base64.b64decode(signature, validate=True)
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(raw, text.encode(), padding.PKCS1v15(), hashes.SHA256())
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(raw, text.encode())
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", genuine
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ED25519", genuine
    raise ValueError("neither an Ed25519 nor an RSA key")
