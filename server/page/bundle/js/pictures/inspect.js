// A picture that was dropped or pasted: what it says, and what to do with it.

import * as api from "../core/api.js";
import { h } from "../core/dom.js";
import { closeButton, openDialog } from "../core/dialog.js";
import { attempt, refill, show } from "../state/actions.js";
import { begin, form } from "../state/form.js";
import { editMask } from "../mask/editor.js";
import { facts } from "./facts.js";
import { tool } from "./tools.js";

/** Shows a picture's file and its parameters. */
export const inspect = attempt(async (file) => {
  const sent = await api.upload(file);
  const parameters = sent.parameters ? await api.parametersOfText(sent.parameters).catch(() => null) : null;
  const url = URL.createObjectURL(file);
  let taken = false;
  const take = (mode) => {
    taken = true;
    begin({ id: sent.id, width: sent.width, height: sent.height, blob: file, url });
    form.mode.value = mode;
    dialog.close();
    show("create");
    if (mode === "inpaint") editMask({ width: sent.width, height: sent.height, url });
  };
  const dialog = openDialog(
    "sheet.inspect",
    { "aria-label": "The picture that was dropped" },
    [
      h("img", { src: url, alt: "The picture that was dropped" }),
      h(
        "div.about-picture",
        {},
        h("div.row.between", {}, h("span.about", {}, `${sent.width} × ${sent.height}`), closeButton()),
        h(
          "div.tools",
          { role: "group", "aria-label": "What to do with the picture" },
          parameters &&
            tool(
              "reuse",
              "Use its parameters",
              () => {
                dialog.close();
                refill(parameters);
              },
              "accent",
            ),
          tool("picture", "Image to image", () => take("picture")),
          tool("brush", "Inpaint", () => take("inpaint")),
          tool("upscale", "Upscale", () => take("upscale")),
        ),
        h("div.details", {}, parameters ? facts(parameters) : h("p.about", {}, "The picture says nothing about how it was made.")),
      ),
    ],
    () => {
      if (!taken) URL.revokeObjectURL(url);
    },
  );
  dialog.querySelector(".tools button").focus();
});
