// Completion of names in a prompt: "<" begins a LoRA's tag, a word may begin an
// embedding's name. Which names fit is a matter of texts alone.

const most = 8;

/** What is being written at a place of a text: { kind, begin, part }, or null. */
export function wordAt(text, at) {
  const before = text.slice(0, at);
  const tag = before.match(/<(?:l|lo|lor|lora|lora:([^<>:]*))?$/);
  if (tag) return { kind: "lora", begin: at - tag[0].length, part: tag[1] ?? "" };
  const word = before.match(/(?:^|[\s,([{|:])([\w][\w.-]+)$/);
  return word && { kind: "embedding", begin: at - word[1].length, part: word[1] };
}

/** The names that fit, those first that begin with what was written. */
export function matches(names, part) {
  const low = part.toLowerCase();
  const begins = names.filter((n) => n.toLowerCase().startsWith(low));
  const holds = names.filter((n) => !begins.includes(n) && n.toLowerCase().includes(low));
  return [...begins, ...holds].slice(0, most);
}

/** What stands in the prompt for a name. */
export const insertion = (kind, name) => (kind === "lora" ? `<lora:${name}:1>` : name);

const tags = /<lora:([^<>:]+)(?::([^<>:]*))?((?::[^<>]*)?)>/g;

/** The LoRAs of a prompt: { name, weight, text }. */
export const lorasOf = (prompt) =>
  [...prompt.matchAll(tags)].map((m) => ({ text: m[0], name: m[1], weight: m[2] ? Number(m[2]) : 1, rest: m[3] }));

/** The prompt with another weight of a LoRA, or without it where that is null. */
export function reweighed(prompt, tag, weight) {
  if (weight === null) return prompt.replace(tag.text, "").replace(/ {2,}/g, " ").trim();
  return prompt.replace(tag.text, `<lora:${tag.name}:${weight}${tag.rest}>`);
}

/**
 * The text with more or less weight on what is selected, as "(word:1.1)"; at a mere
 * place it is the word there. Returns { text, start, end }.
 */
export function emphasised(text, start, end, by) {
  if (start === end) {
    while (start > 0 && /[^\s,()[\]<>|]/.test(text[start - 1])) start--;
    while (end < text.length && /[^\s,()[\]<>|]/.test(text[end])) end++;
  }
  if (start === end) return null;
  let inner = text.slice(start, end);
  const after = text.slice(end).match(/^:(\d*\.?\d+)\)/);
  const own = inner.match(/^\((.*):(\d*\.?\d+)\)$/s);
  let weight = 1;
  if (text[start - 1] === "(" && after) {
    weight = Number(after[1]);
    start -= 1;
    end += after[0].length;
  } else if (own) {
    [, inner] = own;
    weight = Number(own[2]);
  } else {
    inner = inner.replace(/:\d*\.?\d+$/, "");
  }
  weight = Math.round(Math.min(2, Math.max(0.1, weight + by)) * 100) / 100;
  const put = weight === 1 ? inner : `(${inner}:${weight})`;
  const from = start + (weight === 1 ? 0 : 1);
  return { text: text.slice(0, start) + put + text.slice(end), start: from, end: from + inner.length };
}
