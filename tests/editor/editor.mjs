// An editor as far as the language server can tell: opens texts, reads diagnostics, asks for
// completion and hover. Knows nothing of pipelines.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createMessageConnection, StreamMessageReader, StreamMessageWriter } from "vscode-jsonrpc/node.js";

const serverPackage = createRequire(import.meta.url).resolve("yaml-language-server/package.json");

export class Editor {
  #process;
  #connection;
  #diagnostics = new Map();
  #opened = 0;

  /** Starts the server on a folder; `schemas` maps a schema's URI to the files it is for. */
  static async start(rootUri, schemas = {}) {
    const editor = new Editor();
    const program = join(dirname(serverPackage), "bin", "yaml-language-server");
    editor.#process = spawn(process.execPath, [program, "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
    const { stdout, stdin } = editor.#process;
    editor.#connection = createMessageConnection(new StreamMessageReader(stdout), new StreamMessageWriter(stdin));
    const connection = editor.#connection;
    const settings = {
      yaml: { schemas, validate: true, hover: true, completion: true, schemaStore: { enable: false } },
    };
    connection.onRequest("workspace/configuration", ({ items }) => items.map((item) => settings[item.section] ?? {}));
    connection.onRequest("client/registerCapability", () => null);
    connection.onNotification("textDocument/publishDiagnostics", ({ uri, diagnostics }) => {
      editor.#diagnostics.get(uri)?.(diagnostics);
    });
    connection.listen();
    await connection.sendRequest("initialize", {
      processId: process.pid,
      rootUri,
      workspaceFolders: [{ uri: rootUri, name: "root" }],
      capabilities: {
        workspace: { configuration: true, didChangeConfiguration: { dynamicRegistration: true } },
        textDocument: {
          publishDiagnostics: { relatedInformation: true },
          completion: { completionItem: { snippetSupport: true, documentationFormat: ["markdown"] } },
          hover: { contentFormat: ["markdown"] },
        },
      },
    });
    await connection.sendNotification("initialized", {});
    await connection.sendNotification("workspace/didChangeConfiguration", { settings });
    return editor;
  }

  /** Opens a text under a URI and waits for what the server has against it. */
  diagnose(uri, text) {
    return this.#published(uri, text, () => true);
  }

  /** Waits until the server, which fetches its settings when it likes, objects to a wrong text. */
  settled(uri, wrongText) {
    return this.#published(uri, wrongText, (diagnostics) => diagnostics.length > 0);
  }

  /** What is offered where `|` stands in the text. */
  async complete(uri, marked) {
    const result = await this.#ask("textDocument/completion", uri, marked);
    return (Array.isArray(result) ? result : result.items).map((item) => ({ ...item, label: item.label.trim() }));
  }

  /** The text shown when the pointer rests where `|` stands. */
  async hover(uri, marked) {
    const result = await this.#ask("textDocument/hover", uri, marked);
    return result?.contents?.value ?? "";
  }

  async stop() {
    await this.#connection.sendRequest("shutdown");
    await this.#connection.sendNotification("exit");
    await once(this.#process, "exit");
    this.#connection.dispose();
  }

  async #published(uri, text, enough) {
    const published = new Promise((resolve) => {
      this.#diagnostics.set(uri, (diagnostics) => enough(diagnostics) && resolve(diagnostics));
    });
    await this.#open(uri, text);
    return published;
  }

  async #ask(method, uri, marked) {
    const at = marked.indexOf("|");
    const before = marked.slice(0, at).split("\n");
    await this.#open(uri, marked.slice(0, at) + marked.slice(at + 1));
    const position = { line: before.length - 1, character: before.at(-1).length };
    return this.#connection.sendRequest(method, { textDocument: { uri }, position });
  }

  async #open(uri, text) {
    const version = ++this.#opened;
    const textDocument = { uri, languageId: "yaml", version, text };
    await this.#connection.sendNotification("textDocument/didOpen", { textDocument });
  }
}
