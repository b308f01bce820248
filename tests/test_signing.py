"""Files signed with a person's certificate, where c2pa-python is installed."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pytest

from conftest import Studio
from sora import media
from sora.media import provenance

c2pa = pytest.importorskip("c2pa")
x509 = pytest.importorskip("cryptography.x509")

SMALL = ("--size", "64x48", "--frames", "5", "--steps", "1", "--seed", "3")


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an authority that nobody trusts."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now, days = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=30)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [
        x509.Name(
            [x509.NameAttribute(x509.NameOID.COMMON_NAME, n), x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, n)]
        )
        for n in ("Authority", "Person")
    ]
    pem = b""
    for subject, public, is_authority in ((names[1], key, False), (names[0], authority, True)):
        own = public.public_key()
        usage = x509.KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False)
        made = x509.CertificateBuilder(names[0], subject, own, x509.random_serial_number(), now - days, now + days)
        made = made.add_extension(x509.BasicConstraints(is_authority, None), True).add_extension(usage, True)
        if not is_authority:
            made = made.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(own), False).add_extension(above, False)
        pem += made.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (tmp_path / "chain.pem").write_bytes(pem)
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (tmp_path / "key.pem").write_bytes(private)
    monkeypatch.setenv("SORA_C2PA_CERT", str(tmp_path / "chain.pem"))
    monkeypatch.setenv("SORA_C2PA_KEY", str(tmp_path / "key.pem"))


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp"])
def test_a_signed_film_says_who_made_it_and_has_the_same_frames(
    studio: Studio, certified: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert studio("generate", "a ball", *SMALL, "-o", name).exit_code == 0
    found = json.loads(c2pa.Reader(name).json())
    stated = found["manifests"][found["active_manifest"]]["assertions"]
    (action,) = next(each["data"]["actions"] for each in stated if "actions" in each["data"])
    assert (action["action"], action["digitalSourceType"]) == (
        "c2pa.created",
        f"{provenance.VOCABULARY}{media.GENERATED}",
    )
    assert found["validation_state"] == "Valid" and "a ball" not in json.dumps(found)
    monkeypatch.delenv("SORA_C2PA_CERT")
    monkeypatch.delenv("SORA_C2PA_KEY")
    assert studio("generate", "a ball", *SMALL, "-o", f"plain-{name}").exit_code == 0
    same = np.array_equal(media.read_clip(name).frames_FYXC, media.read_clip(f"plain-{name}").frames_FYXC)
    assert same and media.read_recipe(name) == media.read_recipe(f"plain-{name}")


def test_what_cannot_be_signed_is_refused_before_painting(
    studio: Studio, certified: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key.pem").write_text("no key")
    result = studio("generate", "a ball", *SMALL, "-o", "a.mp4")
    assert (result.exit_code, len(result.stderr.splitlines())) == (3, 1) and "SORA_C2PA_KEY" in result.stderr
    monkeypatch.delenv("SORA_C2PA_KEY")
    assert studio("generate", "a ball", *SMALL, "-o", "a.mp4").exit_code == 2
    monkeypatch.setenv("SORA_C2PA_KEY", "x")
    monkeypatch.setattr("sora.media.signing.find_spec", lambda name: None)
    assert "install c2pa-python" in studio("generate", "a ball", *SMALL, "-o", "a.mp4").stderr
    assert not list(Path().iterdir())
