"""requests-oauthlib signs in, refreshes, introspects and revokes."""

import os

import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from story import discover, issuer_in, seen, sign_in, tell

# The nodes are on the loopback interface.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"


def session_for(given, client, **more):
    return OAuth2Session(
        given[client]["client_id"],
        redirect_uri=given["redirect_uri"],
        scope=["profile"],
        pkce="S256",
        **more,
    )


def authorize(session, server, given, **more):
    """Signs the user in. Returns the authorization response."""
    url, _ = session.authorization_url(server["authorization_endpoint"], **more)
    redirect = sign_in(url, given)
    assert issuer_in(redirect) == server["issuer"], redirect
    return redirect


def revoke(session, server, token, hint, auth=None):
    """Revokes a token as oauthlib prepares it, and returns the status."""
    client = session._client
    more = {} if auth else {"client_id": client.client_id}
    url, headers, body = client.prepare_token_revocation_request(
        server["revocation_endpoint"], token, hint, **more
    )
    return requests.post(url, body, headers=headers, auth=auth, timeout=10).status_code


def public(given):
    server = discover(given["issuer"])
    me = given["issuer"] + "/me"
    updates = []
    with session_for(
        given,
        "public",
        auto_refresh_url=server["token_endpoint"],
        auto_refresh_kwargs={"client_id": given["public"]["client_id"]},
        token_updater=updates.append,
    ) as session:
        redirect = authorize(session, server, given, resource=given["issuer"])
        how = {"authorization_response": redirect, "resource": given["issuer"]}
        # A public client authenticates by HTTP Basic with an empty secret, unless it is told
        # `include_client_id`.
        first = dict(session.fetch_token(server["token_endpoint"], **how))
        signed_in = seen(session.get(me))
        session.token = {**first, "expires_in": -1, "expires_at": 1}
        refreshed = seen(session.get(me))
        second = dict(session.token)
        return {
            "scope": first["scope"],
            "signed_in": signed_in,
            "refreshed": refreshed,
            "updates": len(updates),
            "tokens": len({first["access_token"], second["access_token"], first["refresh_token"], second["refresh_token"]}),
            "revoked": revoke(session, server, second["refresh_token"], "refresh_token"),
            "after": seen(session.get(me)),
        }


def confidential(given):
    server = discover(given["issuer"])
    me = given["issuer"] + "/me"
    basic = HTTPBasicAuth(given["confidential"]["client_id"], given["confidential"]["client_secret"])
    with session_for(given, "confidential") as session:

        def introspect(token):
            answer = requests.post(server["introspection_endpoint"], {"token": token}, auth=basic, timeout=10).json()
            return [answer["active"], answer.get("client_id"), answer.get("username"), answer.get("scope")]

        redirect = authorize(session, server, given)
        how = {"auth": basic}
        if given["method"] == "client_secret_post":
            how = {"include_client_id": True, "client_secret": given["confidential"]["client_secret"]}
        token = session.fetch_token(server["token_endpoint"], authorization_response=redirect, **how)
        signed_in = seen(session.get(me))
        active = introspect(token["access_token"])
        how = {"auth": basic} if given["method"] == "client_secret_basic" else given["confidential"]
        token = session.refresh_token(server["token_endpoint"], **how)
        refreshed = seen(session.get(me))
        return {
            "signed_in": signed_in,
            "active": active,
            "refreshed": refreshed,
            "revoked": revoke(session, server, token["access_token"], "access_token", basic),
            "after": seen(session.get(me)),
            "inactive": introspect(token["access_token"]),
        }


def client_credentials(given):
    server = discover(given["issuer"])
    client = BackendApplicationClient(given["confidential"]["client_id"], scope=["profile"])
    with OAuth2Session(client=client) as session:
        token = session.fetch_token(
            server["token_endpoint"], client_secret=given["confidential"]["client_secret"]
        )
        return {"members": sorted(token.keys() - {"expires_at"}), "me": seen(session.get(given["issuer"] + "/me"))}


tell({"public": public, "confidential": confidential, "client_credentials": client_credentials})
