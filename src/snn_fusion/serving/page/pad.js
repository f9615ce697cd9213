// A pad to draw on. The path goes to /v1/pen, which derives the signal as for the training recordings (data/stylus.py).

const HEIGHT_M = 0.024; // the pad stands for so much paper: a digit on it is about as high as those it was trained on
const SAMPLE_MS = 10, GAP_MS = 100; // of those recordings
const WRITING_MS = 400; // their usual time; a mouse takes several times as long

export class Pad {
  constructor(canvas, onChange) {
    Object.assign(this, { canvas, onChange, strokes: [] });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (this.stroke = null));
  }

  down(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.stroke = [];
    this.strokes.push(this.stroke);
    this.move(event);
  }

  move(event) {
    if (!this.stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) {
      this.stroke.push({ t: one.timeStamp, x: one.offsetX, y: one.offsetY });
    }
    this.draw();
    this.onChange(true);
  }

  wipe() {
    this.strokes = [];
    this.draw();
    this.onChange(false);
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio;
    [canvas.width, canvas.height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    const paint = canvas.getContext("2d");
    paint.scale(scale, scale);
    Object.assign(paint, { lineWidth: 5, lineCap: "round", lineJoin: "round" });
    paint.strokeStyle = getComputedStyle(canvas).getPropertyValue("--imu");
    for (const stroke of this.strokes) {
      paint.beginPath();
      stroke.forEach(({ x, y }) => paint.lineTo(x, y));
      if (stroke.length === 1) paint.lineTo(stroke[0].x + 0.1, stroke[0].y);
      paint.stroke();
    }
  }

  // The path as /v1/pen takes it, and how it was changed for that.
  path() {
    const took = this.strokes.reduce((sum, one) => sum + one[one.length - 1].t - one[0].t, 0);
    const faster = Math.max(1, took / WRITING_MS);
    const metres = HEIGHT_M / this.canvas.clientHeight;
    const strokes = this.strokes.map((stroke) => sampled(stroke, faster, metres));
    return { path: { strokes, sample_ms: SAMPLE_MS, gap_ms: GAP_MS }, took, faster };
  }
}

// Points every SAMPLE_MS along a stroke that is drawn `faster` times as fast.
function sampled(stroke, faster, metres) {
  const found = { x: [], y: [] };
  const lasts = (stroke[stroke.length - 1].t - stroke[0].t) / faster;
  let k = 0;
  for (let ms = 0; ms <= lasts; ms += SAMPLE_MS) {
    const at = stroke[0].t + ms * faster;
    while (k + 2 < stroke.length && stroke[k + 1].t <= at) k++;
    const [a, b] = [stroke[k], stroke[Math.min(k + 1, stroke.length - 1)]];
    const share = b.t > a.t ? Math.min(1, (at - a.t) / (b.t - a.t)) : 0;
    found.x.push((a.x + share * (b.x - a.x)) * metres);
    found.y.push(-(a.y + share * (b.y - a.y)) * metres); // up on paper is down on a screen
  }
  return found;
}
