// The page that the admin address gives, in Chromium, before real servers that get real requests.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, Viewed } from "./browser.mjs";
import { Served, SPEC } from "./served.mjs";

const DEADLINE = { timeout: 120_000 };
const HOSTILE = "<img src=x onerror=alert(1)>";

/** What the spec says of the model `plain`, and the same with a gate before it. */
const PLAIN = "    serve: { name: plain, from: plain_engine }";
const GATED = `    serve: { name: plain, requires: [checked], from: plain_engine }
  checked:
    validate:
      from: plain_engine
      reference: tiny_onnx
      data: samples
      raw: { x: { dtype: float32, shape: [16] } }
      compare: { max_abs: 0.001 }`;
const MORE_INSTANCES = ["from: plain_engine }", "from: plain_engine, instances: 2 }"];
const SAMPLES = { "samples/x.bin": new Uint8Array(16 * 4) };

let browser;
before(async () => (browser = await launch()), DEADLINE);
after(() => browser?.close());

/** Runs with a server and its page, both of which are closed at the end whatever happens. */
async function visit(options, body) {
  const served = await Served.start(options);
  let viewed;
  try {
    viewed = await Viewed.open(browser, served.page, options);
    await viewed.until("it shows the models", ({ models }) => Object.keys(models).length > 0);
    await body(viewed, served);
  } finally {
    await viewed?.close();
    await served.stop();
  }
}

/** The last number of every line of a chart, by its label. */
function numbers({ values }) {
  return Object.fromEntries([...values.matchAll(/([a-z0-9 ]+?) ([\d.]+|–)(?: \S+)?  /g)].map(([, label, value]) => [label.trim(), Number(value)]));
}

