"""The token endpoint, introspection and codes as one writes them with FastAPI.

Access tokens and refresh tokens are JWTs. MongoDB records each under its `jti`, and Redis keeps for
a minute whether a token is active.
"""

import base64
import hashlib
import os
import secrets
import socket
import uuid
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Annotated

import jwt
import redis.asyncio
import uvicorn
from fastapi import Depends, FastAPI, Form, HTTPException
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pymongo import AsyncMongoClient, ReturnDocument

ISSUER = "http://127.0.0.1"
AUDIENCE = "demo-app"
SCOPE = "profile"
ACCESS_TTL = timedelta(days=1)
REFRESH_TTL = timedelta(days=30)
CODE_TTL = timedelta(minutes=1)
REDIS_TTL = 60

CLIENT_ID = os.environ["BENCH_CLIENT_ID"]
CLIENT_SECRET = hashlib.sha256(os.environ["BENCH_CLIENT_SECRET"].encode()).digest()
REDIRECT_URI = os.environ["BENCH_REDIRECT_URI"]
KEY = secrets.token_bytes(32)
NO_STORE = {"cache-control": "no-store"}


@asynccontextmanager
async def lifespan(app: FastAPI):
    client = AsyncMongoClient(
        os.environ["BENCH_MONGODB_URI"], w="majority", journal=True, uuidRepresentation="standard", tz_aware=True
    )
    app.state.db = client["fastapi"]
    await app.state.db.tokens.create_index("session_id")
    app.state.redis = redis.asyncio.from_url(os.environ["BENCH_REDIS_URL"])
    yield
    await app.state.redis.aclose()
    await client.close()


app = FastAPI(lifespan=lifespan)
basic = HTTPBasic()


def authenticate(credentials: Annotated[HTTPBasicCredentials, Depends(basic)]) -> str:
    sent = hashlib.sha256(credentials.password.encode()).digest()
    if credentials.username != CLIENT_ID or not secrets.compare_digest(sent, CLIENT_SECRET):
        raise HTTPException(401, "invalid_client", {"www-authenticate": "Basic"})
    return credentials.username


Client = Annotated[str, Depends(authenticate)]


def invalid_grant() -> HTTPException:
    return HTTPException(400, "invalid_grant")


def new_token(kind: str, sub: str, session_id: uuid.UUID, client: str, ttl: timedelta):
    """Returns a signed token and its record."""
    now = datetime.now(timezone.utc)
    record = {
        "_id": uuid.uuid4(),
        "user_id": sub,
        "session_id": session_id,
        "kind": kind,
        "issued_at": now,
        "expires_at": now + ttl,
        "revoked": False,
    }
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": sub,
        "sid": str(session_id),
        "client_id": client,
        "scope": SCOPE,
        "jti": str(record["_id"]),
        "iat": now,
        "exp": record["expires_at"],
    }
    typ = "at+jwt" if kind == "access" else "refresh+jwt"
    return jwt.encode(claims, KEY, "HS256", {"typ": typ}), record


def decode(token: str, kind: str) -> dict:
    claims = jwt.decode(token, KEY, ["HS256"], audience=AUDIENCE, issuer=ISSUER, options={"require": ["exp", "jti"]})
    typ = "at+jwt" if kind == "access" else "refresh+jwt"
    if jwt.get_unverified_header(token).get("typ") != typ:
        raise jwt.InvalidTokenError("another kind of token")
    return claims


async def issue(sub: str, session_id: uuid.UUID, client: str, with_refresh: bool) -> JSONResponse:
    """Records new tokens, then hands them out."""
    access, record = new_token("access", sub, session_id, client, ACCESS_TTL)
    records = [record]
    body = {
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": int(ACCESS_TTL.total_seconds()),
        "scope": SCOPE,
    }
    if with_refresh:
        body["refresh_token"], refresh = new_token("refresh", sub, session_id, client, REFRESH_TTL)
        records.append(refresh)
    await app.state.db.tokens.insert_many(records)
    await app.state.redis.set(f"active:{record['_id']}", 1, ex=REDIS_TTL)
    return JSONResponse(body, headers=NO_STORE)


