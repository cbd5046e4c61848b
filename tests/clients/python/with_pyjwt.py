"""PyJWT verifies our tokens with our published keys, and mints tokens with the node's own key."""

import json
import uuid

import jwt
import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from jwt.algorithms import HMACAlgorithm
from jwt.utils import base64url_encode

from story import discover, seen, tell


def verify(given):
    """Returns header and claims of the token, after PyJWT has verified it."""
    keys = jwt.PyJWKClient(discover(given["issuer"])["jwks_uri"])
    key = keys.get_signing_key_from_jwt(given["token"])
    required = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid"]
    verified = jwt.decode_complete(
        given["token"],
        key,
        algorithms=[given["algorithm"]],
        issuer=given["issuer"],
        audience=given["audience"],
        options={"require": required},
    )
    for expected in [{"issuer": "https://other.example"}, {"audience": "other"}]:
        expected = {"issuer": given["issuer"], "audience": given["audience"], **expected}
        try:
            jwt.decode(given["token"], key, algorithms=[given["algorithm"]], **expected)
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
            continue
        raise AssertionError(f"it was verified as {expected}")
    return {"header": verified["header"], "claims": verified["payload"]}


def sign_as_is(header, claims, secret):
    """Signs with HMAC. `jwt.encode` refuses a public key as secret."""
    parts = [base64url_encode(json.dumps(part).encode()) for part in (header, claims)]
    message = b".".join(parts)
    signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(message, secret)
    return b".".join([message, base64url_encode(signature)]).decode()


def mint(given):
    """Returns what `/me` answers to each token."""
    seen_claims = jwt.decode_complete(given["token"], options={"verify_signature": False})
    header, claims = seen_claims["header"], seen_claims["payload"]
    algorithm = header["alg"]
    key = load_pem_private_key(given["private_key"].encode(), None)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    kid = {"kid": header["kid"]}

    def encode(changed, algorithm=algorithm, key=key, headers=None):
        return jwt.encode({**claims, **changed}, key, algorithm, {"typ": "at+jwt", **kid, **(headers or {})})

    tokens = {
        "issued": given["token"],
        "the same claims": encode({}),
        "unknown jti": encode({"jti": str(uuid.uuid4())}),
        "altered sub": encode({"sub": str(uuid.uuid4())}),
        "altered sid": encode({"sid": str(uuid.uuid4())}),
        "longer exp": encode({"exp": claims["exp"] + 3600}),
        "alg none": encode({}, "none", None),
        "HS256 with the public key": sign_as_is({**header, "alg": "HS256"}, claims, public),
        "issued, again": given["token"],
    }
    assert tokens["the same claims"] != tokens["issued"]
    answers = {}
    for name, token in tokens.items():
        headers = {"authorization": f"Bearer {token}"}
        answers[name] = seen(requests.get(given["issuer"] + "/me", headers=headers, timeout=10))
    return answers


tell({"verify": verify, "mint": mint})
