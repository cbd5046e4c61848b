// jose verifies our tokens with our published keys, and mints tokens with the node's own key.

import assert from 'node:assert/strict'
import { tell } from './story.mjs'
import * as jose from 'jose'

await tell(async ({ issuer, audience, algorithm, private_key, access_token }) => {
  const published = jose.createRemoteJWKSet(new URL('/.well-known/jwks.json', issuer))
  const expected = { issuer, audience, typ: 'at+jwt', algorithms: [algorithm] }
  const { payload, protectedHeader: header } = await jose.jwtVerify(access_token, published, expected)
  assert.equal(header.alg, algorithm)
  assert.deepEqual(Object.keys(header).sort(), ['alg', 'kid', 'typ'])

  const key = await jose.importPKCS8(private_key, algorithm, { extractable: true })
  const { d, p, q, dp, dq, qi, ...jwk } = await jose.exportJWK(key)
  const publicKey = await jose.importJWK(jwk, algorithm, { extractable: true })
  const spki = await jose.exportSPKI(publicKey)
  const mint = (claims, changes = {}, signer = key, options = undefined) =>
    new jose.SignJWT({ ...payload, ...claims }).setProtectedHeader({ ...header, ...changes }).sign(signer, options)

  const own = await jose.generateKeyPair(algorithm, { extractable: true })
  const embedded = { jwk: await jose.exportJWK(own.publicKey) }
  const extension = { crit: ['urn:example:extension'], 'urn:example:extension': true }
  const understood = { crit: { 'urn:example:extension': true } }
  const hmac = text => mint({}, { alg: 'HS256' }, new TextEncoder().encode(text))
  const tokens = {
    'issued': access_token,
    'the same claims': await mint(),
    'unknown jti': await mint({ jti: crypto.randomUUID() }),
    'altered sub': await mint({ sub: crypto.randomUUID() }),
    'altered sid': await mint({ sid: crypto.randomUUID() }),
    'later exp': await mint({ exp: payload.exp + 1 }),
    'another issuer': await mint({ iss: 'https://other.example' }),
    'another audience': await mint({ aud: 'other' }),
    'another typ': await mint({}, { typ: 'JWT' }),
    'crit': await mint({}, extension, key, understood),
    'crit of b64': await mint({}, { crit: ['b64'], b64: true }),
    'another key': await mint({}, {}, own.privateKey),
    'embedded jwk': await mint({}, embedded, own.privateKey),
    'embedded jwk without kid': await mint({}, { ...embedded, kid: undefined }, own.privateKey),
    'unsecured': new jose.UnsecuredJWT(payload).encode(),
    'HS256 with the public key as PEM': await hmac(spki),
    'HS256 with the public key as PEM without a line end': await hmac(spki.trim()),
    'HS256 with the public key as JWK': await hmac(JSON.stringify(jwk)),
    'issued, again': access_token,
  }
  const answers = {}
  for (const [name, token] of Object.entries(tokens)) {
    const answer = await fetch(new URL('/me', issuer), { headers: { authorization: `Bearer ${token}` } })
    const { username, error } = await answer.json()
    answers[name] = [answer.status, username ?? error]
  }
  return answers
})
