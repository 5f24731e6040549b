// Values that are watched. An effect runs again when a signal changes that it has read;
// effects that it made in its last run end before.

let current = null;

/** A value with readers. */
export function signal(value) {
  const readers = new Set();
  return {
    get value() {
      if (current) {
        readers.add(current);
        current.sources.add(readers);
      }
      return value;
    },
    set value(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const reader of [...readers]) reader.run();
    },
    peek: () => value,
  };
}

function release(self) {
  for (const child of self.children) end(child);
  for (const readers of self.sources) readers.delete(self);
  self.children = [];
  self.sources.clear();
}

function end(self) {
  self.ended = true;
  release(self);
}

/** Runs a function now, and again when what it read changes. Returns how to end that. */
export function effect(run) {
  const self = {
    sources: new Set(),
    children: [],
    ended: false,
    running: false,
    run() {
      if (self.ended || self.running) return;
      release(self);
      const outer = current;
      current = self;
      self.running = true;
      try {
        run();
      } finally {
        current = outer;
        self.running = false;
      }
    },
  };
  current?.children.push(self);
  self.run();
  return () => end(self);
}

/** A signal whose value follows from others. */
export function computed(from) {
  const out = signal(undefined);
  effect(() => {
    out.value = from();
  });
  return out;
}

/** The same for plain data: equal data is no change. */
export function derived(from) {
  const out = signal(undefined);
  let before;
  effect(() => {
    const value = from();
    const text = JSON.stringify(value);
    if (text !== before) out.value = value;
    before = text;
  });
  return out;
}

/** Reads signals without becoming their reader. */
export function untracked(read) {
  const outer = current;
  current = null;
  try {
    return read();
  } finally {
    current = outer;
  }
}
