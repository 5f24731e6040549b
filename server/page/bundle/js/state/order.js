// From what the form says to what the server is asked for, and back. Plain data: no
// element of the page is touched, so that tests run it alone.

/** What is painted over is drawn anew; the server's own default, for pictures, keeps some of it. */
export const inpaintStrength = 1;

const given = (value) => value !== null && value !== undefined && value !== "";

// Keys of a request that the form has as they are.
const plain = [
  "width",
  "height",
  "steps",
  "cfg_scale",
  "sampler",
  "schedule",
  "clip_skip",
  "rng",
  "deep_cache",
  "token_merging",
  "cache",
  "refiner",
  "refiner_at",
  "taesd",
  "guidance",
];
const ofPicture = ["strength", "image_cfg_scale"];
const ofMask = ["mask_blur", "mask_feather", "mask_fill", "mask_padding"];
const ofClassifier = ["classifier", "classifier_class", "classifier_scale"];
const objects = ["guidance_options", "sampler_options"];

/** The members of an object that are given. */
const filled = (object) => Object.fromEntries(Object.entries(object ?? {}).filter(([, v]) => given(v)));

function take(request, values, keys) {
  for (const key of keys) if (given(values[key])) request[key] = values[key];
}

/** The request of the form's values. from says what tells the model what to draw. */
export function request(values, from = "text") {
  const r = { ...values.further };
  if (from === "class" || from === "number") {
    if (given(values.class)) r.class = String(values.class);
  } else if (from === "text") {
    r.prompt = values.prompt;
    if (values.negative) r.negative = values.negative;
  }
  take(r, values, plain);
  if (given(values.classifier)) take(r, values, ofClassifier);
  for (const key of objects) {
    const object = filled(values[key]);
    if (Object.keys(object).length) r[key] = object;
  }
  r.seed = given(values.seed) ? values.seed : "-1";
  if (values.count > 1) r.count = values.count;
  if (values.zero_snr) r.zero_snr = true;
  const picture = values.mode === "picture" || values.mode === "inpaint";
  if (picture) take(r, values, ofPicture);
  if (values.mode === "inpaint") {
    r.strength ??= inpaintStrength;
    take(r, values, ofMask);
    if (values.only_masked) r.only_masked = true;
  } else if (values.hires && !r.hires) {
    const pass = { scale: values.hires_scale ?? 2 };
    for (const key of ["upscaler", "strength", "steps"]) if (given(values["hires_" + key])) pass[key] = values["hires_" + key];
    r.hires = [pass];
  }
  return r;
}

/** The nearest size that models take. */
export const aligned = (n, by = 8) => Math.max(by, Math.round(n / by) * by);

/** The request that draws a picture again, larger, with little noise. */
function redrawn(values, source, from) {
  const by = values.upscale_by ?? 2;
  const r = request({ ...values, mode: "picture", hires: false, count: null, width: null, height: null }, from);
  r.width = aligned(source.width * by);
  r.height = aligned(source.height * by);
  r.strength = values.upscale_strength ?? 0.3;
  return r;
}

/** Adds the pictures that a job's request follows. */
function following(job, follows, from) {
  if (!follows.length || from !== "text") return job;
  const control = follows.map(({ picture: _, ...said }) => filled(said));
  return { ...job, request: { ...job.request, control }, control_images: follows.map((f) => f.picture && "id:" + f.picture) };
}

/** How guides guide, as the server reads it: "lgd:samples=20,noise=0.1". */
function guideMethod(values, guides) {
  const numbers = Object.entries(filled(values.guide_options)).map(([key, v]) => `${key}=${v}`);
  const usual = guides.some((g) => g.kind === "classifier") ? "mpgd" : "moments";
  return numbers.length ? `${values.guide_method ?? usual}:${numbers.join(",")}` : (values.guide_method ?? null);
}

/** Adds what a job's request is guided towards. */
function guided(job, guides, values) {
  if (!guides.length) return job;
  const guide = guides.map(({ image: _, of: __, ...said }) => filled(said));
  const method = guideMethod(values, guides);
  const id = (picture) => picture && "id:" + picture;
  const pictures = guides.map(({ image, of }) => (of ? { image: id(image), of: id(of) } : (id(image) ?? null)));
  return { ...job, request: { ...job.request, guide, ...(method && { guide_method: method }) }, guide_images: pictures };
}

/**
 * The job of the form's values. model is a name or "", source the picture to begin with,
 * mask a data URL or null, follows what the picture follows, guides what it is guided towards.
 */
