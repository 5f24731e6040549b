// A server for tests: the real program with the built-in model, its pictures in a folder
// that is gone afterwards.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const program = new URL("../../sdgo", import.meta.url).pathname;

/** Starts a server; resolves to its address and how to stop it, or to end it for good. */
export async function serve({ listen = "127.0.0.1:0", outputs, models, env = {} } = {}) {
  const folder = outputs ?? (await mkdtemp(join(tmpdir(), "sdgo-page-")));
  const more = models ? ["--models", models] : [];
  const child = spawn(program, ["serve", "--listen", listen, "--outputs", folder, "--drain", "1s", ...more], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env },
  });
  const ended = new Promise((resolve) => {
    child.once("exit", resolve);
  });
  const address = await new Promise((resolve, reject) => {
    let log = "";
    child.stderr.on("data", (data) => {
      log += data;
      const found = log.match(/msg=serving address=(\S+)/);
      if (found) resolve(found[1]);
    });
    ended.then(() => reject(new Error(`the server ended: ${log}`)));
  });
  const stop = async (signal = "SIGTERM") => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  return {
    address,
    folder,
    stop,
    end: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