describe("a server that works", DEADLINE, () => {
  let served;
  let viewed;
  before(async () => {
    // A single row waits for others: for as long as the test wants, and never for a whole batch.
    served = await Served.start({
      files: SAMPLES,
      edits: { [SPEC]: [PLAIN, GATED] },
      args: ["--watch", "--set", "max_delay_ms=20000"],
    });
    viewed = await Viewed.open(browser, served.page);
  }, DEADLINE);
  after(async () => {
    await viewed?.close();
    await served?.stop();
  });

  const MODELS = ["halves", "numbers", "plain", "tiny"];

  test("every model is shown with its state, versions and gates", async () => {
    const seen = await viewed.until("the server is ready", ({ health }) => health === "ready");
    const index = await served.ask("v2/repository/index", { body: {} });
    assert.deepEqual(Object.keys(seen.models).sort(), index.map(({ name }) => name).sort());
    assert.deepEqual(Object.keys(seen.models).sort(), MODELS);
    for (const [name, model] of Object.entries(seen.models)) {
      const { versions } = await served.ask(`v2/models/${name}/versions`);
      const rows = versions.map(({ version, state, deployment }) => [String(version), state, deployment.slice(0, 12), ""]);
      assert.equal(model.state, "ready");
      assert.deepEqual(model.tables.Versions, rows);
      assert.equal(model.facts.includes("1 gate passed"), name === "plain", model.facts);
    }
    assert.match(seen.models.tiny.facts, /cpu .* batches up to 8 .* no gates/);
    assert.match(seen.models.plain.facts, /no batching/);
  });

  test("every stage is a node, with how it ended and what it needs", async () => {
    const state = await served.ask("api/state");
    const [shown] = (await viewed.read()).pipelines;
    const [{ name, spec, stages }] = state.pipelines;
    assert.deepEqual([shown.name, shown.spec, shown.problems], [name, spec, []]);
    assert.deepEqual(shown.stages.map(({ name, is }) => [name, is]), stages.map(({ name, outcome }) => [name, outcome]));
    assert.ok(stages.length === 12 && stages.every(({ outcome }) => outcome === "built"), JSON.stringify(stages));
    assert.equal(shown.edges, stages.flatMap(({ needs }) => needs).length);
    const engine = shown.stages.find((stage) => stage.name === "tiny_engine");
    assert.match(engine.title, /^build tiny_engine: built in .*\nkey [0-9a-f]{64}\nartifact [0-9a-f]{64}$/m);
  });

  test("requests move the charts of the model that was asked, and of no other", async () => {
    const idle = (await viewed.read()).models;
    assert.deepEqual(idle.tiny.phases, []);
    for (let i = 0; i < 20; i += 1) await served.infer("tiny", 8);
    // What happened stays in the line, however late the test looks.
    const moved = ({ lines: [line] }) => line.high > 0;
    const { models } = await viewed.until("the charts move", ({ models: { tiny } }) =>
      moved(tiny.charts["Requests a second"]) && tiny.charts.Latency.lines.every(({ drawn }) => drawn));
    assert.deepEqual(models.tiny.phases.map((text) => text.split(" ")[0]), ["parse", "queue", "upload", "compute", "download", "encode"]);
    assert.deepEqual(models.tiny.tables["Batch sizes"], [["8", "", "20"]]);
    assert.deepEqual([models.plain.phases, models.plain.tables["Batch sizes"]], [[], undefined]);
    assert.ok(!moved(models.plain.charts["Requests a second"]));
    assert.ok(models.plain.charts.Latency.lines.every(({ drawn }) => !drawn));
    assert.ok(Object.values(models).every(({ charts }) => charts["Requests a second"].lines.every(({ drawn }) => drawn)));
  });

  test("a request that waits for a batch is shown as waiting until it is answered", async () => {
    const waits = served.infer("tiny", 1);
    const inside = ({ models }) => numbers(models.tiny.charts["Requests in the server"]);
    await viewed.until("one waits", (seen) => inside(seen).waiting === 1);
    await Promise.all([waits, served.infer("tiny", 7)]);
    await viewed.until("none waits", (seen) => inside(seen).waiting === 0 && inside(seen)["in flight"] === 0);
  });

  test("a version that is taken and one that is refused are shown with the reasons", async () => {
    served.edit(SPEC, MORE_INSTANCES);
    await viewed.until("the next version serves", ({ models }) => / 2 instances /.test(models.plain.facts));
    served.edit(SPEC, ["from: plain_engine, instances: 2", "from: numbers_engine"]);
    const seen = await viewed.until("a version is refused", ({ reloads }) => reloads[0]?.[3] === "refused");
    const [refused, accepted] = seen.reloads;
    assert.deepEqual(accepted.slice(1, 4), ["plain", "1 → 2", "accepted"]);
    assert.deepEqual(refused.slice(1, 4), ["plain", "2 → 3", "refused"]);
    assert.match(accepted.at(-1), /passed interface/);
    assert.match(refused.at(-1), /^(passed [^`]*)*failed interface: input `x` is gone; /, "the reason, and that once");
    assert.equal(seen.models.plain.tables.Versions[0][0], "2");
  });

  test("the button takes the version before back, once a person said yes", async () => {
    const { models, facts } = await viewed.read();
    assert.deepEqual(models.plain.buttons, ["Roll back"]);
    const button = await viewed.page.$("#models button");
    await viewed.until("the page was drawn again", (seen) => seen.facts !== facts);
    assert.ok(await button.evaluate((button) => button.isConnected), "what is being pressed stays");
    await button.click();
    const seen = await viewed.until("it is rolled back", ({ reloads }) => reloads[0][3] === "rolled back");
    assert.deepEqual(seen.reloads[0].slice(1, 3), ["plain", "2 → 1"]);
    assert.equal(viewed.dialogs.length, 1);
    assert.match(viewed.dialogs[0], /plain/);
    const { versions } = await served.ask("v2/models/plain/versions");
    assert.equal(versions.find(({ state }) => state === "serving").version, 1);
    assert.match(seen.models.plain.facts, / 1 instance /);
  });

  for (const [name, width, scheme] of [["wide", 1280, "light"], ["narrow", 390, "light"], ["dark", 1280, "dark"]]) {
    test(`everything fits a ${name} screen (${width} pixels, ${scheme}) and can be read`, async () => {
      await viewed.look(width, scheme);
      await viewed.screenshot(name);
      assert.equal(await viewed.page.evaluate(() => document.documentElement.scrollWidth), width);
      assert.deepEqual(await viewed.page.evaluate(outside), []);
      assert.deepEqual(await viewed.page.evaluate(faint), []);
      const ground = await viewed.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const dark = ground.match(/\d+/g).every((part) => Number(part) < 64);
      assert.equal(dark, scheme === "dark", ground);
    });
  }

  test("nothing of all this failed, was an error, or came from elsewhere", () => {
    assert.deepEqual(viewed.wrong, []);
  });
});

describe("a server that goes away", DEADLINE, () => {
  test("the page says so, shows no old number as live, and goes on when it is back", () =>
    visit({ args: ["--watch"] }, async (viewed, served) => {
      served.edit(SPEC, MORE_INSTANCES);
      await viewed.until("there is a version before", ({ models }) => models.plain.buttons.length === 1);
      await served.end();
      const gone = await viewed.until("it says so", ({ health }) => health === "no answer");
      assert.match(gone.problem, /^The server does not answer/);
      assert.ok(await viewed.page.$eval("main", (main) => main.classList.contains("old")));
      await viewed.screenshot("gone");
      await viewed.page.click("#models button");
      await viewed.until("what cannot be done is told", () => /^Failed to roll back plain: ./.test(viewed.dialogs[1]));
      await served.run();
      const back = await viewed.until("it is back", ({ health }) => health === "ready");
      assert.equal(back.problem, null);
      assert.ok(!(await viewed.page.$eval("main", (main) => main.classList.contains("old"))));
      const [{ stages }] = back.pipelines;
      assert.ok(stages.every(({ is }) => is === "cached"), JSON.stringify(stages));
    }));

  test("a server that hangs is one that does not answer", () =>
    visit({}, async (viewed, served) => {
      served.signal("SIGSTOP");
      const hangs = await viewed.until("it says so", ({ health }) => health === "no answer");
      assert.match(hangs.problem, /^The server does not answer/);
      served.signal("SIGCONT");
      await viewed.until("it is back", ({ health }) => health === "ready");
    }));
});

describe("guards", DEADLINE, () => {
  test("with a token the page needs it, and a browser's password will do", async () => {
    const credentials = { username: "anybody", password: "a-token-of-this-test" };
    await visit({ env: { TRT_PIPELINE_TOKEN: credentials.password }, credentials }, async (viewed, served) => {
      assert.deepEqual(viewed.wrong.filter((what) => !what.startsWith("401: ")), []);
      for (const path of ["", "page.js", "api/state"]) {
        const answer = await fetch(served.page + path, { signal: AbortSignal.timeout(30_000) });
        assert.deepEqual([answer.status, answer.headers.get("www-authenticate")?.split(" ")[0]], [401, "Basic"], path);
      }
      const wrong = await Viewed.open(browser, served.page, { credentials: { username: "", password: "another" } });
      assert.equal(wrong.answer.status(), 401);
      await wrong.close();
    });
  });

  test("the page may ask its own address alone, whatever is put into it", () =>
    visit({}, async (viewed, served) => {
      assert.match(viewed.answer.headers()["content-security-policy"], /default-src 'none'/);
      const asked = await viewed.page.evaluate(async (other) => {
        const answers = [];
        document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => answers.push(effectiveDirective));
        await fetch(other).catch(() => {});
        const script = document.body.appendChild(document.createElement("script"));
        script.textContent = "globalThis.harmed = true";
        const image = document.body.appendChild(new Image());
        await new Promise((resolve) => {
          image.onerror = resolve;
          image.src = other;
        });
        return { answers, harmed: globalThis.harmed === true };
      }, `http://${served.http}/v2`);
      assert.deepEqual(asked.answers.sort(), ["connect-src", "img-src", "script-src-elem"]);
      assert.ok(!asked.harmed);
    }));

  test("hostile paths, errors and names are text, and fit a narrow screen", () => {
    const name = "<b>x</b>"; // as long as what it replaces in the file
    const edits = { "halves.onnx": ["fp16_out", name] };
    return visit({ title: HOSTILE, edits, args: ["--watch"] }, async (viewed, served) => {
      served.edit("halves.onnx", [name, "fp16_out"]);
      const refused = await viewed.until("a version is refused", ({ reloads }) => reloads[0]?.[3] === "refused");
      assert.ok(refused.reloads[0].at(-1).includes(name), String(refused.reloads[0]));
      const failing = `  failing: { command: { run: [sh, -c, "echo '${HOSTILE}' >&2; exit 3"] } }\n\n  plain_engine:`;
      served.edit(SPEC, ["  plain_engine:", failing]);
      const failed = await viewed.until("a stage failed", ({ pipelines: [{ stages }] }) => stages.some(({ is }) => is === "failed"));
      assert.ok(failed.pipelines[0].problems.some((text) => text.startsWith("failing: ")), String(failed.pipelines[0].problems));
      served.edit(SPEC, ["from: plain_engine", `from: "${HOSTILE}"`]);
      const broken = await viewed.until("the spec is broken", ({ pipelines: [{ problems }] }) => /unknown stage/.test(problems[0]));
      assert.ok(broken.pipelines[0].problems[0].includes(HOSTILE), broken.pipelines[0].problems[0]);
      assert.ok(broken.pipelines[0].spec.includes(HOSTILE), broken.pipelines[0].spec);
      assert.equal(await viewed.page.$$eval("main img, main td b", (made) => made.length), 0);
      await viewed.look(390, "light");
      await viewed.screenshot("hostile");
      assert.equal(await viewed.page.evaluate(() => document.documentElement.scrollWidth), 390);
      assert.deepEqual([viewed.wrong, viewed.dialogs], [[], []]);
    });
  });
});

/** In the page: text that reaches over the screen's edge where nothing scrolls. */
function outside() {
  const over = [...document.querySelectorAll("body *")].filter((node) =>
    !node.closest(".scroll") && node.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5);
  return over.map((node) => `${node.tagName} ${node.textContent}`);
}

/** In the page: text that differs from what is behind it by less than WCAG's 4.5 to 1. */
function faint() {
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = parts(colour).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (node) => {
    const ground = getComputedStyle(node).backgroundColor;
    return parts(ground)[3] === 0 ? behind(node.parentElement) : ground;
  };
  const shown = [...document.querySelectorAll("body *:not(script, title)")].filter((node) =>
    node.checkVisibility() && [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()));
  const found = shown.map((node) => {
    const style = getComputedStyle(node);
    const [dark, light] = [luminance(node instanceof SVGElement ? style.fill : style.color), luminance(behind(node))].sort((a, b) => a - b);
    return { text: node.textContent, ratio: (light + 0.05) / (dark + 0.05) };
  });
  return found.filter(({ ratio }) => ratio < 4.5).map(({ text, ratio }) => `${text}: ${ratio.toFixed(2)}`);
}
