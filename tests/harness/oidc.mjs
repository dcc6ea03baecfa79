// SPDX-License-Identifier: Apache-2.0
// An OpenID provider that this project did not write, for client credentials: node oidc.mjs MODULE PORT CERT KEY
// Commands by standard input, answered by a line: "rotate" signs with a new key from now on, "drop" publishes only that one.
import { createServer } from 'node:https';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [module, port, cert, key] = process.argv.slice(2);
const { default: Provider } = await import(module);
const issuer = `https://127.0.0.1:${port}`;
let keys = [], serve, n = 0;

function fresh() {
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  return { ...jwk, kid: `k${++n}`, use: 'sig', alg: 'ES256' };
}

function publish() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{ client_id: 'gw', client_secret: 'of: the/gateway', grant_types: [], redirect_uris: [], response_types: [],
      id_token_signed_response_alg: 'ES256' },
    { client_id: 'svc', client_secret: 'a-secret-of-this-test', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      id_token_signed_response_alg: 'ES256' }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'gw' },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://orders.test',
        getResourceServerInfo: (ctx, resource) => ({ scope: 'orders.read', audience: resource, accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : 'jwt',
          jwt: { sign: { alg: 'ES256' } } }),
      },
    },
  });
  serve = provider.callback();
}

keys = [fresh()];
publish();
createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (req, res) => serve(req, res)).listen(Number(port), '127.0.0.1', () => console.log('ready'));
createInterface({ input: process.stdin }).on('line', (line) => {
  keys = line === 'rotate' ? [fresh(), ...keys] : keys.slice(0, 1);
  publish();
  console.log(keys.map((k) => k.kid).join(' '));
}).on('close', () => process.exit(0));
