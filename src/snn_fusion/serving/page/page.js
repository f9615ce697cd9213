// The page: takes a recording from one of its sources, asks the service, and shows what it says.

import { Problem, call, stream, useToken } from "./api.js";
import { raster, scores } from "./charts.js";
import { record } from "./microphone.js";
import { Pad } from "./pad.js";
import { read } from "./readers.js";

const NAMES = { audio: "Microphone", events: "Event camera", imu: "Tactile/IMU" };
const $ = (id) => document.getElementById(id);
const shown = { recording: {}, off: new Set(), rasters: {}, steps: [], total: 0, step_ms: 0, stop: { wanted: false } };

// A source's work, with its problem shown if it has one.
async function attempt(work) {
  $("problem").hidden = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    say(error);
  }
}

function say({ field, problem, limit }) {
  const box = $("problem");
  box.replaceChildren(element("code", field), ` ${problem}`, element("small", limit));
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
}

function element(name, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  if (text) made.textContent = text;
  return made;
}

// Show what was given, and ask. Without "keep", it replaces all senses that were there.
function take(found) {
  shown.recording = $("keep").checked ? { ...shown.recording, ...found } : found;
  for (const sense of Object.keys(found)) shown.off.delete(sense);
  document.querySelector("#examples [aria-pressed]")?.removeAttribute("aria-pressed");
  return ask();
}

async function ask() {
  shown.stop.wanted = true; // what is still streaming is of another recording
  const stop = (shown.stop = { wanted: false });
  const present = Object.keys(NAMES).filter((sense) => shown.recording[sense]);
  const used = Object.fromEntries(present.filter((s) => !shown.off.has(s)).map((s) => [s, shown.recording[s]]));
  $("result").classList.add("busy");
  try {
    const all = Object.fromEntries(present.map((sense) => [sense, shown.recording[sense]]));
    const [answer, spikes] = await Promise.all([call("/v1/predict", used), call("/v1/spikes", all)]);
    if (stop.wanted) return;
    Object.assign(shown, { rasters: spikes.senses, step_ms: spikes.step_ms, total: answer.steps_total, steps: [] });
    $("result").hidden = false;
    tell(answer);
    showRasters();
    await follow(used, stop);
  } finally {
    if (!stop.wanted) $("result").classList.remove("busy");
  }
}

// The same recording as a stream, in real time unless motion is not wanted.
async function follow(used, stop) {
  const live = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("pace").textContent = live ? "Streamed in real time, as sensors would send it." : "Streamed.";
  $("result").classList.remove("busy");
  let waiting = false;
  const onStep = (step) => {
    shown.steps.push(step);
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (!stop.wanted) showScores();
    });
  };
  $("scores").dataset.done = "";
  const last = await stream(used, live, onStep, stop);
  if (stop.wanted) return;
  showScores();
  const order = Object.entries(last.scores).sort((a, b) => b[1] - a[1]);
  const told = order.map(([label, score]) => `${label}: ${score.toFixed(2)}`).join(", ");
  $("scores").setAttribute("aria-label", `Scores after ${last.steps} steps: ${told}`);
  $("scores").dataset.done = last.label;
}

function tell(answer) {
  $("answer").textContent = answer.label;
  const senses = answer.senses.map((sense) => NAMES[sense]).join(", ");
  const rejected = Object.entries(answer.rejected).map(([sense, why]) => `${NAMES[sense]}: ${why}`).join("; ");
  const time = answer.timing_ms; // an answer from the cache took none
  const accuracy = answer.accuracy === null ? "not measured" : `${(100 * answer.accuracy).toFixed(1)} %`;
  const facts = [
    ["Margin", answer.margin.toFixed(2), "to the next score"],
    ["Decided by", senses, rejected],
    ["Steps", `${answer.steps} of ${answer.steps_total}`, answer.steps < answer.steps_total ? "fewer, under load" : ""],
    ["Time", ...(time ? timed(time) : ["none", "from the cache"])],
    ["Test accuracy", accuracy, answer.accuracy === null ? "" : "of such answers"],
    ["Model", answer.model.version, `${answer.model.arithmetic}, ${answer.model.digest.slice(0, 12)}`],
  ];
  const items = facts.map(([name, value, more]) => {
    const [item, said] = [element("div"), element("dd", value)];
    if (more) said.append(element("small", more));
    item.append(element("dt", name), said);
    return item;
  });
  $("facts").replaceChildren(...items);
}

