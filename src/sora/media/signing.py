"""Signed statements of where a file came from (C2PA, https://c2pa.org/specifications), with a person's own certificate.

Two variables of the environment ask for it: SORA_C2PA_CERT, a PEM file with the certificate and those above it, and
SORA_C2PA_KEY, its private key. SORA_C2PA_TIMESTAMP_URL names a time-stamping service, and no network is used without.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sora.errors import InputError, UsageError
from sora.media.provenance import Provenance

CERTIFICATE, KEY, TIMESTAMPS = "SORA_C2PA_CERT", "SORA_C2PA_KEY", "SORA_C2PA_TIMESTAMP_URL"
KINDS = (".mp4", ".gif", ".webp", ".png", ".jpg", ".jpeg")
MAX_PEM_BYTES = 1 << 20


def is_asked_for() -> bool:
    """Whether files are to be signed."""
    return bool(os.environ.get(CERTIFICATE) or os.environ.get(KEY))


def check() -> None:
    """Refuses, before any work, what could not be signed. Raises UsageError and InputError."""
    if not is_asked_for():
        return
    for name in (CERTIFICATE, KEY):
        if not os.environ.get(name):
            raise UsageError(f"{name} is not set, and signing needs both {CERTIFICATE} and {KEY}; set it")
    if find_spec("c2pa") is None:
        raise UsageError(f"{CERTIFICATE} asks for signed files; install c2pa-python, or unset it")
    _signer()


def sign(file: Path, origin: Provenance) -> None:
    """Puts a signed manifest into a file of KINDS. Raises InputError where that fails."""
    import c2pa

    signed = file.with_name(f"signed{file.suffix}")
    action = {"action": "c2pa.created", "digitalSourceType": origin.uri}
    tool, _, version = origin.tool.partition(" ")
    manifest = {
        "claim_generator_info": [{"name": tool, "version": version}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    try:
        c2pa.load_settings(json.dumps({"builder": {"thumbnail": {"enabled": False}}}))
        c2pa.Builder(json.dumps(manifest)).sign_file(str(file), str(signed), _signer())
    except c2pa.C2paError as error:
        raise InputError(f"the file cannot be signed ({error}); check {CERTIFICATE} and {KEY}") from None
    signed.replace(file)


def _signer() -> Any:
    """Raises InputError for a certificate or a key that cannot be used."""
    import c2pa
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        chain, key = (Path(os.environ[name]).read_bytes()[:MAX_PEM_BYTES] for name in (CERTIFICATE, KEY))
        private = load_pem_private_key(key, None)
        curves = {256: b"es256", 384: b"es384", 521: b"es512"}
        algorithm = curves.get(private.key_size, b"") if isinstance(private, ec.EllipticCurvePrivateKey) else b"ps256"
        algorithm = b"ed25519" if isinstance(private, ed25519.Ed25519PrivateKey) else algorithm
        service = os.environ.get(TIMESTAMPS)
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain, key, service and service.encode()))
    except (OSError, ValueError, TypeError, c2pa.C2paError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{CERTIFICATE} and {KEY} cannot be used ({reason}); expected unencrypted PEM files") from None
