// The spec's JSON Schema in the real yaml-language-server: what a user sees while writing a spec.
// It knows the schema only, so a new stage kind needs no change here.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Editor } from "./editor.mjs";

const root = new URL("../../", import.meta.url);
const schemaUri = new URL("schemas/pipeline.schema.json", root).href;
const schema = JSON.parse(readFileSync(new URL(schemaUri), "utf8"));

// Texts that need no modeline: the settings give their names to the schema, as a user may.
let count = 0;
const fresh = () => new URL(`unsaved/${count++}.pipeline.yaml`, root).href;
const spec = (...lines) => ["version: 1", "name: sample", "stages:", ...lines, ""].join("\n");

const DEADLINE = { timeout: 60_000 };
let editor;
before(async () => {
  editor = await Editor.start(root.href, { [schemaUri]: ["*.pipeline.yaml"] });
  await editor.settled(fresh(), "version: []\n");
}, DEADLINE);
after(() => editor.stop());

/** One line per diagnostic: the 1-based line it stands on and its message. */
async function reported(text) {
  const diagnostics = await editor.diagnose(fresh(), text);
  return diagnostics.map(({ range, message }) => `${range.start.line + 1}: ${message}`).join("\n");
}

async function offered(text) {
  return (await editor.complete(fresh(), text)).map((item) => item.label);
}

