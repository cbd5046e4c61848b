"""What the scripts share: input and output, and a user who signs in on the page."""

import json
import sys
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests


def tell(stories):
    """Runs the story that the JSON object on standard input names, and prints what it returns."""
    given = json.load(sys.stdin)
    json.dump(stories[given["story"]](given), sys.stdout)


def discover(issuer):
    """Returns the metadata of the authorization server (RFC 8414)."""
    answer = requests.get(issuer + "/.well-known/oauth-authorization-server", timeout=10)
    answer.raise_for_status()
    metadata = answer.json()
    assert metadata["issuer"] == issuer, metadata
    return metadata


def sign_in(authorization_url, given):
    """Signs the user in on the page. Returns the URL of the redirect, which is not followed."""
    with requests.Session() as browser:
        page = browser.get(authorization_url, timeout=10)
        assert page.status_code == 200, page.text
        form = Form(page.text)
        filled_in = form.hidden | {"username": given["username"], "password": given["password"]}
        url = urljoin(page.url, form.action)
        answer = browser.post(url, filled_in, allow_redirects=False, timeout=10)
    assert answer.status_code == 303, answer.text
    redirect = answer.headers["location"]
    assert redirect.startswith(given["redirect_uri"] + "?"), redirect
    return redirect


def issuer_in(redirect):
    """Returns the `iss` of an authorization response (RFC 9207)."""
    return dict(parse_qsl(urlsplit(redirect).query)).get("iss")


def seen(answer):
    """Returns the status of an answer, with the user's name or the error."""
    body = answer.json()
    return [answer.status_code, body.get("username") or body.get("error")]


class Form(HTMLParser):
    """The form of a page."""

    def __init__(self, page):
        super().__init__()
        self.action, self.hidden = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.action = attrs["action"]
        elif tag == "input" and attrs.get("type") == "hidden":
            self.hidden[attrs["name"]] = attrs["value"]
