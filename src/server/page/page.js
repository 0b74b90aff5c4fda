// Asks the server for its state once a second and draws it. Rates and percentiles are of the time
// since it was asked before: the difference of two states.

import { byId, element, replace } from "./dom.js";
import { chart } from "./chart.js";
import { drawPipeline } from "./graph.js";
import { bytes, clock, count, duration, milliseconds, percentile, since, valueOr } from "./units.js";

const PERIOD_MS = 1000;
const PATIENCE_MS = 4000;
const KEPT_MS = 180_000;
const PHASES = ["parse", "queue", "upload", "compute", "download", "encode"];

const histories = new Map();
let previous = null;

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, cache: "no-store" });
  const text = await answer.text();
  if (!answer.ok) {
    let reason = text;
    try { reason = JSON.parse(text).error ?? text; } catch { /* not JSON: shown as it is */ }
    throw new Error(reason || `${path}: status ${answer.status}`);
  }
  return text ? JSON.parse(text) : null;
}

// Says what keeps the page from showing what is; what it showed last stays, marked as old.
function complain(message) {
  const problem = byId("problem");
  problem.hidden = !message;
  problem.textContent = message ?? "";
  document.querySelector("main").classList.toggle("old", Boolean(message));
}

// What happened between two states of one version of a model.
function difference(now, before, seconds) {
  const same = before && before.version === now.version && now.answered >= before.answered;
  const buckets = same ? now.latency.counts.map((n, i) => n - before.latency.counts[i]) : [];
  const upper = now.latency.upper_ns;
  return {
    answered: same ? (now.answered - before.answered) / seconds : null,
    refused: same ? (now.failed - before.failed) / seconds : null,
    p50: percentile(upper, buckets, 0.5),
    p99: percentile(upper, buckets, 0.99),
    queue: now.queue_depth,
    running: now.in_flight,
  };
}

function remember(state) {
  const at = state.now_ms;
  // A server that was started anew counts from the start.
  const same = previous?.server.started_ms === state.server.started_ms && previous.now_ms < at;
  for (const model of state.models) {
    if (!model.live) continue;
    const before = same ? previous.models.find((other) => other.name === model.name)?.live : null;
    const seconds = same ? (at - previous.now_ms) / 1000 : null;
    const history = (histories.get(model.name) ?? []).filter((point) => point.at < at && point.at >= at - KEPT_MS);
    history.push({ at, ...difference(model.live, before, seconds) });
    histories.set(model.name, history);
  }
  for (const name of [...histories.keys()]) {
    if (!state.models.some((model) => model.name === name)) histories.delete(name);
  }
}

function header(state) {
  const ready = state.models.every((model) => model.state === "READY");
  const health = byId("health");
  health.textContent = state.models.length === 0 ? "no models" : ready ? "ready" : "not ready";
  health.className = `badge ${ready && state.models.length > 0 ? "good" : "bad"}`;
  const facts = [
    `version ${state.server.version}`,
    `up ${since(state.now_ms - state.server.started_ms)}`,
    state.server.memory_bytes === null ? null : `${bytes(state.server.memory_bytes)} of memory`,
  ];
  byId("facts").textContent = facts.filter(Boolean).join("  ·  ");
}

function phases(live) {
  const mean = ({ count, total_ns }) => (count > 0 ? total_ns / count : 0);
  const totals = PHASES.map((phase) => [phase, mean(live.phases[phase])]);
  const sum = totals.reduce((total, [, took]) => total + took, 0);
  if (sum === 0) return element("p", { class: "quiet" }, "no requests yet");
  const bar = element("div", { class: "bar", role: "img", "aria-label": "mean time by phase" });
  const legend = element("div", { class: "legend" });
  for (const [phase, took] of totals) {
    const colour = `background: var(--${phase})`;
    bar.append(element("span", { style: `${colour}; flex: ${took / sum}`, title: phase }));
    legend.append(element("span", {}, element("i", { style: colour }), `${phase} ${duration(took)}`));
  }
  return element("div", {}, bar, legend);
}

function batches(live) {
  const sizes = live.batch_sizes;
  if (sizes.length === 0) return null;
  const most = Math.max(...sizes.map(({ runs }) => runs));
  const rows = sizes.map(({ size, runs }) =>
    element("tr", {},
      element("td", { class: "number", style: "width: 5em" }, String(size)),
      element("td", {}, element("div", { class: "bar", style: `width: ${Math.max(1, (100 * runs) / most)}%; background: var(--one)` })),
      element("td", { class: "number", style: "width: 8em" }, count(runs))));
  const head = element("tr", {}, ...["samples", "runs", ""].map((text) => element("th", {}, text)));
  return element("div", {}, element("h4", {}, "Batch sizes"), element("table", {}, head, ...rows));
}

function versions(model) {
  const rows = model.versions.map((version) =>
    element("tr", {},
      element("td", {}, String(version.version)),
      element("td", {}, state(version.state)),
      element("td", {}, element("code", { title: version.deployment }, version.deployment.slice(0, 12))),
      element("td", {}, version.watched_for === null ? "" : `watched for ${Math.ceil(version.watched_for)} s more`)));
  const head = element("tr", {},
    ...["version", "state", "deployment", ""].map((text) => element("th", {}, text)));
  const parts = [element("h4", {}, "Versions"), element("table", {}, head, ...rows)];
  if (model.can_roll_back) {
    const button = element("button", { type: "button", value: model.name }, "Roll back");
    button.addEventListener("click", () => rollBack(button.value));
    parts.push(element("p", {}, button));
  }
  return element("div", {}, ...parts);
}

