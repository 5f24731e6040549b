// What a job's state is in words.

const stages = {
  text: "Reading the prompt",
  encode: "Reading the picture",
  decode: "Finishing",
  upscale: "Enlarging",
  image: "Finishing",
  load: "Opening the model",
  sample: "Drawing",
};

/** Seconds as people say them. */
function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** The line below a job that waits or runs. */
export function progressLine(job) {
  if (job.status === "queued") return job.queue_position > 1 ? `Number ${job.queue_position} in the queue` : "Next in the queue";
  const p = job.progress;
  const parts = [];
  if (p.pictures > 1 && p.picture) parts.push(`picture ${p.picture} of ${p.pictures}`);
  if (!p.stage) parts.push("preparing the model");
  else if (p.stage === "sample" && p.steps) parts.push(`${p.pass > 1 ? "second pass, " : ""}step ${p.step} of ${p.steps}`);
  else parts.push((stages[p.stage] ?? p.stage).toLowerCase());
  if (p.seconds_left > 0.5) parts.push(`${duration(p.seconds_left)} left`);
  const text = parts.join(" · ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** What became of a job that made no picture; "" otherwise. */
export function outcome(job) {
  if (job.status === "cancelled") return "Cancelled";
  if (job.status !== "failed") return "";
  const text = job.error?.message ?? "It failed";
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The prompt of a picture's parameters. */
const promptOf = (text) => (text ?? "").split("\nNegative prompt:")[0].split("\nSteps:")[0].trim();

/** A picture's name for those who do not see it. */
export const nameOf = (picture) => promptOf(picture.parameters) || "A picture without a prompt";
