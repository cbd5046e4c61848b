// oauth4webapi does the same as openid-client step by step. It validates each response strictly,
// and our access tokens as a resource server would.

import assert from 'node:assert/strict'
import { rejection, signIn, tell } from './story.mjs'
import * as oauth from 'oauth4webapi'

const HTTP = { [oauth.allowInsecureRequests]: true }

let nonceChallenges = 0

// Makes a request and reads its response. Repeats both once if the server asks for a nonce, which
// the DPoP handle has then noted.
async function request(send, read = response => response) {
  try {
    return await read(await send())
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    nonceChallenges += 1
    return read(await send())
  }
}

async function assertRefused(call, code) {
  const error = await rejection(call)
  assert.ok(error instanceof oauth.ResponseBodyError, error)
  assert.deepEqual([error.status, error.error], [400, code])
}

async function assertChallenged(call, status, scheme, code) {
  const error = await rejection(call)
  assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, error)
  const challenges = error.cause.map(challenge => [challenge.scheme, challenge.parameters.error])
  assert.deepEqual([error.status, challenges], [status, [[scheme, code]]])
}

// Finds the server by the metadata of its resource.
async function discover(resource) {
  const url = new URL(resource)
  const { authorization_servers, ...metadata } = await oauth
    .resourceDiscoveryRequest(url, HTTP)
    .then(response => oauth.processResourceDiscoveryResponse(url, response))
  assert.deepEqual([metadata.resource, authorization_servers], [resource, [resource]])
  const issuer = new URL(authorization_servers[0])
  return oauth
    .discoveryRequest(issuer, { algorithm: 'oauth2', ...HTTP })
    .then(response => oauth.processDiscoveryResponse(issuer, response))
}

await tell(async input => {
  const { issuer, audience, redirect_uri, other_resource, public: client, confidential: backend } = input
  const server = await discover(issuer)
  assert.equal(server.authorization_response_iss_parameter_supported, true)
  assert.deepEqual(server.code_challenge_methods_supported, ['S256'])
  const secret = oauth.ClientSecretBasic(backend.client_secret)

  // Authorization request and response.
  const keys = await oauth.generateKeyPair('ES256')
  const DPoP = oauth.DPoP(client, keys)
  const jkt = await DPoP.calculateThumbprint()
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const url = new URL(server.authorization_endpoint)
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri,
    state,
    scope: 'profile',
    resource: issuer,
    dpop_jkt: jkt,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })
  const callback = await signIn(url, input)
  const parameters = oauth.validateAuthResponse(server, client, callback, state)
  const mixedUp = { ...server, issuer: 'https://other.example' }
  assert.throws(() => oauth.validateAuthResponse(mixedUp, client, callback, state), /"iss"/)
  const withoutIssuer = new URL(callback)
  withoutIssuer.searchParams.delete('iss')
  assert.throws(() => oauth.validateAuthResponse(server, client, withoutIssuer, state), /"iss"/)

  // The code, for tokens that are bound to the key.
  const exchange = (codeVerifier, options) =>
    request(
      () =>
        oauth.authorizationCodeGrantRequest(server, client, oauth.None(), parameters, redirect_uri, codeVerifier, {
          ...HTTP,
          ...options,
        }),
      response => oauth.processAuthorizationCodeResponse(server, client, response),
    )
  await assertRefused(exchange(oauth.generateRandomCodeVerifier(), { DPoP }), 'invalid_grant')
  await assertRefused(exchange(verifier), 'invalid_grant')
  const first = await exchange(verifier, { DPoP })
  assert.deepEqual([first.token_type, first.scope], ['dpop', 'profile'])

  // The resource, and the token as the resource sees it.
  const requests = []
  const recording = {
    ...HTTP,
    [oauth.customFetch]: (url, options) => {
      requests.push(new Request(url, options))
      return fetch(url, options)
    },
  }
  const me = (token, options) =>
    request(() =>
      oauth.protectedResourceRequest(token, 'GET', new URL('/me', issuer), undefined, undefined, {
        ...recording,
        ...options,
      }),
    )
  const { user_id, username } = await (await me(first.access_token, { DPoP })).json()
  const validate = (request, expected, options) =>
    oauth.validateJwtAccessToken(server, request, expected, { ...HTTP, ...options })
  const seen = requests.at(-1)
  const claims = await validate(seen, audience, { requireDPoP: true })
  assert.deepEqual(
    [claims.sub, claims.client_id, claims.scope, claims.cnf.jkt],
    [user_id, client.client_id, 'profile', jkt],
  )
  assert.match((await rejection(validate(seen, other_resource))).message, /"aud"/)
  await assertChallenged(me(first.access_token), 401, 'bearer', 'invalid_token')
  assert.match((await rejection(validate(requests.at(-1), audience))).message, /no DPoP HTTP Header/)

  // Refresh.
  const refresh = (token, options) =>
    request(
      () => oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, { ...HTTP, ...options }),
      response => oauth.processRefreshTokenResponse(server, client, response),
    )
  const thief = { DPoP: oauth.DPoP(client, await oauth.generateKeyPair('ES256')) }
  await assertRefused(refresh(first.refresh_token), 'invalid_dpop_proof')
  await assertRefused(refresh(first.refresh_token, thief), 'invalid_grant')
  const second = await refresh(first.refresh_token, { DPoP })
  assert.equal(second.token_type, 'dpop')

  // Introspection and revocation.
  const introspect = token =>
    request(
      () => oauth.introspectionRequest(server, backend, secret, token, HTTP),
      response => oauth.processIntrospectionResponse(server, backend, response),
    )
  const revoke = (as, authentication, token) =>
    request(
      () => oauth.revocationRequest(server, as, authentication, token, HTTP),
      response => oauth.processRevocationResponse(response),
    )
  const active = await introspect(second.access_token)
  assert.deepEqual(
    [active.active, active.token_type, active.sub, active.client_id, active.cnf.jkt, active.username],
    [true, 'DPoP', user_id, client.client_id, jkt, username],
  )
  assert.deepEqual({ ...(await introspect(second.refresh_token)) }, { active: false }, "another client's")
  await assertRefused(revoke(backend, secret, second.access_token), 'invalid_grant')
  await revoke(client, oauth.None(), second.refresh_token)
  await revoke(client, oauth.None(), 'unknown')
  assert.deepEqual({ ...(await introspect(second.access_token)) }, { active: false })
  await assertChallenged(me(second.access_token, { DPoP }), 401, 'dpop', 'invalid_token')

  // A client in its own name, whose token is for another resource.
  const own = parameters =>
    request(
      () => oauth.clientCredentialsGrantRequest(server, backend, secret, parameters, HTTP),
      response => oauth.processClientCredentialsResponse(server, backend, response),
    )
  const issued = await own({ resource: other_resource })
  assert.deepEqual([issued.token_type, issued.refresh_token], ['bearer', undefined])
  const asSent = new Request(other_resource, { headers: { authorization: `Bearer ${issued.access_token}` } })
  const ofBackend = await validate(asSent, other_resource)
  assert.deepEqual([ofBackend.sub, ofBackend.client_id], [backend.client_id, backend.client_id])
  await assertRefused(own({ resource: 'https://unknown.example' }), 'invalid_target')
  await assertChallenged(me(issued.access_token), 401, 'bearer', 'invalid_token')

  return { username, nonce_challenges: nonceChallenges }
})
