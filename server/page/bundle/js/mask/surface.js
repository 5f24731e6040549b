// A mask that is painted: a canvas with as many pixels as the picture, whose alpha is the
// mask. Each change can be undone; only the rectangle that changed is kept for that.

import { h } from "../core/dom.js";

const colour = "#ff2bd6"; // which few pictures have
const keepBytes = 256 << 20;

function canvasOf(width, height, options) {
  const canvas = h("canvas", { width, height });
  return [canvas, canvas.getContext("2d", options)];
}

export class Surface {
  constructor(width, height, changed) {
    this.width = width;
    this.height = height;
    this.changed = changed;
    [this.canvas, this.pen] = canvasOf(width, height);
    [this.before, this.copy] = canvasOf(width, height, { willReadFrequently: true }); // the state before the change
    this.done = [];
    this.undone = [];
    this.dirty = null;
  }

  /** Begins a stroke at a point; size is its width in pixels. */
  begin(point, size, erase) {
    this.last = point;
    this.size = size;
    this.pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
    this.pen.lineCap = "round";
    this.pen.lineJoin = "round";
    this.pen.strokeStyle = colour;
    this.line(point);
  }

  /** Draws on to a point. */
  line(point) {
    const { pen, last, size } = this;
    pen.lineWidth = size;
    pen.beginPath();
    pen.moveTo(last.x, last.y);
    pen.lineTo(point.x, point.y + (last === point ? 0.001 : 0)); // a mere point is drawn, too
    pen.stroke();
    for (const p of [last, point]) this.touch(p.x - size / 2 - 2, p.y - size / 2 - 2, p.x + size / 2 + 2, p.y + size / 2 + 2);
    this.last = point;
  }

  touch(left, top, right, bottom) {
    const d = this.dirty ?? { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
    this.dirty = {
      left: Math.min(d.left, left),
      top: Math.min(d.top, top),
      right: Math.max(d.right, right),
      bottom: Math.max(d.bottom, bottom),
    };
  }

  /** Ends a change, which becomes one step of undo. */
  end() {
    const d = this.dirty;
    this.dirty = null;
    if (!d) return;
    const x = Math.max(0, Math.floor(d.left));
    const y = Math.max(0, Math.floor(d.top));
    const width = Math.min(this.width, Math.ceil(d.right)) - x;
    const height = Math.min(this.height, Math.ceil(d.bottom)) - y;
    if (width <= 0 || height <= 0) return;
    const step = { x, y, before: this.copy.getImageData(x, y, width, height), after: this.pen.getImageData(x, y, width, height) };
    this.copy.putImageData(step.after, x, y);
    this.done.push(step);
    this.undone = [];
    let bytes = 0;
    for (let i = this.done.length - 1; i >= 0; i--) {
      bytes += 2 * this.done[i].before.data.length;
      if (bytes > keepBytes && i < this.done.length - 1) {
        this.done.splice(0, i + 1);
        break;
      }
    }
    this.changed();
  }

  /** Takes back what was begun and not ended. */
  abandon() {
    if (!this.dirty) return;
    this.dirty = null;
    this.pen.globalCompositeOperation = "copy";
    this.pen.drawImage(this.before, 0, 0);
  }

  put(step, data) {
    this.pen.putImageData(data, step.x, step.y);
    this.copy.putImageData(data, step.x, step.y);
    this.changed();
  }

  undo() {
    const step = this.done.pop();
    if (!step) return;
    this.undone.push(step);
    this.put(step, step.before);
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return;
    this.done.push(step);
    this.put(step, step.after);
  }

  /** Changes everything at once. */
  whole(change) {
    change(this.pen);
    this.touch(0, 0, this.width, this.height);
    this.end();
  }

  clear() {
    this.whole((pen) => pen.clearRect(0, 0, this.width, this.height));
  }

  invert() {
    this.whole((pen) => {
      pen.globalCompositeOperation = "source-out";
      pen.fillStyle = colour;
      pen.fillRect(0, 0, this.width, this.height);
    });
  }

  /** Takes a picture as the mask: white where it is repainted, at this picture's size. */
  async load(blob) {
    const bitmap = await createImageBitmap(blob);
    const [, pen] = canvasOf(this.width, this.height, { willReadFrequently: true });
    pen.drawImage(bitmap, 0, 0, this.width, this.height);
    const image = pen.getImageData(0, 0, this.width, this.height);
    const { data } = image;
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    for (let i = 0; i < data.length; i += 4) {
      const light = (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]) * (data[i + 3] / 255);
      [data[i], data[i + 1], data[i + 2], data[i + 3]] = [r, g, b, light];
    }
    this.whole((own) => own.putImageData(image, 0, 0));
  }

  /** Whether nothing is painted. */
  get empty() {
    const { data } = this.copy.getImageData(0, 0, this.width, this.height);
    for (let i = 3; i < data.length; i += 4) if (data[i] > 0) return false;
    return true;
  }

  /** The mask as a PNG file, white on black. */
  toBlob() {
    const [white, pen] = canvasOf(this.width, this.height);
    pen.drawImage(this.canvas, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, this.width, this.height);
    pen.globalCompositeOperation = "destination-over";
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, this.width, this.height);
    return new Promise((resolve) => white.toBlob(resolve, "image/png"));
  }
}
