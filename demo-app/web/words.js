// Sentences: what an answer means, and how times, devices and tokens are written.

const NO_ANSWER = 'The service did not answer. Check that it runs, then try again.'

// What went wrong, for the person who caused it.
export function problem({ status, error, description, retryAfter }) {
  const later = retryAfter ? ` Try again in ${count(retryAfter, 'second')}.` : ' Try again later.'
  switch (error) {
    case 'network': return NO_ANSWER
    case 'username_taken': return 'This username is taken. Choose another, or sign in.'
    // What there is too much of. The rest of the description is for programs.
    case 'rate_limited': return `${description.split(';')[0]}.${later}`
    case 'temporarily_unavailable': return `The service cannot reach its store. Nothing was decided.${later}`
    case 'csrf': return 'The CSRF token does not belong to the session of the cookies. Sign in again.'
    case 'invalid_grant': return 'The session is over. Sign in again.'
    case 'invalid_dpop_proof': return 'This service asks for proofs of possession (DPoP). This page sends none.'
    default: return description ? `${description}.` : `The service answered ${status} without a reason.`
  }
}

// The problems of fields: `must be …` becomes a sentence about the field.
export function fieldProblem(name, rule) {
  return rule && `The ${name} ${rule}.`
}

const MEANING = {
  'POST auth/register 201': 'The account exists. Nobody is signed in yet.',
  'POST auth/login 200': 'A session has begun. The answer has both tokens.',
  'POST auth/login?transport=cookie 200':
    'A session has begun. Both tokens are in HttpOnly cookies. The script sees only a CSRF token.',
  'POST auth/refresh 200': 'The refresh token was exchanged for a new pair. It is good once.',
  'POST auth/logout 204': 'The session is revoked, with all its tokens.',
  'POST auth/logout-all 204': 'All sessions of the user are revoked.',
  'GET me 200': 'The signature is right and the record of the token is not revoked.',
  'GET auth/sessions 200': 'The sessions of the user that are open.',
  'POST auth/password 204': 'The password is changed. All other sessions are revoked.',
  'POST auth/single-use 201': 'A token for one request, within a minute.',
  'POST demo/single-use 200': 'The token was accepted. It is used up.',
  'POST demo/single-use 401': 'A single-use token is accepted once.',
  'GET demo/events 200': 'The token was checked, and the stream is open.',
  'GET demo/events 429': 'Refused: too many streams of the user are open. Retry-After has the seconds to wait.',
}

const ERROR_MEANING = {
  network: NO_ANSWER,
  unauthorized: 'Refused: the request had no credentials, so the answer names no error (RFC 6750 §3.1).',
  invalid_token: 'Refused: the token is revoked, expired or unknown.',
  invalid_grant: 'Refused: the refresh token is used, expired or revoked.',
  invalid_credentials: 'Refused: unknown name and wrong password get one answer, so that nobody can find out names.',
  csrf: 'Refused: cookies alone are not enough for a request that changes something.',
  username_taken: 'Refused: names are unique, without regard to case.',
  rate_limited: 'Refused: too many attempts. Retry-After has the seconds to wait.',
  temporarily_unavailable: 'Undecided: the service could not learn the state of the token.',
}

// What an exchange shows, in one sentence. Empty where the answer speaks for itself.
export function meaning({ method, path, status, error, fields }) {
  if (fields) return 'Refused: some fields break a rule.'
  if (method === 'DELETE' && status === 204) return 'That session is revoked, with all its tokens.'
  return MEANING[`${method} ${path} ${status}`] ?? ERROR_MEANING[error] ?? ''
}

export function count(number, unit) {
  return `${number} ${unit}${number === 1 ? '' : 's'}`
}

// Writes a time left: 59:59, or 1:00:00 and more.
export function clock(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000))
  const two = number => String(number).padStart(2, '0')
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`
}

const UNITS = [['day', 86_400], ['hour', 3_600], ['minute', 60]]
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'always' })

// Writes a moment as seen from `now`, in milliseconds.
export function relative(moment, now) {
  const seconds = Math.round((moment - now) / 1000)
  const unit = UNITS.find(([, length]) => Math.abs(seconds) >= length)
  return unit ? RELATIVE.format(Math.round(seconds / unit[1]), unit[0]) : 'just now'
}

const BROWSERS = [
  [/\bEdg\w*\//, 'Edge'], [/\bOPR\//, 'Opera'], [/\bFirefox\//, 'Firefox'], [/Chrome\//, 'Chrome'],
  [/\bSafari\//, 'Safari'], [/^curl\//, 'curl'],
]
const SYSTEMS = [
  [/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'], [/Mac OS X/, 'macOS'], [/CrOS/, 'ChromeOS'],
  [/Linux/, 'Linux'],
]

// Names the device of a `User-Agent`.
export function device(userAgent) {
  if (!userAgent) return 'Unknown device'
  const name = list => list.find(([pattern]) => pattern.test(userAgent))?.[1]
  const [browser, system] = [name(BROWSERS), name(SYSTEMS)]
  if (!browser) return userAgent.slice(0, 40)
  return system ? `${browser} on ${system}` : browser
}

// Shortens a secret so that it can be told from another, and is useless.
export function shorten(secret) {
  return secret.length > 24 ? `${secret.slice(0, 10)}…${secret.slice(-4)}` : '…'
}
