"""Schemathesis compares the API's description with a node.

It calls each operation with what the description allows and with what it forbids, and checks every
answer. Here is what the description cannot say: who signs in, and which values exist. What
Schemathesis misjudges is in schemathesis.toml, with the reasons.
"""

import base64
import contextlib
import json
import sys
import uuid
from pathlib import Path

import requests
import schemathesis
from schemathesis.cli import schemathesis as command_line

from story import Form

GIVEN = json.load(sys.stdin)
ISSUER = GIVEN["issuer"]
CLIENT = (GIVEN["confidential"]["client_id"], GIVEN["confidential"]["client_secret"])

# The password of users who register here: that of the description's examples.
PASSWORD = "correct horse"

# The token in the description's examples. A good one is sent in its place.
PLACEHOLDER = "eyJ0eXAi…"

# The operations that have succeeded.
succeeded = set()


def post(path, body, token=None):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = requests.post(ISSUER + path, json=body, headers=headers, timeout=10)
    assert answer.ok, (path, answer.status_code, answer.text)
    return answer.json()


def sign_in(username, password, scope="profile"):
    return post("/auth/login", {"username": username, "password": password, "scope": scope})


def sign_in_as_somebody():
    """Registers a user and signs in. The session may be ended."""
    username = f"u{uuid.uuid4().hex}"
    post("/auth/register", {"username": username, "password": PASSWORD})
    return sign_in(username, PASSWORD)


# The user of the description's examples.
post("/auth/register", {"username": "ada", "password": PASSWORD})

ADMINISTRATOR = sign_in(GIVEN["administrator"], GIVEN["password"], "profile admin")["access_token"]

def session_of(authorization):
    """Returns the session of an access token."""
    payload = authorization.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=="))["sid"]


# The operations that end sessions.
ENDING = {"logout", "logout_all", "end_session", "change_password"}


@schemathesis.auth(refresh_interval=None)
class Credentials:
    """Signs in as the description of the operation demands."""

    def get(self, case, context):
        operation = context.operation.definition.raw
        schemes = {scheme for requirement in operation.get("security", []) for scheme in requirement}
        if "client" in schemes:
            return requests.auth._basic_auth_str(*CLIENT)
        if "bearer" not in schemes:
            return None
        if operation["operationId"] == "spend_single_use":
            return "Bearer " + post("/auth/single-use", {}, ADMINISTRATOR)["access_token"]
        if operation["operationId"] in ENDING:
            return "Bearer " + sign_in_as_somebody()["access_token"]
        return "Bearer " + ADMINISTRATOR

    def set(self, case, data, context):
        if data is not None:
            case.headers["Authorization"] = data
        if "session_id" in case.path_parameters and case.meta.generation.mode.is_positive:
            case.path_parameters["session_id"] = session_of(data)


def real_values(operation):
    """Returns the real values for an operation's examples."""
    if operation == "refresh":
        return {"refresh_token": sign_in_as_somebody()["refresh_token"]}
    if operation == "introspect_token":
        return {"token": ADMINISTRATOR}
    if operation == "revoke_token":
        return {"client_id": CLIENT[0]}
    return {}


def fill_in(case):
    """Fills in the sign-in page's form, unless the client gets an error in place of the page."""
    page = requests.get(ISSUER + case.path, params=case.query, allow_redirects=False, timeout=10)
    if page.status_code == 200:
        case.cookies |= page.cookies.get_dict()
        case.body = case.body | Form(page.text).hidden | {"username": "ada", "password": PASSWORD}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Forbids members that the description of a response does not name."""
    for name, schema in raw_schema["components"]["schemas"].items():
        is_of_request = name.endswith(("Request", "Form", "Fields"))
        if "properties" in schema and not is_of_request and name != "Description":
            schema["additionalProperties"] = False


@schemathesis.hook
def before_call(context, case, kwargs):
    # Nothing listens at the client's redirect URI.
    kwargs["allow_redirects"] = False
    operation = case.operation.definition.raw["operationId"]
    if not case.meta.generation.mode.is_positive:
        return
    if "client_id" in case.query:
        case.query |= {"client_id": GIVEN["public"]["client_id"], "redirect_uri": GIVEN["redirect_uri"]}
    if "transport" in case.query:
        # Cookies carry no tokens that are bound to a key.
        case.headers.pop("DPoP", None)
    if operation == "submit_sign_in":
        fill_in(case)
    if operation == "login" and case.body.get("scope"):
        # A user may not ask for every scope.
        case.body = case.body | {"scope": "profile"}
    if isinstance(case.body, dict) and PLACEHOLDER in case.body.values():
        case.body = case.body | real_values(operation)


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code < 400:
        succeeded.add(case.operation.definition.raw["operationId"])


def main():
    options = ["--config-file", str(Path(__file__).with_name("schemathesis.toml"))]
    run = ["run", ISSUER + "/openapi.json", "--url", ISSUER, "--no-color"]
    # Standard output has the result alone.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            command_line.main(options + run)
        except SystemExit as end:
            if end.code:
                raise
    # Schemathesis leaves out the path from which it has the description.
    answer = requests.get(ISSUER + "/openapi.json", timeout=10)
    assert answer.ok, answer.status_code
    succeeded.add("description")
    description = answer.json()
    operations = {operation["operationId"] for item in description["paths"].values() for operation in item.values()}
    json.dump({"failed": sorted(operations - succeeded)}, sys.stdout)


main()