function timed({ queue = 0, encode, infer }) {
  return [`${(queue + encode + infer).toFixed(1)} ms`, `encode ${encode.toFixed(1)}, infer ${infer.toFixed(1)}`];
}

function showRasters() {
  const here = Object.keys(NAMES).filter((sense) => shown.rasters[sense]);
  const old = [...$("rasters").children].map((one) => one.dataset.sense);
  if (here.join() !== old.join()) $("rasters").replaceChildren(...here.map(rasterOf));
  drawRasters();
}

function rasterOf(sense) {
  const box = element("div", "", { className: "raster" });
  box.dataset.sense = sense;
  const label = element("label");
  const tick = element("input", "", { type: "checkbox" });
  tick.addEventListener("change", () => {
    shown.off[tick.checked ? "delete" : "add"](sense);
    attempt(ask);
  });
  label.append(tick, NAMES[sense]);
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  box.append(label, element("span", "", { className: "count" }), canvas);
  return box;
}

function drawRasters() {
  for (const box of $("rasters").children) {
    const { sense } = box.dataset;
    const spikes = shown.rasters[sense];
    const count = `${spikes.index.length.toLocaleString("en")} spikes on ${spikes.channels.toLocaleString("en")} channels`;
    box.querySelector(".count").textContent = count;
    box.querySelector("input").checked = !shown.off.has(sense);
    box.classList.toggle("off", shown.off.has(sense));
    box.querySelector("canvas").setAttribute("aria-label", `${NAMES[sense]}: ${count}`);
    raster(box.querySelector("canvas"), spikes, shown.step_ms);
  }
}

const showScores = () => scores($("scores"), shown.steps, shown.total, shown.step_ms);

function redraw() {
  pad.draw();
  if ($("result").hidden) return;
  drawRasters();
  showScores();
}

// Sources.

const seeds = {};

async function offerExamples() {
  const { labels, seeds: most } = await call("/v1/examples");
  $("examples").replaceChildren(...labels.map((label) => exampleButton(label, most)));
}

function exampleButton(label, most) {
  const button = element("button", label, { type: "button" });
  button.setAttribute("aria-label", `Example of ${label}`);
  button.addEventListener("click", () =>
    attempt(async () => {
      seeds[label] = ((seeds[label] ?? -1) + 1) % most;
      const found = await call(`/v1/examples/${label}?seed=${seeds[label]}`);
      const answered = take(found);
      button.setAttribute("aria-pressed", "true");
      await answered;
    }),
  );
  return button;
}

async function takeFiles(files) {
  if (!files.length) return;
  const parts = await Promise.all([...files].map(read));
  const senses = parts.map((part) => Object.keys(part)[0]);
  const twice = senses.find((sense, i) => senses.indexOf(sense) !== i);
  if (twice) throw new Problem({ field: twice, problem: "is given by two files", limit: "one file a sense" });
  await take(Object.assign({}, ...parts));
}

async function takeVoice() {
  const button = $("record");
  button.disabled = true;
  button.textContent = "Speak now";
  try {
    const found = await record((level) => ($("level").value = level));
    const { samples, rate } = found.audio;
    $("heard").textContent = `${(samples.length / rate).toFixed(2)} s at ${rate.toLocaleString("en")} Hz.`;
    return await take(found);
  } finally {
    button.disabled = false;
    button.textContent = "Record a second";
  }
}

async function takeDrawing() {
  const { path, took, faster } = pad.path();
  const pace = faster > 1 ? `, replayed ${faster.toFixed(1)} times as fast: the pace of the pens it was trained on` : "";
  $("felt").textContent = `Drawn in ${(took / 1000).toFixed(1)} s${pace}.`;
  await take(await call("/v1/pen", path));
}

const pad = new Pad($("pad"), (something) => ($("drawn").disabled = !something));
$("drawn").addEventListener("click", () => attempt(takeDrawing));
$("wipe").addEventListener("click", () => pad.wipe());
$("record").addEventListener("click", () => attempt(takeVoice));
$("files").addEventListener("change", ({ target }) => attempt(() => takeFiles(target.files)));
$("files").addEventListener("click", ({ target }) => (target.value = "")); // so that the same file can be chosen again
$("drop").addEventListener("dragover", (event) => event.preventDefault());
$("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  attempt(() => takeFiles(event.dataTransfer.files));
});
$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken($("token").value);
  $("access").hidden = true;
  attempt(offerExamples);
});
document.addEventListener("token-wanted", () => ($("access").hidden = false));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("resize", redraw);
pad.draw();
attempt(offerExamples);
