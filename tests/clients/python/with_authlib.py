"""Authlib signs in, refreshes, introspects and revokes."""

import asyncio

from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.requests_client import OAuth2Session

from story import discover, issuer_in, seen, sign_in, tell


def settings(given, client, **more):
    """Returns the settings of a session for the client of this name."""
    return {
        **given[client],
        "redirect_uri": given["redirect_uri"],
        "scope": "profile",
        "code_challenge_method": "S256",
        **more,
    }


def authorize(session, server, given, **more):
    """Signs the user in. Returns what the exchange of the code needs."""
    verifier = generate_token(48)
    url, state = session.create_authorization_url(
        server["authorization_endpoint"], code_verifier=verifier, **more
    )
    redirect = sign_in(url, given)
    assert issuer_in(redirect) == server["issuer"], redirect
    return {"authorization_response": redirect, "code_verifier": verifier, "state": state}


def public(given):
    server = discover(given["issuer"])
    me = given["issuer"] + "/me"
    updates = []

    def update_token(token, refresh_token=None, access_token=None):
        updates.append(refresh_token)

    more = {"token_endpoint_auth_method": "none", "token_endpoint": server["token_endpoint"]}
    with OAuth2Session(**settings(given, "public", update_token=update_token, **more)) as session:
        exchange = authorize(session, server, given, resource=given["issuer"])
        first = dict(session.fetch_token(resource=given["issuer"], **exchange))
        signed_in = seen(session.get(me))
        session.token = {**first, "expires_at": 1}
        refreshed = seen(session.get(me))
        second = dict(session.token)
        revoked = session.revoke_token(
            server["revocation_endpoint"], token=second["refresh_token"], token_type_hint="refresh_token"
        )
        return {
            "scope": first["scope"],
            "signed_in": signed_in,
            "refreshed": refreshed,
            "updated_from_first": updates == [first["refresh_token"]],
            "tokens": len({first["access_token"], second["access_token"], first["refresh_token"], second["refresh_token"]}),
            "revoked": revoked.status_code,
            "after": seen(session.get(me)),
        }


def confidential(given):
    server = discover(given["issuer"])
    me = given["issuer"] + "/me"
    method = given["method"]
    assert method in server["token_endpoint_auth_methods_supported"], server
    assert method in server["revocation_endpoint_auth_methods_supported"], server
    more = {"token_endpoint_auth_method": method, "revocation_endpoint_auth_method": method}
    with OAuth2Session(**settings(given, "confidential", **more)) as session:

        def introspect(token):
            # The endpoint takes `client_secret_basic` alone, as the metadata says.
            basic = session.client_auth("client_secret_basic")
            answer = session.introspect_token(server["introspection_endpoint"], token=token, auth=basic).json()
            return [answer["active"], answer.get("client_id"), answer.get("username"), answer.get("scope")]

        token = session.fetch_token(server["token_endpoint"], **authorize(session, server, given))
        signed_in = seen(session.get(me))
        active = introspect(token["access_token"])
        token = session.refresh_token(server["token_endpoint"])
        refreshed = seen(session.get(me))
        revoked = session.revoke_token(server["revocation_endpoint"], token=token["access_token"])
        return {
            "signed_in": signed_in,
            "active": active,
            "refreshed": refreshed,
            "revoked": revoked.status_code,
            "after": seen(session.get(me)),
            "inactive": introspect(token["access_token"]),
        }


def stolen_code(given):
    """A code with another verifier, then with the right one, then again."""
    server = discover(given["issuer"])
    with OAuth2Session(**settings(given, "public", token_endpoint=server["token_endpoint"])) as session:
        exchange = authorize(session, server, given)

        def error(**changed):
            try:
                session.fetch_token(**{**exchange, **changed})
            except OAuthError as error:
                return error.error
            return None

        return [error(code_verifier=generate_token(48)), error(), error()]


def client_credentials(given):
    server = discover(given["issuer"])
    updates = []
    more = {"grant_type": "client_credentials", "token_endpoint": server["token_endpoint"]}
    more["update_token"] = lambda token, access_token=None, refresh_token=None: updates.append(access_token)
    with OAuth2Session(**settings(given, "confidential", **more)) as session:
        first = dict(session.fetch_token())
        # No user: the route refuses it, after the layer has let it through.
        me = seen(session.get(given["issuer"] + "/me"))
        session.token = {**first, "expires_at": 1}
        again = seen(session.get(given["issuer"] + "/me"))
        answer = session.introspect_token(
            server["introspection_endpoint"], token=session.token["access_token"]
        ).json()
        return {
            "members": sorted(first.keys() - {"expires_at"}),
            "me": me,
            "again": again,
            "updated_from_first": updates == [first["access_token"]],
            "subject": answer["sub"],
        }


def password(given):
    """Authlib does not refresh a password's session by itself without a token endpoint."""
    server = discover(given["issuer"])
    with OAuth2Session(**settings(given, "public", token_endpoint_auth_method="none")) as session:
        user = {"username": given["username"], "password": given["password"]}
        try:
            session.fetch_token(server["token_endpoint"], grant_type="password", **user)
        except OAuthError as error:
            return {"supported": server["grant_types_supported"], "error": error.error}
        signed_in = seen(session.get(given["issuer"] + "/me"))
        session.refresh_token(server["token_endpoint"])
        refreshed = seen(session.get(given["issuer"] + "/me"))
        return {"supported": server["grant_types_supported"], "signed_in": signed_in, "refreshed": refreshed}


async def requests_at_once(given):
    """Many requests find the token expired at the same time."""
    server = discover(given["issuer"])
    updates = []

    async def update_token(token, refresh_token=None, access_token=None):
        updates.append(refresh_token)

    more = {"token_endpoint_auth_method": "none", "token_endpoint": server["token_endpoint"]}
    async with AsyncOAuth2Client(**settings(given, "public", update_token=update_token, **more)) as session:
        token = dict(await session.fetch_token(**authorize(session, server, given)))
        session.token = {**token, "expires_at": 1}
        answers = await asyncio.gather(*(session.get(given["issuer"] + "/me") for _ in range(8)))
        revoked = await session.revoke_token(server["revocation_endpoint"], token=session.token["refresh_token"])
        after = await session.get(given["issuer"] + "/me")
    return {
        "answers": [seen(answer) for answer in answers],
        "updated_from_first": updates == [token["refresh_token"]],
        "revoked": revoked.status_code,
        "after": seen(after),
    }


tell(
    {
        "public": public,
        "confidential": confidential,
        "stolen_code": stolen_code,
        "client_credentials": client_credentials,
        "password": password,
        "requests_at_once": lambda given: asyncio.run(requests_at_once(given)),
    }
)
