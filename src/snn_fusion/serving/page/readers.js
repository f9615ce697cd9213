// Files as recordings: the formats of src/snn_fusion/data (sound.py, nmnist.py, motion.py), read in the browser.
// Whether the values make sense is for the service to say; here only what cannot be read at all is refused.

import { Problem } from "./api.js";

export async function read(file) {
  const kind = file.name.toLowerCase().split(".").pop();
  const reader = { wav, bin: nmnist, csv: motion }[kind];
  if (!reader) throw new Problem({ field: file.name, problem: "is of an unknown kind", limit: ".wav, .bin or .csv" });
  return reader(await file.arrayBuffer(), file.name);
}

const PCM = 1, FLOAT = 3, EXTENSIBLE = 0xfffe;
const SAMPLE = { // format and bits: a sample in [-1, 1], as libsndfile gives it
  [`${PCM} 8`]: (view, at) => (view.getUint8(at) - 128) / 128,
  [`${PCM} 16`]: (view, at) => view.getInt16(at, true) / 32768,
  [`${PCM} 24`]: (view, at) => (view.getInt16(at + 1, true) * 256 + view.getUint8(at)) / 8388608,
  [`${PCM} 32`]: (view, at) => view.getInt32(at, true) / 2147483648,
  [`${FLOAT} 32`]: (view, at) => view.getFloat32(at, true),
};

function wav(buffer, name) {
  const bad = (problem, limit) => new Problem({ field: name, problem, limit });
  const view = new DataView(buffer);
  const tag = (at) => (at + 4 <= view.byteLength ? String.fromCharCode(...new Uint8Array(buffer, at, 4)) : "");
  if (tag(0) !== "RIFF" || tag(8) !== "WAVE") throw bad("is not a WAV file", "begins with RIFF ... WAVE");
  let format = null;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const [id, size, from] = [tag(at), view.getUint32(at + 4, true), at + 8];
    if (id === "fmt " && from + 16 <= view.byteLength) {
      const code = view.getUint16(from, true);
      format = {
        code: code === EXTENSIBLE && size >= 26 ? view.getUint16(from + 24, true) : code,
        channels: view.getUint16(from + 2, true),
        rate: view.getUint32(from + 4, true),
        bits: view.getUint16(from + 14, true),
      };
    }
    if (id === "data") {
      if (!format) throw bad("has data before their format", "fmt, then data");
      const there = view.byteLength - from;
      if (size > there) throw bad(`is cut short: its header promises ${size} bytes, ${there} are there`, "a whole file");
      return { audio: { samples: mono(view, from, size, format, bad), rate: format.rate } };
    }
    at = from + size + (size % 2);
  }
  throw bad("has no samples", "a whole file");
}

function mono(view, from, size, { code, channels, bits }, bad) {
  const sample = SAMPLE[`${code} ${bits}`];
  if (!sample || !channels) throw bad(`holds format ${code} of ${bits} bits`, "PCM of 8, 16, 24, 32 bits, or float of 32");
  const width = bits / 8;
  const samples = [];
  for (let at = from; at + width * channels <= from + size; at += width * channels) {
    let sum = 0;
    for (let k = 0; k < channels; k++) sum += sample(view, at + k * width);
    samples.push(sum / channels);
  }
  return samples;
}

const SIDE = 34, OVERFLOW_Y = 240, OVERFLOW_US = 1 << 13;

function nmnist(buffer, name) {
  const bytes = new Uint8Array(buffer);
  if (bytes.length % 5) {
    throw new Problem({ field: name, problem: `is cut short: ${bytes.length} bytes`, limit: "5 bytes an event" });
  }
  const found = { t: [], x: [], y: [], p: [], width: SIDE, height: SIDE };
  let late = 0;
  for (let at = 0; at < bytes.length; at += 5) {
    const [x, y, high, middle, low] = bytes.subarray(at, at + 5);
    if (y === OVERFLOW_Y) {
      late += OVERFLOW_US; // not an event but a mark: so many microseconds have passed
      continue;
    }
    found.x.push(x);
    found.y.push(y);
    found.p.push(high >> 7);
    found.t.push((((high & 127) << 16) | (middle << 8) | low) + late);
  }
  return { events: found };
}

function motion(buffer, name) {
  const bad = (problem, limit) => new Problem({ field: name, problem, limit });
  const lines = new TextDecoder().decode(buffer).replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => line.trim());
  const columns = (lines.shift() ?? "").split(",").map((one) => one.trim().replace(/^"(.*)"$/, "$1"));
  const time = columns.indexOf("t_us");
  if (time < 0) throw bad(`has no column t_us, but ${columns.join(", ").slice(0, 80)}`, "t_us and a column a channel");
  const rows = lines.map((line, i) => {
    const cells = line.split(",");
    const wrong = cells.length !== columns.length ? line : cells.find((one) => !one.trim() || !Number.isFinite(Number(one)));
    if (wrong !== undefined) throw bad(`row ${i + 1} holds ${JSON.stringify(wrong.slice(0, 40))}`, `${columns.length} numbers`);
    return cells.map(Number);
  });
  const imu = { t: rows.map((row) => row[time]), channels: {}, units: {} };
  columns.forEach((column, k) => {
    if (k === time) return;
    const parts = /^([^[\]]*[^[\]\s])\s*\[([^[\]]+)\]$/.exec(column);
    if (!parts) throw bad(`${column || `column ${k + 1}`} has no unit`, `${column || "acc_x"}[m/s^2], or [1] if it has none`);
    imu.channels[parts[1]] = rows.map((row) => row[k]);
    imu.units[parts[1]] = parts[2];
  });
  return { imu };
}
