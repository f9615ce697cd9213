// A second of sound from the microphone, at the microphone's own rate.

import { Problem } from "./api.js";

const LISTEN_S = 2.5, KEEP_S = 1, BEFORE_S = 0.05, BLOCK_S = 0.01;
const LOUD = 0.1; // of the loudest block: where speech begins

export async function record(onLevel) {
  if (!navigator.mediaDevices) {
    const limit = "browsers allow it on https and on localhost only";
    throw new Problem({ field: "microphone", problem: "cannot be used from here", limit });
  }
  const source = await navigator.mediaDevices.getUserMedia({ audio: true }).catch((error) => {
    throw new Problem({ field: "microphone", problem: error.message || error.name, limit: "allow it in the browser" });
  });
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule("/page/recorder.js");
    const samples = await listen(context, source, onLevel);
    return { audio: { samples: spoken(samples, context.sampleRate), rate: context.sampleRate } };
  } finally {
    source.getTracks().forEach((track) => track.stop());
    onLevel(0);
    context.close();
  }
}

function listen(context, source, onLevel) {
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  const samples = [];
  return new Promise((resolve) => {
    recorder.port.onmessage = ({ data }) => {
      for (const one of data) samples.push(Math.max(-1, Math.min(1, one)));
      onLevel(Math.max(...data.map(Math.abs)));
      if (samples.length >= LISTEN_S * context.sampleRate) {
        recorder.port.onmessage = null;
        resolve(samples);
      }
    };
    context.createMediaStreamSource(source).connect(recorder);
  });
}

// The network looks at a second from its beginning: so it begins where the voice does.
function spoken(samples, rate) {
  const block = Math.round(BLOCK_S * rate);
  const power = [];
  for (let at = 0; at + block <= samples.length; at += block) {
    power.push(samples.slice(at, at + block).reduce((sum, one) => sum + one * one, 0) / block);
  }
  const loudest = Math.max(...power);
  if (!loudest) throw new Problem({ field: "microphone", problem: "gives silence", limit: "is the right one chosen?" });
  const latest = samples.length - Math.round(KEEP_S * rate);
  const begins = power.findIndex((one) => one > LOUD * LOUD * loudest) * block - Math.round(BEFORE_S * rate);
  const from = Math.max(0, Math.min(latest, begins));
  return samples.slice(from, from + Math.round(KEEP_S * rate));
}
