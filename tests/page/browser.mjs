// The page as a person finds it in Chromium: what is drawn, and everything that went wrong meanwhile.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import puppeteer from "puppeteer-core";

const DEADLINE_MS = 30_000;
const LOOK_AGAIN_MS = 50;
const SCREENSHOTS = process.env.PAGE_SCREENSHOTS;

export function launch() {
  const executablePath = execFileSync("sh", ["-c", 'command -v "$0"', process.env.CHROMIUM], { encoding: "utf8" }).trim();
  // Its sandbox refuses to work for root, as which containers run.
  return puppeteer.launch({ executablePath, args: process.getuid() === 0 ? ["--no-sandbox"] : [] });
}

/** A page of a browser, in a context of its own. */
export class Viewed {
  /** Errors of scripts and of the console, and requests that failed or went elsewhere. */
  wrong = [];
  /** What dialogs said; each is accepted. */
  dialogs = [];
  page;

  static async open(browser, url, { credentials } = {}) {
    const viewed = new Viewed();
    const context = await browser.createBrowserContext();
    const page = (viewed.page = await context.newPage());
    const { origin } = new URL(url);
    await page.setViewport({ width: 1280, height: 900 });
    if (credentials) await page.authenticate(credentials);
    page.on("pageerror", (error) => viewed.wrong.push(`script: ${error}`));
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) viewed.wrong.push(`console: ${message.text()}`);
    });
    page.on("request", (request) => {
      const to = new URL(request.url());
      if (to.origin !== origin && to.protocol !== "data:") viewed.wrong.push(`elsewhere: ${to}`);
    });
    page.on("requestfailed", (request) => viewed.wrong.push(`failed: ${request.url()}`));
    page.on("response", (answer) => {
      if (answer.status() >= 400) viewed.wrong.push(`${answer.status()}: ${answer.url()}`);
    });
    page.on("dialog", (dialog) => {
      viewed.dialogs.push(dialog.message());
      dialog.accept();
    });
    viewed.answer = await page.goto(url, { waitUntil: "load" });
    return viewed;
  }

  /** What is on the page. */
  read() {
    return this.page.evaluate(() => {
      const all = (selector, from) => [...from.querySelectorAll(selector)];
      const text = (node) => node?.textContent ?? null;
      const cells = (table) => all("tr", table).slice(1).map((row) => all("td", row).map(text));
      const shown = (node) => (node.checkVisibility() ? node.textContent : null);
      // Whether a stroke is to be seen where the line begins, even if that is all of it.
      const line = (path) => {
        const begin = path.getAttribute("d").match(/^M(\S+) ([\d.]+)/);
        const drawn = begin !== null && path.isPointInStroke(new DOMPoint(begin[1], begin[2])) && getComputedStyle(path).stroke !== "none";
        return { drawn, high: path.getBBox().height };
      };
      const chart = (figure) => [
        text(figure.querySelector("b")),
        { values: text(figure.querySelector("figcaption span")), lines: all(".series", figure).map(line) },
      ];
      const model = (card) => [
        text(card.querySelector("h3")),
        {
          state: text(card.querySelector(".title .badge")),
          facts: text(card.querySelector(".title .quiet")),
          problem: text(card.querySelector(".problem")),
          charts: Object.fromEntries(all("figure", card).map(chart)),
          tables: Object.fromEntries(all("table", card).map((table) => [text(table.previousElementSibling), cells(table)])),
          phases: all(".legend > span", card).map(text),
          buttons: all("button", card).map(text),
        },
      ];
      const stage = (node) => ({ name: text(node.querySelector("text")), is: node.classList[1] ?? null, title: text(node.querySelector("title")) });
      const pipeline = (card) => ({
        name: text(card.querySelector("h3")),
        spec: text(card.querySelector(".title .quiet")),
        problems: all(".problem", card).map(text),
        stages: all(".stage", card).map(stage),
        edges: all(".edge", card).length,
      });
      const place = (id) => document.getElementById(id);
      return {
        health: text(place("health")),
        facts: text(place("facts")),
        problem: shown(place("problem")),
        models: Object.fromEntries(all(".card", place("models")).map(model)),
        reloads: all("table", place("reloads")).flatMap(cells),
        pipelines: all(".card", place("pipelines")).map(pipeline),
      };
    });
  }

  /** What is on the page, once it is as wanted. */
  async until(what, wanted) {
    const give_up = Date.now() + DEADLINE_MS;
    for (;;) {
      const seen = await this.read();
      if (wanted(seen)) return seen;
      if (Date.now() > give_up) assert.fail(`waited in vain until ${what}: ${JSON.stringify(seen, null, 1)}`);
      await pause(LOOK_AGAIN_MS);
    }
  }

  /** Looks at it with a screen so wide, in a colour scheme. */
  async look(width, scheme) {
    await this.page.setViewport({ width, height: 900 });
    await this.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  }

  async screenshot(name) {
    if (!SCREENSHOTS) return;
    mkdirSync(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
  }

  close() {
    return this.page.browserContext().close();
  }
}
