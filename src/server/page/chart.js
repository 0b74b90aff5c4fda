// Two lines over the last minutes.

import { drawn, element } from "./dom.js";

const WIDTH = 360;
const HEIGHT = 110;
const LEFT = 52;
const BOTTOM = 16;
const TOP = 6;

// A round number at or above `value`.
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

export function chart(title, unit, places, series) {
  const known = series.flatMap(({ values }) => values.filter((value) => value !== null));
  const top = ceiling(Math.max(0, ...known));
  const x = (index, length) => LEFT + ((WIDTH - LEFT) * (places - length + index)) / (places - 1);
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * value) / top;
  const label = series.map(({ label, values }) => {
    const last = values.at(-1);
    return `${label} ${last === null || last === undefined ? "–" : unit(last)}`;
  });
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${label.join(", ")}` });
  for (const part of [0, 0.5, 1]) {
    const at = y(top * part);
    picture.append(
      drawn("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: at, y2: at }),
      drawn("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, unit(top * part)));
  }
  picture.append(
    drawn("text", { x: LEFT, y: HEIGHT - 2 }, `${places / 60} min ago`),
    drawn("text", { x: WIDTH, y: HEIGHT - 2, "text-anchor": "end" }, "now"));
  series.forEach(({ values }, which) => {
    // A gap where nothing was measured.
    let pen = "M";
    let line = "";
    values.forEach((value, index) => {
      if (value === null) {
        pen = "M";
        return;
      }
      line += `${pen}${x(index, values.length).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
    });
    picture.append(drawn("path", { class: `series ${which === 0 ? "one" : "two"}`, d: line || "M0 0" }));
  });
  const keys = label.map((text, which) => element("span", { class: which === 0 ? "key-one" : "key-two" }, `${text}  `));
  return element("figure", {},
    element("figcaption", {}, element("b", {}, title), element("span", {}, ...keys)),
    picture);
}
