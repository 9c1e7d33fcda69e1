// Each camera's buffer as a film strip.

import { announce, bytes, clock, count, el, place, say, seconds } from "./dom.js";

const STEPS_S = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const FAR = 40;
/** So many lengths of the strip away from its beginning, places are reckoned anew. */

export class Cameras {
  constructor(room) {
    this.room = room;
    this.strips = new Map();
  }

  describe(told) {
    for (const [name, state] of Object.entries(told.cameras)) {
      this.strip(name).describe(state, told.info?.cameras[name], told.stats?.cameras[name]);
    }
  }

  show(told) {
    this.strip(told.camera).show(told);
  }

  picture(told) {
    this.strip(told.camera).picture(told);
  }

  /** Mark the frames that a trigger would take; null: none. */
  preview(camera, told) {
    for (const [name, strip] of this.strips) strip.preview(name === camera ? told : null);
  }

  strip(name) {
    let strip = this.strips.get(name);
    if (!strip) {
      strip = new Strip(name);
      this.strips.set(name, strip);
      this.room.append(strip.element);
    }
    return strip;
  }
}

class Strip {
  constructor(name) {
    this.name = name;
    this.epoch = null;
    this.told = null;
    this.chosen = null;
    this.online = null;
    this.tiles = new Map();
    const title = `camera-${this.name}`;
    this.badge = el("span.badge");
    this.why = el("p.why", { hidden: "" });
    this.facts = el("p.facts.quiet");
    this.summary = el("p.visually-hidden");
    this.film = el("div.film");
    this.bars = el("div.bars");
    this.marks = el("div.marks");
    this.reel = el("div.reel", {}, this.film, this.bars, this.marks);
    this.axis = el("div.axis");
    this.empty = el("p.nothing", {}, "no frame yet");
    const window_ = el("div.window", {}, this.reel, this.empty);
    this.scroller = el(
      "div.scroller",
      { tabindex: "0", role: "group", "aria-label": `Film strip of ${name}` },
      el("div.strip", { "aria-hidden": "true" }, window_, this.axis),
      this.summary,
    );
    this.element = el(
      "section.panel.camera",
      { "aria-labelledby": title },
      el("div.head", {}, el("h2", { id: title }, name), this.badge, this.facts),
      this.why,
      this.scroller,
    );
  }

  describe(state, info, stats) {
    if (this.online !== null && this.online !== state.online) {
      announce(`Camera ${this.name} is ${state.online ? "online" : "offline"}.`);
    }
    this.online = state.online;
    this.element.classList.toggle("offline", !state.online);
    say(this.badge, state.online ? "online" : "offline");
    this.badge.className = `badge ${state.online ? "good" : "bad"}`;
    say(this.why, state.online ? "" : `Offline: ${state.why}`);
    this.why.hidden = state.online;
    if (!info || !stats) return;
    const facts = [
      info.width ? `${info.width}×${info.height}` : null,
      info.rate ? `${Number(info.rate.toFixed(1))} frames a second` : null,
      `${count(stats.held, "frame")}, ${seconds(stats.held_s * 1000)}`,
      stats.leased ? `${stats.leased} leased` : null,
      stats.dropped ? `${stats.dropped} dropped` : null,
      bytes(stats.bytes),
      info.models.join(" → "),
    ];
    say(this.facts, facts.filter(Boolean).map((fact) => fact.replaceAll(" ", "\u00a0")).join(" · "));
  }

  show(told) {
    const first = this.told === null;
    this.told = told;
    this.empty.hidden = told.frames > 0;
    if (this.epoch === null || (told.now - this.epoch) / told.span > FAR || this.span !== told.span) {
      this.epoch = told.now - told.span;
      this.span = told.span;
      this.reel.classList.add("jump");
      this.placeTiles();
    } else {
      this.reel.classList.remove("jump");
    }
    this.reel.style.transform = `translateX(${(-100 * (told.now - told.span - this.epoch)) / told.span}%)`;
    this.bars.replaceChildren(
      ...told.runs.map(([from, to]) => this.bar("held", from, to)),
      ...told.gaps.map(([from, to]) => this.bar("gap", from, to)),
      ...told.leased.map(([from, to]) => this.bar("leased", from, to)),
    );
    this.drawAxis(told);
    this.mark();
    const gaps = told.gaps.length ? count(told.gaps.length, "gap") : "no gaps";
    const leased = told.leased.reduce((sum, [, , frames]) => sum + frames, 0);
    say(this.summary, `${count(told.frames, "frame")} held, ${gaps}, ${leased} leased.`);
    if (first) this.scroller.scrollLeft = this.scroller.scrollWidth;
  }

  bar(kind, from, to) {
    return place(el(`i.${kind}`), this.at(from), Math.max(this.at(to), this.at(from) + 0.002));
  }

  /** A moment as a place on the reel. */
  at(moment) {
    return (moment - this.epoch) / this.span;
  }

  drawAxis(told) {
    const step = STEPS_S.find((one) => told.span / 1000 / one <= 10) ?? told.span / 1000;
    const labels = [];
    for (let age = 0; age < told.span / 1000 + step / 2; age += step) {
      const text = age === 0 ? clock(told.utc).slice(0, -4) : `−${seconds(age * 1000).replace(".0", "")}`;
      const where = 1 - (age * 1000) / told.span;
      if (age === 0 || where < 0.88) labels.push([where, text]);
    }
    labels.forEach(([where, text], index) => {
      const label = this.axis.children[index] ?? this.axis.appendChild(el("span"));
      say(label, text);
      label.style.left = `${Math.max(where, 0) * 100}%`;
    });
    while (this.axis.children.length > labels.length) this.axis.lastChild.remove();
  }

  picture(told) {
    if (this.tiles.has(told.seq) || !told.jpeg) return;
    const image = el("img", { src: `data:image/jpeg;base64,${told.jpeg}`, alt: "", decoding: "async" });
    image.dataset.seq = told.seq;
    this.tiles.set(told.seq, { at: told.at, image });
    this.placeTiles();
  }

  /** Each picture reaches to the next; those that have left go. */
  placeTiles() {
    if (this.epoch === null) return;
    const { now, step } = this.told;
    const all = [...this.tiles].sort(([, a], [, b]) => a.at - b.at);
    all.forEach(([seq, tile], index) => {
      if (tile.at + 2 * step < now - this.span) {
        tile.image.remove();
        this.tiles.delete(seq);
        return;
      }
      const next = all[index + 1]?.[1].at ?? Infinity;
      place(tile.image, this.at(tile.at), this.at(Math.min(next, tile.at + 1.25 * step)));
      if (!tile.image.isConnected) this.film.append(tile.image);
    });
  }

  preview(told) {
    this.chosen = told;
    this.mark();
  }

  mark() {
    const told = this.chosen;
    if (!told || this.epoch === null) {
      this.marks.replaceChildren();
      return;
    }
    const period = Math.max(this.told.span / 1000, 1);
    const marks = told.frames.map(([, at]) => place(el("i"), this.at(at - period), this.at(at + period)));
    this.marks.replaceChildren(...marks);
  }
}