async function rollBack(name) {
  if (!confirm(`Let the version before answer the requests for ${name}?`)) return;
  try {
    await ask(`v2/models/${encodeURIComponent(name)}/rollback`, { method: "POST" });
    await refresh();
  } catch (error) {
    alert(`Failed to roll back ${name}: ${error.message}`);
  }
}

function state(word) {
  const moods = { READY: "good", LOADING: "warn", UNLOADING: "warn", serving: "good", standby: "warn", kept: "quiet" };
  const mood = moods[word] ?? "bad";
  return element("span", { class: `badge ${mood}` }, word.toLowerCase());
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function modelCard(model) {
  const title = element("div", { class: "title" },
    element("h3", {}, model.name),
    state(model.state),
    model.live && element("span", { class: "quiet" }, [
      model.backend,
      counted(model.instances, "instance"),
      model.max_batch === null ? "no batching" : `batches up to ${model.max_batch}`,
      model.requires === 0 ? "no gates" : `${counted(model.requires, "gate")} passed`,
    ].join("  ·  ")));
  const card = element("article", { class: "card" }, title);
  if (model.reason) card.append(element("p", { class: "problem" }, model.reason));
  if (model.live) {
    const history = histories.get(model.name) ?? [];
    const series = (name) => history.map((point) => ({ at: point.at, value: point[name] }));
    card.append(
      element("div", { class: "charts" },
        chart("Requests a second", count, KEPT_MS, [
          { label: "answered", points: series("answered") },
          { label: "not answered", points: series("refused") },
        ]),
        chart("Latency", milliseconds, KEPT_MS, [
          { label: "p50", points: series("p50") },
          { label: "p99", points: series("p99") },
        ]),
        chart("Requests in the server", count, KEPT_MS, [
          { label: "waiting", points: series("queue") },
          { label: "in flight", points: series("running") },
        ])),
      element("h4", {}, "Mean time of a request, by phase"),
      phases(model.live));
    const details = element("div", { class: "charts" }, versions(model));
    const sizes = batches(model.live);
    if (sizes) details.append(sizes);
    card.append(details);
  } else {
    card.append(versions(model));
  }
  return card;
}

// The reason, unless it is that of a gate, and the gates.
function why(record) {
  const told = record.gates.some((gate) => !gate.passed && record.reason?.includes(gate.detail));
  return [told ? "" : valueOr(record.reason, ""), ...record.gates.map((gate) =>
    element("div", {},
      element("span", { class: gate.skipped ? "quiet" : gate.passed ? "good" : "bad" },
        gate.skipped ? "skipped " : gate.passed ? "passed " : "failed "),
      `${gate.name}${gate.output === null ? "" : ` of ${gate.output}`}${gate.detail ? `: ${gate.detail}` : ""}`))];
}

function reloads(state) {
  if (state.reloads.length === 0) return element("p", { class: "quiet" }, "none yet");
  const rows = [...state.reloads].reverse().map((record) => {
    const mood = { accepted: "good", loaded: "good", refused: "bad" }[record.outcome] ?? "warn";
    const change = `${valueOr(record.from, "none")} → ${valueOr(record.to, "none")}`;
    return element("tr", {},
      element("td", {}, clock(record.time_ms)),
      element("td", {}, record.model),
      element("td", {}, change),
      element("td", {}, element("span", { class: `badge ${mood}` }, record.outcome.replaceAll("_", " "))),
      element("td", {}, duration(record.seconds * 1e9)),
      element("td", { class: "why" }, ...why(record)));
  });
  const head = element("tr", {},
    ...["time", "model", "version", "outcome", "took", "why"].map((text) => element("th", {}, text)));
  return element("table", { class: "records" }, head, ...rows);
}

function pipelines(state) {
  if (state.pipelines.length === 0) return element("p", { class: "quiet" }, "none");
  return element("div", {}, ...state.pipelines.map((pipeline) => {
    const card = element("article", { class: "card" },
      element("div", { class: "title" },
        element("h3", {}, pipeline.name),
        element("span", { class: "quiet" }, pipeline.spec)));
    if (pipeline.error) {
      card.append(element("p", { class: "problem" }, `The last good state is shown and served.\n${pipeline.error}`));
    }
    card.append(drawPipeline(pipeline.stages));
    return card;
  }));
}

async function refresh() {
  try {
    const state = await ask("api/state", { signal: AbortSignal.timeout(PATIENCE_MS) });
    remember(state);
    header(state);
    replace("models", ...state.models.map(modelCard));
    replace("reloads", reloads(state));
    replace("pipelines", pipelines(state));
    previous = state;
    complain(null);
  } catch (error) {
    const health = byId("health");
    health.textContent = "no answer";
    health.className = "badge bad";
    byId("facts").textContent = "";
    const last = previous ? ` What is below is from ${clock(previous.now_ms)}.` : "";
    complain(`The server does not answer: ${error.message}.${last}`);
  }
}

async function run() {
  await refresh();
  setTimeout(run, PERIOD_MS);
}

run();
