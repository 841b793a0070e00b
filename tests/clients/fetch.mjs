// Node's fetch, like that of browsers: sends GET after a 301, keeps POST after 307 and 308.
const { FOLLOWER, LEADER, REDIRECT } = process.env;
if (typeof fetch !== 'function') process.exit(77);

async function take(url, options = {}) {
  const response = await fetch(url, { method: 'POST', ...options });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${text}`);
  return text;
}

if (REDIRECT === '301') {
  const turned = await fetch(FOLLOWER, { method: 'POST' });
  if (turned.status !== 405) throw new Error(`${turned.status}`);
  await turned.text();
  // A browser does not show where a redirect leads; Node does.
  const response = await fetch(FOLLOWER, { method: 'POST', redirect: 'manual' });
  console.log(await take(response.headers.get('location')));
} else {
  console.log(await take(FOLLOWER));
}
for (let i = 0; i < 20; i += 1) console.log(await take(LEADER));
const taken = JSON.parse(await take(`${LEADER}/?n=3`, { headers: { accept: 'application/json' } }));
console.log(taken.first, taken.last);
