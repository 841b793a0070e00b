// Node's http with an Agent: follows nothing, keeps connections.
import http from 'node:http';

const { FOLLOWER, LEADER, REDIRECT } = process.env;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const sockets = new Set();

function post(url) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: 'POST', agent }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => { body += chunk; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    request.on('socket', (socket) => { if (url.startsWith(LEADER)) sockets.add(socket); });
    request.on('error', reject);
    request.end();
  });
}

async function take(url) {
  const { status, body } = await post(url);
  if (status !== 200) throw new Error(`${status} ${body}`);
  console.log(body);
}

if (REDIRECT === 'none') {
  await take(FOLLOWER);
} else {
  const { status, headers } = await post(FOLLOWER);
  if (`${status}` !== REDIRECT) throw new Error(`${status}`);
  await take(headers.location);
}
for (let i = 0; i < 20; i += 1) await take(LEADER);
await take(`${LEADER}/?n=3`);
if (sockets.size !== 1) throw new Error(`${sockets.size} connections instead of one`);
agent.destroy();
