"""The client of the MCP SDK signs in where a protected MCP server says, and calls its tools."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

from story import sign_in, tell


class Storage:
    """Keeps the tokens, and the client that an operator has registered."""

    def __init__(self, client_info):
        self.client_info, self.tokens = client_info, None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        raise AssertionError("it registers itself")


class AnotherSignInNeeded(Exception):
    pass


class Browser:
    """The browser of a user who signs in once."""

    def __init__(self, given):
        self.given, self.asked, self.redirect = given, None, None

    async def open(self, url):
        if self.asked:
            raise AnotherSignInNeeded
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        self.redirect = await asyncio.to_thread(sign_in, url, self.given)

    async def wait(self):
        answer = {name: values[0] for name, values in parse_qs(urlsplit(self.redirect).query).items()}
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])


def text(result):
    """Returns the text that a tool has answered."""
    assert not result.is_error, result
    return result.content[0].text


async def sign_out(given):
    registration = {
        "redirect_uris": [given["redirect_uri"]],
        "token_endpoint_auth_method": "none",
    }
    storage = Storage(OAuthClientInformationFull(client_id=given["public"]["client_id"], **registration))
    browser = Browser(given)
    auth = OAuthClientProvider(
        server_url=given["resource"],
        client_metadata=OAuthClientMetadata(**registration),
        storage=storage,
        redirect_handler=browser.open,
        callback_handler=browser.wait,
    )
    told = {"after": "it is still accepted"}
    try:
        async with httpx2.AsyncClient(auth=auth, timeout=20) as http:
            async with Client(streamable_http_client(given["resource"], http_client=http)) as client:
                told["tools"] = sorted(tool.name for tool in (await client.list_tools()).tools)
                told["whoami"] = text(await client.call_tool("whoami"))
                told["sign_out"] = text(await client.call_tool("sign_out"))
                told["token"] = storage.tokens.access_token
                await client.call_tool("whoami")
    except* AnotherSignInNeeded:
        told["after"] = "another sign-in is needed"
    told["asked_for"] = [browser.asked[name] for name in ("resource", "scope", "code_challenge_method")]
    return told


tell({"sign_out": lambda given: asyncio.run(sign_out(given))})