@app.post("/oauth/token")
async def token(
    client: Client,
    grant_type: Annotated[str, Form()],
    code: Annotated[str | None, Form()] = None,
    redirect_uri: Annotated[str | None, Form()] = None,
    code_verifier: Annotated[str | None, Form()] = None,
    refresh_token: Annotated[str | None, Form()] = None,
):
    if grant_type == "client_credentials":
        return await issue(client, uuid.uuid4(), client, False)
    if grant_type == "refresh_token" and refresh_token:
        return await refresh(client, refresh_token)
    if grant_type == "authorization_code" and code and code_verifier:
        return await exchange(client, code, redirect_uri, code_verifier)
    raise HTTPException(400, "unsupported_grant_type")


async def refresh(client: str, refresh_token: str) -> JSONResponse:
    try:
        claims = decode(refresh_token, "refresh")
    except jwt.InvalidTokenError:
        raise invalid_grant() from None
    if claims["client_id"] != client:
        raise invalid_grant()
    tokens, session_id = app.state.db.tokens, uuid.UUID(claims["sid"])
    used = await tokens.find_one_and_update(
        {"_id": uuid.UUID(claims["jti"]), "revoked": False}, {"$set": {"revoked": True}}
    )
    if used is None:
        # It was used before: whoever has it, the session ends.
        ended = [record["_id"] async for record in tokens.find({"session_id": session_id}, {"_id": 1})]
        await tokens.update_many({"session_id": session_id}, {"$set": {"revoked": True}})
        await app.state.redis.delete(*(f"active:{token_id}" for token_id in ended))
        raise invalid_grant()
    return await issue(claims["sub"], session_id, client, True)


def hashed(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


async def exchange(client: str, code: str, redirect_uri: str | None, code_verifier: str) -> JSONResponse:
    digest = hashlib.sha256(code_verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    session_id = uuid.uuid4()
    # One update decides who was first.
    found = await app.state.db.codes.find_one_and_update(
        {
            "_id": hashed(code),
            "client_id": client,
            "redirect_uri": redirect_uri,
            "code_challenge": challenge,
            "expires_at": {"$gt": datetime.now(timezone.utc)},
            "session_id": None,
        },
        {"$set": {"session_id": session_id}},
        return_document=ReturnDocument.BEFORE,
    )
    if found is None:
        raise invalid_grant()
    return await issue(found["user_id"], session_id, client, True)


@app.post("/oauth/introspect")
async def introspect(client: Client, token: Annotated[str, Form()]):
    try:
        claims = decode(token, "access")
    except jwt.InvalidTokenError:
        return JSONResponse({"active": False}, headers=NO_STORE)
    active = await app.state.redis.get(f"active:{claims['jti']}")
    if active is None:
        record = await app.state.db.tokens.find_one({"_id": uuid.UUID(claims["jti"])})
        if record is None or record["revoked"]:
            return JSONResponse({"active": False}, headers=NO_STORE)
        await app.state.redis.set(f"active:{claims['jti']}", 1, ex=REDIS_TTL)
    return JSONResponse({"active": True, "token_type": "Bearer", **claims}, headers=NO_STORE)


@app.post("/bench/codes")
async def codes(count: int, challenge: str):
    """Makes codes as a sign-in page would, so that the benchmark need not sign in."""
    made = [secrets.token_urlsafe(32) for _ in range(count)]
    records = [
        {
            "_id": hashed(code),
            "client_id": CLIENT_ID,
            "user_id": str(uuid.uuid4()),
            "redirect_uri": REDIRECT_URI,
            "code_challenge": challenge,
            "expires_at": datetime.now(timezone.utc) + CODE_TTL,
            "session_id": None,
        }
        for code in made
    ]
    await app.state.db.codes.insert_many(records, ordered=False)
    return made


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])
