// Reads an access token, and says what each claim is for. Reading needs no key: a JWT is signed, not
// encrypted.

const TIMES = new Set(['exp', 'iat', 'auth_time'])

const MEANINGS = {
  typ: 'An access token (RFC 9068). No token of another kind is taken for one.',
  alg: 'The algorithm of the signature.',
  kid: 'The key that signed. Its public half is at /.well-known/jwks.json.',
  iss: 'Who issued the token.',
  sub: 'Who you are: the id of your account.',
  aud: 'The service that the token is for. Others refuse it.',
  exp: 'When it expires.',
  iat: 'When it was issued.',
  jti: 'The id of this token. The service looks its record up on each request, so it can be revoked.',
  client_id: 'The application that got the token.',
  sid: 'The session. When it ends, so do all its tokens. A refresh keeps it.',
  scope: 'What the token may be used for.',
  auth_time: 'When you last typed your password. A refresh keeps it.',
  username: 'A custom claim of this service.',
}

const decoder = new TextDecoder()

function part(text) {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
  return JSON.parse(decoder.decode(Uint8Array.from(binary, character => character.charCodeAt(0))))
}

// Returns the header and the claims of a token, unchecked.
export function decode(token) {
  const [header, claims] = token.split('.')
  return { header: part(header), claims: part(claims) }
}

// Lists members of a header or of claims with a word on each. Those that differ from `before` are new.
export function explain(members, before) {
  return Object.entries(members).map(([name, value]) => ({
    name,
    value: typeof value === 'string' ? value : JSON.stringify(value),
    time: TIMES.has(name) ? new Date(value * 1000) : undefined,
    meaning: MEANINGS[name] ?? '',
    isNew: before !== undefined && JSON.stringify(before[name]) !== JSON.stringify(value),
  }))
}
