const TOKEN = 'flovo-operator-token';

/** A request that the server refused, or could not answer. */
export class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;
export const saveToken = (token) => sessionStorage.setItem(TOKEN, token);
export const forgetToken = () => sessionStorage.removeItem(TOKEN);

export const getState = () => send('GET', '/console/state');

export const getEntity = (kind, id) =>
  send('GET', `/console/entity?${new URLSearchParams({ kind, id }).toString()}`);

/** Invalidates tags, bots or organizations on all servers. */
export const invalidate = (targets) => send('POST', '/admin/cache/invalidate', targets);

/** @throws RequestError */
async function send(method, path, body) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = {};
  if (token !== null) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let response;
  let answer;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
    answer = await response.json();
  } catch {
    throw new RequestError(response?.status ?? 0, 'The server does not answer');
  }
  if (response.ok) return answer;
  throw new RequestError(
    response.status,
    answer.errors?.[0]?.message ?? `The server answered ${response.status}`,
  );
}
