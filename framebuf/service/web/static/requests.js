// The last requests, as they run.

import { announce, clock, count, el, milliseconds, say } from "./dom.js";
import { Frames, STAGES, stages } from "./frames.js";

const REASONS = {
  evicted: "older than the buffer reaches",
  not_captured: "the camera did not fill the window in time",
  camera_gap: "the camera was away",
  memory: "no slot was free",
  deadline: "not answered in time",
  frames_lost: "a reboot or a new buffer came between",
  crashed_daemon: "the node died over it too often",
};
const STATES = {
  running: "running",
  complete: "complete",
  partial: "partial",
  failed: "failed",
  rejected: "rejected",
};
const MOST = 20;
const CALM_MS = 3000;
const MOST_RESULTS = 1000;

export class Requests {
  constructor(list, none) {
    this.list = list;
    this.none = none;
    this.entries = new Map();
    this.expected = null;
    this.unfolded = -CALM_MS;
    this.later = null;
  }

  /** The page has sent it: it is opened and told when it is there. */
  expect(camera, id) {
    this.expected = key(camera, id);
    this.entries.get(this.expected)?.open();
  }

  show(told) {
    this.none.hidden = true;
    const shown = this.entry(told.camera, told.id);
    shown.show(told);
    if (shown.place !== told.n) {
      shown.place = told.n;
      const older = [...this.entries.values()].filter((other) => other.place < told.n);
      const next = older.sort((a, b) => b.place - a.place)[0];
      this.list.insertBefore(shown.element, next?.element ?? null);
      this.forget();
    }
    if (![...this.entries.values()].some((other) => other.place > told.n)) this.unfold(shown);
  }

  /** The newest is open, until somebody opens or closes one; not more often than eyes can follow. */
  unfold(newest) {
    clearTimeout(this.later);
    const left = this.unfolded + CALM_MS - performance.now();
    if (left > 0) {
      this.later = setTimeout(() => this.unfold(newest), left);
    } else if (newest.newest()) {
      this.unfolded = performance.now();
    }
  }

  /** Those beyond the newest ones go. */
  forget() {
    const all = [...this.entries].sort(([, a], [, b]) => b.place - a.place);
    for (const [name, entry] of all.slice(MOST)) {
      entry.element.remove();
      this.entries.delete(name);
    }
  }

  results(told) {
    this.entry(told.camera, told.id).results(told.results);
  }

  entry(camera, id) {
    const name = key(camera, id);
    let entry = this.entries.get(name);
    if (!entry) {
      entry = new Entry(camera, id);
      this.entries.set(name, entry);
      if (name === this.expected) entry.open();
    }
    return entry;
  }
}

class Entry {
  constructor(camera, id) {
    this.camera = camera;
    this.id = id;
    this.state = null;
    this.place = 0;
    this.touched = false;
    this.found = new Map();
    this.badge = el("span.badge");
    this.counts = el("span.counts");
    this.total = el("span.quiet");
    this.progress = el("progress", { max: "1", value: "0", "aria-label": `Progress of ${id}` });
    this.bar = el("div.bar", { role: "img" });
    this.why = el("ul.missing");
    this.notes = el("p.quiet");
    this.meta = el("pre.meta", { hidden: "" });
    this.frames = new Frames(camera, id);
    this.details = el(
      "details",
      {},
      el(
        "summary",
        {},
        el("span.line", {}, this.badge, el("b.id", {}, id), el("span.quiet", {}, camera), el("span.numbers", {}, this.counts, this.total)),
      ),
      this.progress,
      this.why,
      this.notes,
      this.bar,
      this.meta,
      this.frames.element,
    );
    this.details.addEventListener("toggle", () => this.frames.look(this.details.open));
    this.details.querySelector("summary").addEventListener("click", () => {
      this.touched = true;
    });
    this.element = el("article.panel.request", { "aria-label": `Request ${id} of ${camera}` }, this.details);
  }

  open() {
    this.touched = true;
    this.details.open = true;
  }

  /** Open it, in place of one that was opened so; false: somebody decides about this one. */
  newest() {
    if (this.touched) return false;
    for (const other of document.querySelectorAll("article.request > details[open]")) {
      if (other !== this.details && other.dataset.auto) other.open = false;
    }
    this.details.open = true;
    this.details.dataset.auto = "yes";
    this.touched = true;
    return true;
  }

  show(told) {
    if (this.state !== told.state) {
      if (this.state === "running") announce(`Request ${this.id} is ${STATES[told.state] ?? told.state}.`);
      this.state = told.state;
      say(this.badge, STATES[told.state] ?? told.state);
      this.badge.className = `badge ${told.state}`;
      this.element.dataset.state = told.state;
    }
    const running = told.state === "running";
    const expected = told.expected ?? told.published;
    say(this.counts, told.state === "rejected" ? "" : `${told.published} of ${count(expected, "frame")}`);
    say(this.total, told.total_ms === undefined ? "" : milliseconds(told.total_ms));
    this.progress.hidden = !running;
    if (running) this.progress.value = expected ? told.published / expected : 0;
    this.missing(told);
    say(this.notes, notes(told).join(" · "));
    this.notes.hidden = !this.notes.textContent;
    this.meta.hidden = !told.meta;
    say(this.meta, told.meta ?? "");
  }

  missing(told) {
    const lines = Object.entries(told.missing ?? {}).map(([reason, frames]) => [
      `${count(frames, "frame")} missing, ${reason}`,
      REASONS[reason] ?? "",
    ]);
    if (told.failed) lines.push([count(told.failed, "result"), "with an error in place of findings"]);
    if (told.state === "rejected") lines.push([told.code, told.why]);
    this.why.replaceChildren(...lines.map(([what, why]) => el("li", {}, el("b", {}, what), `: ${why}`)));
    this.why.hidden = !lines.length;
  }

  results(told) {
    for (const one of told) {
      if (this.found.size < MOST_RESULTS) this.found.set(one.index, one);
    }
    const all = [...this.found.values()];
    const means = STAGES.map((_, stage) => all.reduce((sum, one) => sum + one.ms[stage], 0) / all.length);
    const simulated = all.some((one) => one.simulated);
    stages(this.bar, means, `Of a frame, on average${simulated ? ", simulated" : ""}`);
    this.frames.show(this.found);
  }
}

function notes(told) {
  const found = Object.entries(told.summary ?? {}).slice(0, 6);
  return [
    found.length ? `Found ${found.map(([label, frames]) => `${label} in ${frames}`).join(", ")}` : null,
    told.thinned ? `${told.thinned} thinned out` : null,
    told.already_claimed ? `${told.already_claimed} claimed by others` : null,
    told.window ? `Window ${told.window.map((time) => clock(Date.parse(time))).join(" to ")}` : null,
    told.attempts > 1 ? `${told.attempts} starts worked on it` : null,
  ].filter(Boolean);
}

function key(camera, id) {
  return `${camera}/${id}`;
}
