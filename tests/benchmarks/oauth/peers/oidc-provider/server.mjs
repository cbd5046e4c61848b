// oidc-provider with everything in memory. BENCH_FORMAT is that of its access tokens.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const { BENCH_CLIENT_ID, BENCH_CLIENT_SECRET, BENCH_REDIRECT_URI, BENCH_FORMAT } = process.env;
const SCOPE = 'profile';
const RESOURCE = 'https://api.example';
const CODE_TTL = 60;
const DAY = 86_400;

// The adapter that comes with it keeps 1,000 entries. This one keeps all.
const entries = new Map();
const grants = new Map();

class MemoryAdapter {
  constructor(name) {
    this.name = name;
  }

  key(id) {
    return `${this.name}:${id}`;
  }

  async find(id) {
    const entry = entries.get(this.key(id));
    return entry && entry.endsAt > Date.now() ? entry.payload : undefined;
  }

  async upsert(id, payload, expiresIn) {
    const key = this.key(id);
    entries.set(key, { payload, endsAt: Date.now() + expiresIn * 1000 });
    if (payload.grantId) {
      const keys = grants.get(payload.grantId);
      if (keys) keys.push(key);
      else grants.set(payload.grantId, [key]);
    }
  }

  async consume(id) {
    entries.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    entries.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const key of grants.get(grantId) ?? []) entries.delete(key);
    grants.delete(grantId);
  }
}

const key = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
const hasResource = BENCH_FORMAT === 'jwt';

const provider = new Provider('http://127.0.0.1', {
  adapter: MemoryAdapter,
  clients: [{
    client_id: BENCH_CLIENT_ID,
    client_secret: BENCH_CLIENT_SECRET,
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    redirect_uris: [BENCH_REDIRECT_URI],
    id_token_signed_response_alg: 'EdDSA',
    scope: SCOPE,
  }],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: hasResource,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: SCOPE,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'EdDSA' } },
      }),
    },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: () => true,
  jwks: { keys: [{ ...key, alg: 'EdDSA', use: 'sig' }] },
  rotateRefreshToken: true,
  routes: { introspection: '/oauth/introspect', token: '/oauth/token' },
  scopes: [SCOPE],
  ttl: { AccessToken: DAY, AuthorizationCode: CODE_TTL, ClientCredentials: DAY, Grant: DAY, RefreshToken: DAY },
});

// Makes codes as a sign-in page would, so that the benchmark need not sign in.
async function codes(query) {
  const client = await provider.Client.find(BENCH_CLIENT_ID);
  const made = [];
  for (let at = 0; at < Number(query.get('count')); at += 1) {
    const accountId = crypto.randomUUID();
    const grant = new provider.Grant({ accountId, clientId: client.clientId });
    if (hasResource) grant.addResourceScope(RESOURCE, SCOPE);
    else grant.addOIDCScope(SCOPE);
    const code = new provider.AuthorizationCode({
      accountId,
      client,
      codeChallenge: query.get('challenge'),
      codeChallengeMethod: 'S256',
      expiresWithSession: false,
      grantId: await grant.save(),
      redirectUri: BENCH_REDIRECT_URI,
      resource: hasResource ? RESOURCE : undefined,
      scope: SCOPE,
    });
    made.push(await code.save());
  }
  return made;
}

const handle = provider.callback();
const server = createServer(async (request, response) => {
  if (!request.url.startsWith('/bench/codes')) {
    handle(request, response);
    return;
  }
  const made = JSON.stringify(await codes(new URL(request.url, 'http://127.0.0.1').searchParams));
  response.setHeader('content-length', Buffer.byteLength(made)).end(made);
});
server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
