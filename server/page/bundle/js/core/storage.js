// What the browser keeps: settings as text, pictures of the form as files. Both are
// missing in some private windows, where the page works without.

/** A setting, or null. */
export function load(name) {
  try {
    return JSON.parse(localStorage.getItem("sdgo." + name));
  } catch {
    return null;
  }
}

/** Keeps a setting. */
export function save(name, value) {
  try {
    localStorage.setItem("sdgo." + name, typeof value === "string" ? value : JSON.stringify(value));
  } catch {
    // Full or forbidden.
  }
}

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("sdgo", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("files");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function files(mode, act) {
  try {
    const db = await open();
    return await new Promise((resolve, reject) => {
      const request = act(db.transaction("files", mode).objectStore("files"));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    }).finally(() => db.close());
  } catch {
    return undefined;
  }
}

export const loadFile = (name) => files("readonly", (store) => store.get(name));
export const saveFile = (name, value) => files("readwrite", (store) => (value ? store.put(value, name) : store.delete(name)));
