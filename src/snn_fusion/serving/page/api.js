// Calls to the service. What it refuses becomes a Problem, shown as it is.

export class Problem extends Error {
  constructor({ field, problem, limit }) {
    super(`${field}: ${problem} (${limit})`);
    Object.assign(this, { field, problem, limit });
  }
}

const access = { token: "" }; // kept in memory only

export function useToken(token) {
  access.token = token.trim();
}

export async function call(path, content) {
  const headers = access.token ? { Authorization: `Bearer ${access.token}` } : {};
  const options = { headers };
  if (content !== undefined) {
    Object.assign(options, { method: "POST", body: JSON.stringify(content) });
    headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem({ field: path, problem: "the service cannot be reached", limit: "is it running?" });
  }
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) return found;
  if (answer.status === 401) document.dispatchEvent(new Event("token-wanted"));
  throw new Problem(found.error ?? { field: path, problem: `status ${answer.status}`, limit: "see /docs" });
}

// Feed a recording to /v1/stream as its sensors would: chunks of CHUNK_MS in real time, or all at once.
// `onStep` gets each answer. Resolves with the last one; `stop.wanted` ends it early.
const CHUNK_MS = 40;

export function stream(recording, inRealTime, onStep, stop) {
  const where = new URL("/v1/stream", location.href);
  where.protocol = where.protocol.replace("http", "ws");
  // A browser cannot send headers with a WebSocket: the token goes where it can name protocols (guard.py).
  const socket = new WebSocket(where, access.token ? ["snn-fusion", `bearer.${access.token}`] : []);
  return new Promise((resolve, reject) => {
    socket.onmessage = ({ data }) => {
      const found = JSON.parse(data);
      if (found.error) return reject(new Problem(found.error));
      if (found.final) return resolve(found);
      if (!stop.wanted) onStep(found);
    };
    socket.onclose = (event) =>
      reject(new Problem({ field: "/v1/stream", problem: `was closed (${event.code})`, limit: event.reason || "try again" }));
    socket.onopen = () => feed(socket, recording, inRealTime, stop);
  });
}

async function feed(socket, recording, inRealTime, stop) {
  const end = length(recording);
  socket.send(JSON.stringify({ start: Object.keys(recording) }));
  const began = performance.now();
  for (let at = 0; at < end; at += CHUNK_MS) {
    if (inRealTime) await new Promise((go) => setTimeout(go, began + at - performance.now()));
    if (stop.wanted || socket.readyState !== WebSocket.OPEN) return socket.close();
    socket.send(JSON.stringify(between(recording, at, at + CHUNK_MS)));
  }
  socket.send(JSON.stringify({ end: true }));
}

function length({ audio, events, imu }) {
  const last = [events, imu].map((one) => (one ? one.t[one.t.length - 1] / 1000 + 1 : 0));
  return Math.max(...last, audio ? (1000 * audio.samples.length) / audio.rate : 0);
}

function between({ audio, events, imu }, from, to) {
  const chunk = {};
  if (audio) {
    const [a, b] = [from, to].map((ms) => Math.round((ms * audio.rate) / 1000));
    chunk.audio = { ...audio, samples: audio.samples.slice(a, b) };
  }
  if (events) {
    const here = span(events.t, from, to);
    chunk.events = { ...events };
    for (const name of ["t", "x", "y", "p"]) chunk.events[name] = here(events[name]);
  }
  if (imu) {
    const here = span(imu.t, from, to);
    const channels = Object.fromEntries(Object.entries(imu.channels).map(([name, all]) => [name, here(all)]));
    chunk.imu = { ...imu, t: here(imu.t), channels };
  }
  return chunk;
}

function span(t, from, to) {
  const first = (ms) => {
    let [low, high] = [0, t.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (t[middle] < 1000 * ms) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const [a, b] = [first(from), first(to)];
  return (all) => all.slice(a, b);
}
