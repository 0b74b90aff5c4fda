// A server of ours with a copy of tests/fixtures/serving, and the requests that people's programs
// would send it. Knows nothing of browsers.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

const FIXTURES = new URL("../fixtures/serving/", import.meta.url).pathname;
/** The spec's file. */
export const SPEC = "pipeline.yaml";
const DEADLINE_MS = 30_000;

export class Served {
  /** Where to ask: `http` and `admin`, as `127.0.0.1:PORT`. */
  http;
  admin;
  #folder;
  #process;
  #errors;
  #arguments;

  /** `title` is in the name of its folder; `files` are added to it and `edits` made in it first. */
  static async start({ title = "page", files = {}, edits = {}, args = [], env = {} } = {}) {
    const served = new Served();
    served.#folder = mkdtempSync(join(tmpdir(), `${title}-`));
    cpSync(FIXTURES, served.#folder, { recursive: true });
    for (const [file, content] of Object.entries(files)) {
      const path = join(served.#folder, file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
    for (const [file, change] of Object.entries(edits)) served.edit(file, change);
    served.#arguments = { args, env };
    await served.run();
    return served;
  }

  /** Starts it, where it was before if it ran before. */
  async run() {
    const { args, env } = this.#arguments;
    const addresses = ["--http", this.http ?? "127.0.0.1:0", "--admin", this.admin ?? "127.0.0.1:0", "--grpc", "off"];
    this.#process = spawn(
      process.env.TRT_PIPELINE,
      ["serve", join(this.#folder, SPEC), "--cache-dir", join(this.#folder, "cache"), "--format", "json", ...addresses, ...args],
      { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#errors = "";
    this.#process.stderr.on("data", (text) => (this.#errors += text));
    const serving = new Promise((resolve) => {
      createInterface(this.#process.stdout).on("line", (line) => {
        const event = JSON.parse(line);
        if (event.event === "serving") resolve(event);
      });
    });
    const ended = once(this.#process, "exit").then(() => assert.fail(`the server ended\n${this.#errors}`));
    ({ http: this.http, admin: this.admin } = await Promise.race([serving, ended]));
    ended.catch(() => {});
  }

  get page() {
    return `http://${this.admin}/`;
  }

  /** Replaces all of one text with another in a file, in one step as an editor does. */
  edit(file, [from, to]) {
    const path = join(this.#folder, file);
    const before = readFileSync(path, "latin1");
    assert.ok(before.includes(from), `${file} has no ${from}`);
    writeFileSync(`${path}.new`, before.replaceAll(from, to), "latin1");
    renameSync(`${path}.new`, path);
  }

  /** Asks a model that maps [rows, 16] to [rows, 4]. */
  async infer(model, rows) {
    const x = { name: "x", shape: [rows, 16], datatype: "FP32", data: Array(rows * 16).fill(0.5) };
    const answer = await this.ask(`v2/models/${model}/infer`, { address: this.http, body: { inputs: [x] } });
    assert.deepEqual(answer.outputs[0].shape, [rows, 4]);
  }

  /** The JSON that it answers: to a POST where there is a body. */
  async ask(path, { address = this.admin, body } = {}) {
    const method = body === undefined ? "GET" : "POST";
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const answer = await fetch(`http://${address}/${path}`, { method, body: JSON.stringify(body), signal });
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    return text && JSON.parse(text);
  }

  signal(name) {
    this.#process.kill(name);
  }

  /** Ends it as `kill` does; it must do so well. */
  async end() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    this.#process.kill("SIGCONT");
    assert.deepEqual(await ended, [0, null], this.#errors);
  }

  async stop() {
    try {
      await this.end();
    } finally {
      this.#process.kill("SIGKILL");
      rmSync(this.#folder, { recursive: true, force: true });
    }
  }
}
