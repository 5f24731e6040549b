// Drawings of buttons: lines in a square of 24.

const paths = {
  add: "M12 5v14M5 12h14",
  arrowLeft: "M15 5l-7 7 7 7",
  arrowRight: "M9 5l7 7-7 7",
  brush: "M20 4c-5 2-9 6-11 10l2 2c4-2 7-6 9-12zM8 15c-2 0-3 1-3 3 0 1-1 2-2 2 3 1 7 0 7-3z",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  eraser: "M4 15l9-10 7 6-8 9H8zM9 9.500l7 6M12 20h8",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  folder: "M3 6h6l2 2h10v11H3z",
  hand: "M12 3v18M3 12h18M12 3l-3 3M12 3l3 3M12 21l-3-3M12 21l3-3M3 12l3-3M3 12l3 3M21 12l-3-3M21 12l-3 3",
  invert: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  keys: "M3 7h18v11H3zM7 11h.01M11 11h.01M15 11h.01M8 15h8",
  minus: "M5 12h14",
  moon: "M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10z",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
  redo: "M20 9H9a5 5 0 0 0 0 10h6M16 5l4 4-4 4",
  reset: "M5 5v5h5M5.500 10A7.500 7.500 0 1 1 5 15",
  reuse: "M4 12a8 8 0 0 1 14-5M18 3v4h-4M20 12a8 8 0 0 1-14 5M6 21v-4h4",
  skip: "M5 5l9 7-9 7zM18 5v14",
  sliders: "M4 8h9M17 8h3M15 6v4M4 16h3M11 16h9M9 14v4",
  spark: "M12 3l2 7 7 2-7 2-2 7-2-7-7-2 7-2z",
  stop: "M7 7h10v10H7z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500L19 19M5 19l1.500-1.500M17.500 6.500L19 5",
  swap: "M7 4L3 8l4 4M3 8h14M17 12l4 4-4 4M21 16H7",
  system: "M3 5h18v11H3zM9 20h6M12 16v4",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13M10 11v5M14 11v5",
  undo: "M4 9h11a5 5 0 0 1 0 10H9M8 5L4 9l4 4",
  upload: "M12 16V5M7 9l5-5 5 5M5 20h14",
  upscale: "M4 14v6h6M4 20l7-7M20 10V4h-6M20 4l-7 7",
};

const namespace = "http://www.w3.org/2000/svg";

/** A drawing, which screen readers pass over. */
export function icon(name) {
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", paths[name]);
  svg.append(path);
  return svg;
}
