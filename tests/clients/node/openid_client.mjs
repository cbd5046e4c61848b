// openid-client goes through the code flow with PKCE and DPoP, and through what a confidential
// client may do.

import assert from 'node:assert/strict'
import { rejection, signIn, tell } from './story.mjs'
import * as oidc from 'openid-client'

// Each proof that was sent, as its payload.
const proofs = []

function recordingFetch(url, options) {
  const proof = new Headers(options.headers).get('dpop')
  if (proof) proofs.push(JSON.parse(Buffer.from(proof.split('.')[1], 'base64url')))
  return fetch(url, options)
}

function discover(issuer, id, authentication) {
  return oidc.discovery(new URL(issuer), id, undefined, authentication, {
    algorithm: 'oauth2',
    execute: [oidc.allowInsecureRequests],
    [oidc.customFetch]: recordingFetch,
  })
}

// Begins a code flow: the user signs in, and the browser comes back with a code.
async function begin(config, user, parameters) {
  const verifier = oidc.randomPKCECodeVerifier()
  const state = oidc.randomState()
  const url = oidc.buildAuthorizationUrl(config, {
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    ...parameters,
  })
  return { callback: await signIn(url, user), checks: { pkceCodeVerifier: verifier, expectedState: state } }
}

// Fails unless the resource refuses the request with this status and challenge.
async function assertChallenged(call, status, scheme, code) {
  const error = await rejection(call)
  assert.ok(error instanceof oidc.WWWAuthenticateChallengeError, error)
  const challenges = error.cause.map(challenge => [challenge.scheme, challenge.parameters.error])
  assert.deepEqual([error.status, challenges], [status, [[scheme, code]]])
}

// Fails unless the server refuses the request with this error of RFC 6749 §5.2.
async function assertRefused(call, code) {
  const error = await rejection(call)
  assert.ok(error instanceof oidc.ResponseBodyError, error)
  assert.deepEqual([error.status, error.error], [400, code])
}

await tell(async ({ issuer, public: app, confidential: backend, redirect_uri, other_resource, ...user }) => {
  const asApp = await discover(issuer, app.client_id, oidc.None())
  const asBackend = await discover(issuer, backend.client_id, oidc.ClientSecretBasic(backend.client_secret))
  const posting = await discover(issuer, backend.client_id, oidc.ClientSecretPost(backend.client_secret))
  assert.equal(asApp.serverMetadata().issuer, issuer)
  const me = new URL('/me', issuer)
  const fetchMe = (config, token, options) =>
    oidc.fetchProtectedResource(config, token, me, 'GET', undefined, undefined, options)

  // The flow of a public client whose tokens are bound to its key.
  const DPoP = oidc.getDPoPHandle(asApp, await oidc.randomDPoPKeyPair('ES256'))
  const thief = { DPoP: oidc.getDPoPHandle(asApp, await oidc.randomDPoPKeyPair('ES256')) }
  const jkt = await DPoP.calculateThumbprint()
  const flow = await begin(asApp, user, { redirect_uri, scope: 'profile', resource: issuer, dpop_jkt: jkt })
  assert.equal(flow.callback.searchParams.get('iss'), issuer)
  for (const [name, value] of [['iss', 'https://other.example'], ['state', 'guess']]) {
    const forged = new URL(flow.callback)
    forged.searchParams.set(name, value)
    const stopped = await rejection(oidc.authorizationCodeGrant(asApp, forged, flow.checks))
    assert.match(stopped.cause.message, new RegExp(`"${name}"`))
  }
  const exchange = options => oidc.authorizationCodeGrant(asApp, flow.callback, flow.checks, undefined, options)
  await assertRefused(exchange(thief), 'invalid_grant')
  const first = await exchange({ DPoP })
  assert.deepEqual([first.token_type, first.scope], ['dpop', 'profile'])

  // The tokens are good with its key alone.
  const answered = await fetchMe(asApp, first.access_token, { DPoP })
  const { username } = await answered.json()
  await assertChallenged(fetchMe(asApp, first.access_token), 401, 'bearer', 'invalid_token')
  await assertChallenged(fetchMe(asApp, first.access_token, thief), 401, 'dpop', 'invalid_token')
  const refresh = (token, options) => oidc.refreshTokenGrant(asApp, token, undefined, options)
  await assertRefused(refresh(first.refresh_token), 'invalid_dpop_proof')
  await assertRefused(refresh(first.refresh_token, thief), 'invalid_grant')
  const second = await refresh(first.refresh_token, { DPoP })
  assert.equal(second.token_type, 'dpop')
  assert.equal((await fetchMe(asApp, second.access_token, { DPoP })).status, 200)

  // Introspection, and revocation of all that came of the flow.
  const active = await oidc.tokenIntrospection(asBackend, second.access_token)
  assert.deepEqual(
    [active.active, active.token_type, active.client_id, active.scope, active.cnf.jkt, active.iss],
    [true, 'DPoP', app.client_id, 'profile', jkt, issuer],
  )
  await assertRefused(oidc.tokenRevocation(asBackend, second.refresh_token), 'invalid_grant')
  await oidc.tokenRevocation(asApp, second.refresh_token, { token_type_hint: 'refresh_token' })
  assert.deepEqual({ ...(await oidc.tokenIntrospection(asBackend, second.access_token)) }, { active: false })
  await assertChallenged(fetchMe(asApp, second.access_token, { DPoP }), 401, 'dpop', 'invalid_token')

  // A client in its own name, with a key and without. RFC 9864 names the algorithm of such a key anew.
  const bound = { DPoP: oidc.getDPoPHandle(asBackend, await oidc.randomDPoPKeyPair('Ed25519')) }
  for (const [options, type] of [[undefined, 'bearer'], [bound, 'dpop']]) {
    const own = await oidc.clientCredentialsGrant(asBackend, { resource: other_resource }, options)
    assert.deepEqual([own.token_type, own.refresh_token], [type, undefined])
    const known = await oidc.tokenIntrospection(asBackend, own.access_token)
    assert.deepEqual([known.sub, [known.aud].flat()], [backend.client_id, [other_resource]])
  }
  const unknown = { resource: 'https://unknown.example' }
  await assertRefused(oidc.clientCredentialsGrant(asBackend, unknown), 'invalid_target')
  const own = await oidc.clientCredentialsGrant(asBackend, { scope: 'profile' })
  await assertChallenged(fetchMe(asBackend, own.access_token), 403, 'bearer', 'insufficient_scope')

  // The flow of a confidential client that has no key, and sends its secret in the body.
  const plain = await begin(posting, user, { redirect_uri })
  const bearer = await oidc.authorizationCodeGrant(posting, plain.callback, plain.checks)
  assert.equal(bearer.token_type, 'bearer')
  const next = await oidc.refreshTokenGrant(posting, bearer.refresh_token)
  assert.equal((await fetchMe(posting, next.access_token)).status, 200)

  return { username, proofs: proofs.length, with_nonce: proofs.filter(proof => proof.nonce).length }
})
