"use strict";
// Moves recordings: canvases from the front, from the side and from above. A canvas shows the
// recording of its box (.recording), or the one that its data-recording names.
const data = JSON.parse(document.getElementById("data").textContent);
const MISSING = -32768;

class Recording {
  constructor(stored) {
    this.stored = stored;
    this.body = data.bodies[stored.body];
    const bytes = Uint8Array.from(atob(stored.frames), (c) => c.charCodeAt(0));
    this.values = new Int16Array(bytes.buffer);
    this.count = stored.count;
    this.middles = Array.from({ length: this.count }, (_, t) => this.middle(t));
    this.reach = this.largest();
  }

  joint(t, j) {
    const at = (t * this.body.joints + j) * 3;
    if (this.values[at] === MISSING) return null;
    return [0, 1, 2].map((axis) => this.values[at + axis] * this.stored.scale);
  }

  middle(t) {
    const seen = [];
    for (let j = 0; j < this.body.joints; j++) seen.push(this.joint(t, j));
    const known = seen.filter(Boolean);
    if (!known.length) return [0, 0, 0];
    return [0, 1, 2].map((axis) => known.reduce((sum, p) => sum + p[axis], 0) / known.length);
  }

  // how far joints are from the middle, along each axis; a few that fly off do not count
  largest() {
    const far = [[], [], []];
    for (let t = 0; t < this.count; t += Math.max(1, Math.floor(this.count / 60))) {
      for (let j = 0; j < this.body.joints; j++) {
        const p = this.joint(t, j);
        if (p) p.forEach((v, axis) => far[axis].push(Math.abs(v - this.middles[t][axis])));
      }
    }
    return far.map((all) => {
      all.sort((a, b) => a - b);
      return all[Math.floor(0.998 * (all.length - 1))] || 0;
    });
  }

  drawBody(pen, width, height, axis, frame, reach) {
    const [x, y, z] = reach;
    const zoom = 0.44 * Math.min(width / (Math.max(x, z) || 1), height / (y || 1));
    const middle = this.middles[frame];
    const place = (j) => {
      const p = this.joint(frame, j);
      if (!p) return null;
      return [
        width / 2 + (p[axis] - middle[axis]) * zoom,
        height / 2 - (p[1] - middle[1]) * zoom,
      ];
    };
    for (const [a, b, side] of this.body.bones) {
      const from = place(a);
      const to = place(b);
      if (!from || !to) continue;
      pen.strokeStyle = side === "left" ? colour.left : side === "right" ? colour.right : colour.ink;
      pen.lineWidth = side === "right" ? 2.5 : 3.5;
      pen.setLineDash(side === "right" ? [6, 4] : []);
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(...to);
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.fillStyle = colour.ink;
    for (let j = 0; j < this.body.joints; j++) {
      const at = place(j);
      if (!at) continue;
      pen.beginPath();
      pen.arc(at[0], at[1], j === this.body.head ? 6 : 2, 0, 7);
      pen.fill();
    }
    pen.font = "bold 12px system-ui, sans-serif";
    pen.textAlign = "center";
    for (const [j, letter] of this.body.letters) {
      const at = place(j);
      if (!at) continue;
      pen.fillStyle = letter === "L" ? colour.left : colour.right;
      pen.fillText(letter, at[0] + Math.sign(at[0] - width / 2 || 1) * 10, at[1] + 14);
    }
  }

  drawPath(pen, width, height, frame) {
    const xs = this.middles.map((p) => p[0]);
    const zs = this.middles.map((p) => p[2]);
    const [lowX, highX] = [Math.min(...xs), Math.max(...xs)];
    const [lowZ, highZ] = [Math.min(...zs), Math.max(...zs)];
    const span = Math.max(highX - lowX, highZ - lowZ, ...this.reach) || 1;
    const zoom = (Math.min(width, height) - 24) / span;
    const place = (t) => [
      width / 2 + (xs[t] - (lowX + highX) / 2) * zoom,
      height / 2 - (zs[t] - (lowZ + highZ) / 2) * zoom,
    ];
    pen.strokeStyle = colour.soft;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(...place(0));
    for (let t = 1; t < this.count; t++) pen.lineTo(...place(t));
    pen.stroke();
    pen.fillStyle = colour.ink;
    pen.beginPath();
    pen.arc(...place(frame), 5, 0, 7);
    pen.fill();
  }
}

class Player {
  constructor(box, place) {
    this.frame = 0;
    this.views = [...box.querySelectorAll("canvas")];
    this.recordings = this.views.map((view) => recordings[view.dataset.recording ?? place]);
    this.count = this.recordings[0].count;
    // one scale in a box: a tall person stays taller than a small one
    this.reach = [0, 1, 2].map((axis) => Math.max(...this.recordings.map((r) => r.reach[axis])));
    this.stage = box.querySelector(".views");
    this.slider = box.querySelector("input");
    this.label = box.querySelector("output");
    this.marks = [...box.querySelectorAll("line.now")];
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
  }

  show(frame) {
    this.frame = frame;
    this.slider.value = String(frame);
    const text = `frame ${frame + 1} of ${this.count}`;
    this.label.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    const share = this.count > 1 ? frame / (this.count - 1) : 0;
    for (const mark of this.marks) {
      const x = Number(mark.dataset.from) + share * (mark.dataset.to - mark.dataset.from);
      mark.setAttribute("x1", x);
      mark.setAttribute("x2", x);
    }
    for (const canvas of this.views) this.draw(canvas);
  }

  draw(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.lineCap = "round";
    const recording = this.recordings[this.views.indexOf(canvas)];
    const axis = canvas.dataset.view === "front" ? 0 : 2;
    if (canvas.dataset.view === "above") recording.drawPath(pen, width, height, this.frame);
    else recording.drawBody(pen, width, height, axis, this.frame, this.reach);
  }
}

let colour = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "soft", "left", "right"]) {
    colour[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

readColours();
const boxes = [...document.querySelectorAll(".recording")];
const recordings = data.recordings.map((stored) => new Recording(stored));
const players = boxes.map((box, i) => new Player(box, i));
const redraw = () => players.forEach((player) => player.show(player.frame));
const button = document.getElementById("play");
const speed = document.getElementById("speed");
let playing = false;
let last = 0;
let owed = 0;

function setPlaying(on) {
  playing = on;
  button.textContent = on ? "Pause" : "Play";
  last = 0;
  if (on) requestAnimationFrame(tick);
}

function tick(now) {
  if (!playing) return;
  // a tab that was hidden does not catch up
  owed += last ? Math.min(0.2, (now - last) / 1000) * data.rate * Number(speed.value) : 0;
  last = now;
  const steps = Math.floor(owed);
  owed -= steps;
  if (steps) for (const player of players) player.show((player.frame + steps) % player.count);
  requestAnimationFrame(tick);
}

if (button) {
  button.addEventListener("click", () => setPlaying(!playing));
  for (const player of players) {
    for (const touched of ["pointerdown", "input"]) {
      player.slider.addEventListener(touched, () => setPlaying(false));
    }
    player.stage.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === " ") setPlaying(!playing);
      else if (step) {
        setPlaying(false);
        player.show((player.frame + step + player.count) % player.count);
      } else return;
      event.preventDefault();
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    redraw();
  });
  addEventListener("resize", redraw);
  redraw();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) setPlaying(true);
}
