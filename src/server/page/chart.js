// Two lines over the last minutes.

import { drawn, element } from "./dom.js";

const WIDTH = 360;
const HEIGHT = 110;
const LEFT = 52;
const BOTTOM = 18;
const TOP = 6;

// A round number at or above `value`.
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

function tick(text) {
  return text.replace(/\.0+(?= )/, "");
}

// Each of `series` has a `label` and `points` of the same times, the last of which is now; a `value`
// of null is one that nobody knows.
export function chart(title, unit, span_ms, series) {
  const known = series.flatMap(({ points }) => points.map(({ value }) => value).filter((value) => value !== null));
  const top = ceiling(Math.max(0, ...known));
  const now = series[0].points.at(-1)?.at;
  const x = (at) => WIDTH - ((WIDTH - LEFT) * (now - at)) / span_ms;
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * value) / top;
  const label = series.map(({ label, points }) => {
    const last = points.at(-1)?.value ?? null;
    return `${label} ${last === null ? "–" : unit(last)}`;
  });
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${label.join(", ")}` });
  for (const part of [0, 0.5, 1]) {
    const at = y(top * part);
    picture.append(
      drawn("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: at, y2: at }),
      known.length > 0 ? drawn("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, tick(unit(top * part))) : "");
  }
  picture.append(
    drawn("text", { x: LEFT, y: HEIGHT - 4 }, `${span_ms / 60_000} min ago`),
    drawn("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, "now"));
  series.forEach(({ points }, which) => {
    // A gap where nothing was measured; what stands alone is a dot, a line of no length.
    let line = "";
    let pen = "M";
    for (const { at, value } of points) {
      if (value !== null) line += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}${pen === "M" ? "h0" : ""}`;
      pen = value === null ? "M" : "L";
    }
    picture.append(drawn("path", { class: `series ${which === 0 ? "one" : "two"}`, d: line }));
  });
  const keys = label.map((text, which) => element("span", { class: which === 0 ? "key-one" : "key-two" }, `${text}  `));
  return element("figure", {},
    element("figcaption", {}, element("b", {}, title), element("span", {}, ...keys)),
    picture);
}
