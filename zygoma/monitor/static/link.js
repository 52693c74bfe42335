// The WebSocket to the engine: unpacks its messages, comes back by itself when the connection breaks.

const VIEWS = { f4: Float32Array, f8: Float64Array, i2: Int16Array };
const RETRY_MS = 1000;

/** Head and parts of a binary message; the layout is described in zygoma/monitor/wire.py. */
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const start = 4 + length + ((8 - ((4 + length) % 8)) % 8);
  const parts = {};
  for (const part of head.parts) {
    const View = VIEWS[part.type] ?? Uint8Array;
    parts[part.name] = new View(buffer, start + part.at, part.count);
  }
  return { head, parts };
}

export class Link {
  /** `onMessage(head, parts)` gets every message, `onState(connected)` every change of the connection. */
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.onState(true);
    this.socket.onclose = () => {
      this.onState(false);
      setTimeout(() => this.open(), RETRY_MS);
    };
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        this.onMessage(JSON.parse(data), {});
      } else {
        const { head, parts } = unpack(data);
        this.onMessage(head, parts);
      }
    };
  }

  /** Report a picture as drawn: the engine measures its latency by it and sends the next one. */
  drawn(stamp) {
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ kind: "drawn", stamp }));
    }
  }
}

/** POST JSON; throws with the server's sentence when it refuses. */
export async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const result = await answer.json();
  if (!answer.ok) throw new Error(typeof result.detail === "string" ? result.detail : answer.statusText);
  return result;
}
