// From pointers and keys to strokes and views. One finger or button paints, two fingers,
// the middle button or the tool for it move the picture, the wheel zooms.

import { signal } from "../core/signal.js";

export const smallest = 1;
export const largest = 1024;

/** Paints on a surface that is shown by a view; draw() is called when the view changed. */
export class Painting {
  constructor(board, surface, view, draw) {
    this.board = board;
    this.surface = surface;
    this.view = view;
    this.draw = draw;
    this.tool = signal("brush"); // or "eraser", "hand"
    this.size = signal(Math.max(4, Math.round(Math.min(view.picture.width, view.picture.height) / 8)));
    this.cursor = signal({ x: view.picture.width / 2, y: view.picture.height / 2 }); // of the picture
    this.pointers = new Map();
    this.painting = null;
    this.listen();
  }

  listen() {
    const on = (name, run, options) => this.board.addEventListener(name, run, options);
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.moved(e));
    for (const name of ["pointerup", "pointercancel"]) on(name, (e) => this.up(e));
    on("wheel", (e) => this.wheel(e), { passive: false });
    on("contextmenu", (e) => e.preventDefault());
  }

  place(e) {
    const box = this.board.getBoundingClientRect();
    return { x: e.clientX - box.left, y: e.clientY - box.top };
  }

  resize(by) {
    this.size.value = Math.min(largest, Math.max(smallest, Math.round(this.size.peek() * by + Math.sign(by - 1))));
  }

  down(e) {
    this.board.focus({ preventScroll: true });
    this.board.setPointerCapture(e.pointerId);
    this.pointers.set(e.pointerId, this.place(e));
    e.preventDefault();
    if (this.pointers.size > 1) {
      if (this.painting !== null) this.surface.abandon();
      this.painting = null;
    } else if (e.button === 0 && this.tool.peek() !== "hand") {
      this.painting = e.pointerId;
      this.cursor.value = this.view.at(this.place(e));
      this.surface.begin(
        this.cursor.peek(),
        this.size.peek(),
        this.tool.peek() === "eraser" || (e.pointerType === "pen" && e.buttons === 32),
      );
    }
  }

  moved(e) {
    const here = this.place(e);
    if (this.painting === e.pointerId) {
      const steps = e.getCoalescedEvents?.() ?? [];
      for (const step of steps.length ? steps : [e]) this.surface.line(this.view.at(this.place(step)));
    } else if (this.pointers.has(e.pointerId)) {
      this.drag(e.pointerId, here);
    }
    this.cursor.value = this.view.at(here);
  }

  /** Moves the picture with one pointer, zooms it with two. */
  drag(id, here) {
    const before = this.pointers.get(id);
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    if (other) {
      const distance = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
      this.view.zoom(distance(here) / distance(before), other);
      this.view.move((here.x - before.x) / 2, (here.y - before.y) / 2);
    } else {
      this.view.move(here.x - before.x, here.y - before.y);
    }
    this.pointers.set(id, here);
    this.draw();
  }

  up(e) {
    this.pointers.delete(e.pointerId);
    if (this.painting !== e.pointerId) return;
    this.painting = null;
    this.surface.end();
  }

  wheel(e) {
    e.preventDefault();
    const by = Math.exp(-(e.deltaY || e.deltaX) * (e.deltaMode === 1 ? 0.05 : 0.0015));
    if (e.shiftKey || e.altKey) {
      this.resize(by);
      return;
    }
    this.view.zoom(by, this.place(e));
    this.draw();
  }

  /** Moves the brush by keys, in parts of its size. */
  step(dx, dy, far) {
    const by = Math.max(1, this.size.peek() * (far ? 1 : 0.25));
    const { width, height } = this.view.picture;
    const { x, y } = this.cursor.peek();
    this.cursor.value = { x: Math.min(width, Math.max(0, x + dx * by)), y: Math.min(height, Math.max(0, y + dy * by)) };
  }

  /** Paints where the brush is. */
  dab() {
    if (this.painting !== null) return;
    this.surface.begin({ ...this.cursor.peek() }, this.size.peek(), this.tool.peek() === "eraser");
    this.surface.end();
  }
}