export function order(values, { model = "", source = null, mask = null, from = "text", follows = [], guides = [] } = {}) {
  const beside = (job) => guided(following(job, follows, from), guides, values);
  const job = {};
  if (model) job.model = model;
  if (values.format) job.output = { format: values.format };
  if (values.mode !== "create") job.image = "id:" + source.id;
  if (values.mode === "upscale" && values.upscaler) {
    return { ...job, model: undefined, upscale: { model: values.upscaler, scale: values.upscale_by ?? 2 } };
  }
  if (values.mode === "upscale") return beside({ ...job, request: redrawn(values, source, from) });
  if (values.mode === "inpaint" && mask) job.mask = mask;
  return beside({ ...job, request: request(values, from) });
}

/** What is missing before a job can be made; "" if nothing is. */
export function missing(values, { source, mask, follows = [], guides = [] }) {
  const draws = values.mode !== "upscale" || !values.upscaler;
  if (draws && follows.some((f) => !f.name)) return "Choose the network that follows the picture.";
  if (draws && values.mode === "create" && follows.some((f) => !f.picture)) return "Choose the picture to follow first.";
  if (draws && guides.some((g) => "image" in g && !g.image)) return "Choose the picture of the guide first.";
  if (draws && guides.some((g) => g.kind === "classifier" && !given(g.class))) return "Choose the class to guide towards.";
  if (values.mode === "create") return "";
  if (!source) return "Choose a picture first.";
  if (values.mode === "inpaint" && !mask && !values.further?.canvas) return "Paint over what is to be redrawn first.";
  return "";
}

/**
 * The form's values of a picture's request. What the form has no place for stays in
 * further, so that the same picture comes of it.
 */
export function fromRequest(request) {
  const { control, guide, guide_method: way, ...others } = request;
  const out = {
    further: {},
    follows: followsOf(control, others),
    guides: guidesOf(guide),
    ...methodOf(way),
    hires: false,
    guidance_options: {},
    sampler_options: {},
    only_masked: false,
    zero_snr: false,
    negative: "",
    prompt: "",
    class: null,
    seed: "",
    count: null,
  };
  const known = [...plain, ...ofClassifier, ...ofPicture, ...ofMask, ...objects, "prompt", "negative", "class", "seed", "count", "only_masked", "zero_snr"];
  for (const key of [...plain, ...ofClassifier, ...ofPicture, ...ofMask]) out[key] = null;
  for (const key of ["scale", "upscaler", "strength", "steps"]) out["hires_" + key] = null;
  for (const [key, value] of Object.entries(others)) {
    if (value === null || parts.some((part) => key === "control_" + part)) continue;
    if (known.includes(key)) out[key] = value;
    else if (key === "hires" && simple(value)) {
      out.hires = true;
      for (const [part, v] of Object.entries(value[0])) out["hires_" + part] = v;
    } else out.further[key] = value;
  }
  return out;
}

// What a request says of each ControlNet beside its name, in lists with commas.
const parts = ["image", "preprocess", "weight", "start", "end", "mode"];

/** The pictures that a request follows, without the pictures. */
function followsOf(control, request) {
  if (Array.isArray(control)) return control.map(({ image: _, ...said }) => said);
  if (!given(control)) return [];
  return listOf(control).map((name, i) => {
    const said = { name };
    for (const part of parts.slice(1)) {
      const value = listOf(String(request["control_" + part] ?? ""))[i];
      if (given(value)) said[part] = ["weight", "start", "end"].includes(part) ? Number(value) : value;
    }
    return said;
  });
}

/** What a request is guided towards, without the pictures. */
function guidesOf(guide) {
  if (Array.isArray(guide)) return guide.map(({ image: _, of: __, ...said }) => said);
  const out = [];
  for (const part of given(guide) ? listOf(guide) : []) {
    const [key, value] = [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)];
    if (key === "class" || key === "of") Object.assign(out.at(-1) ?? {}, key === "class" && { class: value });
    else out.push({ kind: key, ...(["colour", "classifier"].includes(key) && { [key]: value }) });
  }
  return out;
}

/** A method and its numbers. */
function methodOf(text) {
  const [name, numbers = ""] = String(text ?? "").split(":");
  const guide_options = Object.fromEntries(numbers.split(",").filter(Boolean).map((n) => [n.split("=")[0], Number(n.split("=")[1])]));
  return { guide_method: name || null, guide_options };
}

/** The entries of a list, in which "\\," is a comma. */
const listOf = (text) => text.split(/(?<!\\),/).map((part) => part.replaceAll("\\,", ",").trim());

/** Whether hires passes are one pass that the form has fields for. */
function simple(passes) {
  return (
    Array.isArray(passes) &&
    passes.length === 1 &&
    Object.keys(passes[0]).every((k) => ["scale", "upscaler", "strength", "steps"].includes(k))
  );
}
