// The stages of a pipeline as a graph, from left to right.

import { drawn, element } from "./dom.js";
import { duration } from "./units.js";

const WIDE = 168;
const HIGH = 54;
const GAP_X = 46;
const GAP_Y = 18;
const MARGIN = 4;

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

// Where every stage is, and every edge that passes a column: it has a lane there, so that it does not
// seem to begin or end at the stages it passes.
function laid(stages) {
  const column = columns(stages);
  const filled = [];
  const place = new Map();
  const edges = [];
  const take = (at, high) => {
    const y = filled[at] ?? MARGIN;
    filled[at] = y + high + GAP_Y;
    return [MARGIN + at * (WIDE + GAP_X), y];
  };
  for (const stage of stages) {
    const at = column.get(stage.name);
    place.set(stage.name, take(at, HIGH));
    for (const need of stage.needs.filter((need) => place.has(need))) {
      const lanes = [];
      for (let between = column.get(need) + 1; between < at; between += 1) lanes.push(take(between, 0));
      edges.push({ from: need, lanes, to: stage.name });
    }
  }
  const width = Math.max(1, filled.length) * (WIDE + GAP_X) - GAP_X + 2 * MARGIN;
  const height = Math.max(HIGH + GAP_Y + MARGIN, ...filled) - GAP_Y + MARGIN;
  return { place, edges, width, height };
}

function route({ from, lanes, to }, place) {
  const [fromX, fromY] = place.get(from);
  const [toX, toY] = place.get(to);
  let [x, y] = [fromX + WIDE, fromY + HIGH / 2];
  let line = `M${x} ${y}`;
  for (const [nextX, nextY] of [...lanes, [toX, toY + HIGH / 2]]) {
    const bend = (x + nextX) / 2;
    line += `C${bend} ${y} ${bend} ${nextY} ${nextX} ${nextY}`;
    [x, y] = [nextX, nextY];
    if (nextX < toX) {
      x += WIDE;
      line += `H${x}`;
    }
  }
  return line;
}

export function drawPipeline(stages) {
  const { place, edges, width, height } = laid(stages);
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "stages", style: `width: ${width}px` },
    drawn("defs", {}, drawn("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      drawn("path", { d: "M0 0L8 4L0 8z" }))));
  for (const edge of edges) {
    picture.append(drawn("path", { class: "edge", "marker-end": "url(#arrow)", d: route(edge, place) }));
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
