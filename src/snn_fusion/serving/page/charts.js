// Two drawings on canvas: the raster of a sense, and the scores over time. Colours come from the page's style.

const FONT = '12px system-ui, "Segoe UI", Arial, "DejaVu Sans", sans-serif';

function prepare(canvas) {
  const scale = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const paint = canvas.getContext("2d");
  paint.scale(scale, scale);
  paint.font = FONT;
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return { paint, width, height, colour };
}

function timeAxis({ paint, width, colour }, box, total_ms) {
  paint.fillStyle = colour("muted");
  paint.textBaseline = "top";
  const every = box.width < 360 ? total_ms / 2 : total_ms / 5;
  for (let ms = 0; ms <= total_ms + 1e-6; ms += every) {
    const x = box.left + (box.width * ms) / total_ms;
    const text = ms + 1e-6 >= total_ms ? `${Math.round(ms)} ms` : `${Math.round(ms)}`;
    paint.textAlign = ms === 0 ? "left" : x > width - 30 ? "right" : "center";
    paint.fillText(text, x, box.bottom + 6);
  }
}

// `spikes`: steps, channels, indptr, index, as /v1/spikes gives them.
export function raster(canvas, spikes, step_ms) {
  const sheet = prepare(canvas);
  const { paint, width, height, colour } = sheet;
  const box = { left: 0, top: 0, width, bottom: height - 24 };
  paint.fillStyle = colour("panel");
  paint.fillRect(box.left, box.top, box.width, box.bottom);
  paint.fillStyle = colour("sense");
  const [across, down] = [box.width / spikes.steps, (box.bottom - 4) / spikes.channels];
  const [dotWidth, dotHeight] = [Math.max(1.5, across - 1.5), Math.max(1, down - 0.5)];
  for (let step = 0; step < spikes.steps; step++) {
    for (let k = spikes.indptr[step]; k < spikes.indptr[step + 1]; k++) {
      paint.fillRect(across * step, box.bottom - 2 - down * (spikes.index[k] + 1), dotWidth, dotHeight);
    }
  }
  timeAxis(sheet, box, spikes.steps * step_ms);
}

// `steps`: {steps, scores, label} after each step until now, of `total`.
export function scores(canvas, steps, total, step_ms) {
  const sheet = prepare(canvas);
  const { paint, width, height, colour } = sheet;
  const box = { left: 0, top: 8, width: width - 58, bottom: height - 24 };
  timeAxis(sheet, box, total * step_ms);
  paint.strokeStyle = colour("line");
  line(paint, [[box.left, box.bottom], [box.left + box.width, box.bottom]], 1);
  if (!steps.length) return;
  const all = steps.flatMap((one) => Object.values(one.scores));
  const [low, high] = [Math.min(0, ...all), Math.max(0.1, ...all)];
  const y = (score) => box.bottom - 4 - ((score - low) / (high - low)) * (box.bottom - 4 - box.top);
  const x = (step) => box.left + (box.width * step) / total;
  paint.setLineDash([3, 4]);
  line(paint, [[box.left, y(0)], [box.left + box.width, y(0)]], 1);
  paint.setLineDash([]);

  const last = steps[steps.length - 1];
  const order = Object.keys(last.scores).sort((a, b) => last.scores[a] - last.scores[b]);
  const best = last.label ?? order[order.length - 1]; // nothing has reached the readout yet
  for (const label of [...order.filter((one) => one !== best), best]) {
    paint.strokeStyle = colour(label === best ? "accent" : "faint");
    line(paint, [[x(0), y(0)], ...steps.map((one) => [x(one.steps), y(one.scores[label])])], label === best ? 3 : 1.5);
  }
  names(sheet, box, order, best, x(last.steps), (label) => y(last.scores[label]));
}

function line(paint, points, width) {
  paint.lineWidth = width;
  paint.lineJoin = "round";
  paint.beginPath();
  points.forEach(([x, y]) => paint.lineTo(x, y));
  paint.stroke();
}

// Each line's name at its end, moved apart where lines end close together. `order`: from the lowest score up.
function names({ paint, colour }, box, order, best, x, y) {
  const gap = Math.min(14, (box.bottom - box.top) / order.length);
  const places = order.map(y);
  for (let round = 0; round < 50; round++) {
    for (let k = 1; k < places.length; k++) {
      const push = Math.max(0, gap - (places[k - 1] - places[k])) / 2;
      places[k - 1] = Math.min(box.bottom, places[k - 1] + push);
      places[k] = Math.max(box.top, places[k] - push);
    }
  }
  paint.textBaseline = "middle";
  paint.textAlign = "left";
  order.forEach((label, k) => {
    paint.font = label === best ? `bold ${FONT}` : FONT;
    paint.fillStyle = colour(label === best ? "accent" : "muted");
    paint.fillText(label, x + 8, places[k], 50);
  });
}