describe("examples", DEADLINE, () => {
  const folder = new URL("pipelines/", root);
  const examples = readdirSync(folder, { recursive: true }).filter((file) => file.endsWith("pipeline.yaml"));

  test("the project that `init` writes has no diagnostics", async () => {
    const text = readFileSync(new URL("src/cli/starter/pipeline.yaml", root), "utf8");
    const [modeline, ...rest] = text.split("\n");
    assert.equal(modeline, "# yaml-language-server: $schema=pipeline.schema.json");
    assert.equal(await reported(rest.join("\n")), "");
  });

  test("there are some", () => assert.ok(examples.length >= 3, String(examples)));

  for (const file of examples) {
    const text = readFileSync(new URL(file, folder), "utf8");

    test(`${file} names the schema in its first line and has no diagnostics`, async () => {
      assert.match(text, /^# yaml-language-server: \$schema=(\.\.\/)+schemas\/pipeline\.schema\.json\n/);
      assert.deepEqual(await editor.diagnose(new URL(file, folder).href, text), []);
    });

    test(`${file} is held to the schema its first line names`, async () => {
      const uri = new URL(`${file}.edited.yaml`, folder).href;
      const diagnostics = await editor.diagnose(uri, `${text}stagess: {}\n`);
      assert.deepEqual(diagnostics.map((it) => it.range.start.line), [text.split("\n").length - 1]);
    });
  }
});

describe("mistakes", DEADLINE, () => {
  test("a misspelt field is reported on its line", async () => {
    const found = await reported(spec("  engine:", "    build:", "      from: slim", "      bakend: cpu", "      backend: cpu"));
    assert.equal(found, "7: Property bakend is not allowed.");
  });

  test("a misspelt stage kind is reported on its line", async () => {
    const found = await reported(spec("  onnx:", "    convrt: { model: m.onnx }"));
    assert.match(found, /^5: Property convrt is not allowed\.$/m);
  });

  test("a wrong enum value is reported on its line, with the right ones", async () => {
    const found = await reported(spec("  engine:", "    build:", "      from: slim", "      backend: gpu"));
    assert.match(found, /^7: Value is not accepted\. Valid values: .*"cpu"/);
    assert.equal(found.split("\n").length, 1, found);
  });

  test("a wrong type is reported on its line", async () => {
    const found = await reported(spec("  api:", "    serve:", "      from: engine", "      instances: many"));
    assert.equal(found, '7: Incorrect type. Expected "integer".');
  });

  test("a wrong type in a list is reported on its line", async () => {
    const found = await reported(spec("  api:", "    serve:", "      from: engine", "      requires:", "        - a", "        - {}"));
    assert.match(found, /^9: Incorrect type\./);
    assert.equal(found.split("\n").length, 1, found);
  });

  test("a wrong type deep in lists and maps is reported on its line", async () => {
    const profile = ["      profiles:", "        - image:", "            min: [1, 8]", "            opt: [1, many]"];
    const found = await reported(spec("  x:", "    build:", "      from: slim", ...profile, "            max: [1, 8]"));
    assert.equal(found, '10: Incorrect type. Expected "integer".');
  });

  test("a misspelt field in a map that a variable may replace is reported on its line", async () => {
    const found = await reported(
      spec("  x:", "    serve:", "      from: a", "      batching:", "        max_batch: 1", "        max_delay: 2"),
    );
    assert.equal(found, "9: Property max_delay is not allowed.");
  });

  test("a missing field is reported", async () => {
    assert.match(await reported(spec("  onnx:", "    convert: {}")), /^5: Missing property "model"\.$/m);
  });

  test("a stage without a kind is reported, and so is one with two", async () => {
    assert.match(await reported(spec("  onnx:", "    needs: [other]")), /^4: Missing property/);
    const two = await reported(spec("  onnx:", "    convert: { model: m.onnx }", "    optimize: { from: x }"));
    assert.match(two, /^5: Matches multiple schemas/);
  });

  test("an amount of memory is a number or has a unit", async () => {
    const found = await reported(
      spec("  x:", "    build:", "      from: a", "      tensorrt:", "        workspace: 4GiB", "        tactic_dram: 4096", "        tiling_l2_limit: 4G"),
    );
    assert.match(found, /^10: String does not match the pattern/);
    assert.equal(found.split("\n").length, 1, found);
  });

  test("a misspelt setting deep in a map of maps is reported on its line", async () => {
    const found = await reported(spec("  x:", "    build:", "      from: a", "      tensorrt:", "        preview_features:", "          sharing: true"));
    assert.equal(found, "9: Property sharing is not allowed.");
  });

  test("a variable may stand for a number, a word of an enum or a map", async () => {
    const found = await reported(
      spec(
        "  engine: { build: { from: slim, backend: '${backend}' } }",
        "  api: { serve: { from: engine, requires: '${checks}', instances: '${n}', batching: '${batching}' } }",
      ),
    );
    assert.equal(found, "");
  });
});

describe("completion", DEADLINE, () => {
  const kinds = ["convert", "optimize", "build", "validate", "serve", "command"];

  test("an empty stage offers every kind", async () => {
    const labels = await offered(spec("  onnx:", "    |"));
    assert.deepEqual(kinds.filter((kind) => !labels.includes(kind)), []);
  });

  test("the words of an enum are offered, and nothing else", async () => {
    const labels = await offered(spec("  engine:", "    build:", "      from: slim", "      backend: |"));
    assert.ok(labels.includes("cpu"), String(labels));
    assert.deepEqual(await offered(spec("  x: { validate: { accuracy: { metric: t| } } }")), ["top1", "top5"]);
  });

  test("only fields that are not there yet are offered", async () => {
    const labels = await offered(spec("  engine:", "    build:", "      from: slim", "      |"));
    assert.ok(labels.includes("backend") && labels.includes("profiles"), String(labels));
    assert.ok(!labels.includes("from") && !labels.includes("model"), String(labels));
  });

  test("`null` is never offered", async () => {
    const labels = await offered(spec("  x:", "    command:", "      deterministic: |"));
    assert.deepEqual(labels.sort(), ["false", "true"]);
  });

  test("fields and words are offered inside a map that a variable may replace", async () => {
    const accuracy = ["  x:", "    validate:", "      from: a", "      accuracy:"];
    const fields = await offered(spec(...accuracy, "        |"));
    assert.ok(fields.includes("metric") && fields.includes("at_least"), String(fields));
    assert.deepEqual(await offered(spec(...accuracy, "        metric: |")), ["top1", "top5"]);
    const profile = await offered(spec("  x:", "    build:", "      profiles:", "        - image:", "            |"));
    assert.deepEqual(["min", "opt", "max"].filter((field) => !profile.includes(field)), []);
  });

  test("the default is offered where there is one", async () => {
    assert.deepEqual(await offered(spec("  x:", "    serve:", "      instances: |")), ["1"]);
  });
});

describe("hover", DEADLINE, () => {
  // In a choice, the typed form comes first.
  const inner = (node) => {
    if (node.$ref) return inner(node.$ref.slice(2).split("/").reduce((at, part) => at[part], schema));
    return node.anyOf ? inner(node.anyOf[0]) : node;
  };
  const documented = (path) => {
    let node = schema;
    for (const key of path) {
      node = inner(node);
      node = node.properties?.[key] ?? node.additionalProperties;
      assert.ok(node, `the schema has no ${path.join(".")}`);
    }
    return node.description;
  };
  // The server shows Markdown: it escapes what the text has in common with Markdown's syntax.
  const words = (text) => text.replaceAll(/[^a-zA-Z0-9]+/g, " ").trim();

  test("the words of an enum are explained", async () => {
    const text = await editor.hover(fresh(), spec("  x:", "    validate: { accuracy: { metric: to|p1 } }"));
    assert.match(text, /`top1`: \S+/);
    assert.match(text, /`top5`: \S+/);
  });

  for (const [name, text, path] of [
    ...Object.keys(inner(schema.properties.stages.additionalProperties).properties).map((kind) => [
      `\`${kind}\` in a stage`,
      spec("  x:", `    ${kind[0]}|${kind.slice(1)}: {}`),
      ["stages", "x", kind],
    ]),
    ["a reference", spec("  onnx:", "    convert: { mo|del: m.onnx }"), ["stages", "onnx", "convert", "model"]],
    ["an enum", spec("  x:", "    build: { from: a, back|end: cpu }"), ["stages", "x", "build", "backend"]],
    ["a number", spec("  x:", "    serve: { from: a, inst|ances: 2 }"), ["stages", "x", "serve", "instances"]],
    ["a variable", spec("  x:", "    serve: { from: a, inst|ances: '${n}' }"), ["stages", "x", "serve", "instances"]],
    ["a map", spec("  x:", "    serve: { from: a, bat|ching: { max_batch: 1 } }"), ["stages", "x", "serve", "batching"]],
    [
      "a number in a map",
      spec("  x:", "    serve: { from: a, batching: { max_b|atch: 1 } }"),
      ["stages", "x", "serve", "batching", "max_batch"],
    ],
    [
      "an enum in a map",
      spec("  x:", "    validate: { accuracy: { met|ric: top1 } }"),
      ["stages", "x", "validate", "accuracy", "metric"],
    ],
    ["a top-level key", "version: 1\nna|me: x\nstages: {}\n", ["name"]],
  ]) {
    test(`${name} shows its doc text`, async () => {
      const doc = documented(path);
      assert.ok(doc, `the schema has no description of ${path.join(".")}`);
      assert.ok(words(await editor.hover(fresh(), text)).includes(words(doc)), `${path.join(".")}: ${doc}`);
    });
  }

  test("every setting of TensorRT shows its doc text", async () => {
    const names = Object.keys(schema.definitions.TensorRt.properties);
    assert.ok(names.length > 30, String(names));
    for (const name of names) {
      const doc = documented(["stages", "x", "build", "tensorrt", name]);
      const text = spec("  x:", "    build:", "      from: a", "      tensorrt:", `        ${name[0]}|${name.slice(1)}: `);
      assert.ok(words(await editor.hover(fresh(), text)).includes(words(doc)), `${name}: ${doc}`);
    }
  });
});
