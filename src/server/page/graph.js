// The stages of a pipeline as a graph, from left to right.

import { drawn, element } from "./dom.js";
import { duration } from "./units.js";

const WIDE = 168;
const HIGH = 54;
const GAP_X = 46;
const GAP_Y = 18;

// The longest way from a source, so that every edge goes to the right.
function columns(stages) {
  const column = new Map();
  for (const stage of stages) {
    const before = stage.needs.map((need) => column.get(need) ?? 0);
    column.set(stage.name, before.length === 0 ? 0 : Math.max(...before) + 1);
  }
  return column;
}

function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

export function drawPipeline(stages) {
  const column = columns(stages);
  const rows = new Map();
  const place = new Map();
  for (const stage of stages) {
    const at = column.get(stage.name);
    const row = rows.get(at) ?? 0;
    rows.set(at, row + 1);
    place.set(stage.name, [4 + at * (WIDE + GAP_X), 4 + row * (HIGH + GAP_Y)]);
  }
  const width = Math.max(1, rows.size) * (WIDE + GAP_X) - GAP_X + 8;
  const height = Math.max(1, ...rows.values()) * (HIGH + GAP_Y) - GAP_Y + 8;
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "stages", style: `width: ${width}px` },
    drawn("defs", {}, drawn("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      drawn("path", { d: "M0 0L8 4L0 8z" }))));
  for (const stage of stages) {
    const [x, y] = place.get(stage.name);
    for (const need of stage.needs) {
      if (!place.has(need)) continue;
      const [fromX, fromY] = place.get(need);
      const [startX, startY, endY] = [fromX + WIDE, fromY + HIGH / 2, y + HIGH / 2];
      const bend = (x - startX) / 2;
      picture.append(drawn("path", { class: "edge", "marker-end": "url(#arrow)", d: `M${startX} ${startY}C${startX + bend} ${startY} ${x - bend} ${endY} ${x} ${endY}` }));
    }
  }
  for (const stage of stages) {
    const [x, y] = place.get(stage.name);
    const took = stage.seconds === null ? "" : ` in ${duration(stage.seconds * 1e9)}`;
    const ending = stage.outcome === null ? "not run" : `${stage.outcome}${stage.outcome === "built" ? took : ""}`;
    const title = [`${stage.kind} ${stage.name}: ${ending}`, stage.reason, stage.key && `key ${stage.key}`, stage.artifact && `artifact ${stage.artifact}`];
    picture.append(drawn("g", { class: `stage ${stage.outcome ?? ""}`, transform: `translate(${x} ${y})` },
      drawn("title", {}, title.filter(Boolean).join("\n")),
      drawn("rect", { width: WIDE, height: HIGH, rx: 6 }),
      drawn("text", { x: 10, y: 22 }, shortened(stage.name, 20)),
      drawn("text", { x: 10, y: 42, class: "quiet" }, shortened(`${stage.kind} · ${ending}`, 27))));
  }
  const failed = stages.filter((stage) => stage.outcome === "failed" && stage.reason);
  return element("div", { class: "scroll" }, picture,
    ...failed.map((stage) => element("p", { class: "problem" }, `${stage.name}: ${stage.reason}`)));
}
