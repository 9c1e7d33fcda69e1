// A request's frames: pictures, boxes, scores, and where the time went.

import { colour, el, milliseconds, percent, say } from "./dom.js";

export const STAGES = ["wait", "prepare", "infer", "post"];
const FIRST = 8;
const MORE = 24;
const TAGS = 6;
const AGAIN_MS = 2500;
const TRIES = 4;

/** Fill a bar with what each stage took, in words too. */
export function stages(bar, ms, what, legend = true) {
  const total = ms.reduce((sum, one) => sum + one, 0) || 1;
  const words = STAGES.map((stage, at) => `${stage} ${milliseconds(ms[at])}`);
  bar.setAttribute("aria-label", `${what}: ${words.join(", ")}`);
  const track = el("span.track");
  STAGES.forEach((stage, at) => {
    const part = el(`i.${stage}`);
    part.style.width = `${(ms[at] / total) * 100}%`;
    track.append(part);
  });
  bar.title = words.join(", ");
  const keys = STAGES.map((stage, at) => el("span.key", { "aria-hidden": "true" }, el(`i.${stage}`), words[at]));
  bar.replaceChildren(track, legend ? el("span.legend", {}, ...keys) : el("span.sum", {}, milliseconds(total)));
}

export class Frames {
  constructor(camera, id) {
    this.camera = camera;
    this.id = id;
    this.most = FIRST;
    this.open = false;
    this.found = new Map();
    this.cards = new Map();
    this.grid = el("ol.frames", { "aria-label": `Frames of ${id}` });
    this.more = el("button.more", { type: "button", hidden: "" });
    this.more.addEventListener("click", () => {
      this.most += MORE;
      this.draw();
    });
    this.element = el("div", {}, this.grid, this.more);
  }

  show(found) {
    this.found = found;
    this.draw();
  }

  look(open) {
    this.open = open;
    this.draw();
  }

  draw() {
    if (!this.open) return;
    const all = [...this.found.values()].sort((a, b) => a.index - b.index);
    for (const one of all.slice(0, this.most)) {
      if (this.cards.has(one.index)) continue;
      const made = card(this.camera, this.id, one);
      made.dataset.index = one.index;
      const later = [...this.grid.children].find((other) => Number(other.dataset.index) > one.index);
      this.grid.insertBefore(made, later ?? null);
      this.cards.set(one.index, made);
    }
    const left = all.length - this.cards.size;
    this.more.hidden = left <= 0;
    say(this.more, `Show ${Math.min(left, MORE)} more of ${left}`);
  }
}

function card(camera, id, told) {
  const picture = el("div.picture");
  const image = el("img", { alt: described(id, told), loading: "lazy", decoding: "async" });
  picture.style.aspectRatio = `${told.size[0]} / ${told.size[1]}`;
  picture.append(image, ...boxes(told));
  load(image, picture, `/api/picture/${encodeURIComponent(camera)}/${told.seq}?width=480`);
  const bar = el("div.bar.small", { role: "img" });
  stages(bar, told.ms, told.simulated ? "Simulated" : "Time", false);
  const batch = told.batch ? `row ${told.batch[1] + 1} of ${told.batch[2]} in a batch of ${told.batch[0]}` : "";
  return el(
    "li.frame",
    {},
    picture,
    el(
      "div.caption",
      {},
      el("p.quiet", {}, el("b", {}, `#${told.index}`), ` ${signed(told.offset)} ms`),
      findings(told),
      bar,
      el("p.quiet.batch", {}, [told.model, batch, told.simulated ? "simulated" : ""].filter(Boolean).join(" · ")),
    ),
  );
}

/** A picture that there was no time for comes later; one that is gone says so. */
function load(image, picture, path, tries = TRIES) {
  image.addEventListener(
    "error",
    async () => {
      const status = await fetch(path, { method: "GET" }).then((answer) => answer.status, () => 0);
      if (status === 404 || tries <= 0) {
        picture.classList.add("gone");
        picture.dataset.why = status === 404 ? "no longer in the buffer" : "left out";
      } else {
        setTimeout(() => load(image, picture, path, tries - 1), AGAIN_MS * (1 + Math.random()));
      }
    },
    { once: true },
  );
  image.src = "";
  image.src = path;
}

function boxes(told) {
  const [width, height] = told.size;
  return (told.boxes ?? []).toReversed().map((box) => {
    const [x, y, w, h] = box.box;
    const frame = el("span.box");
    frame.style.left = `${(x / width) * 100}%`;
    frame.style.top = `${(y / height) * 100}%`;
    frame.style.width = `${(w / width) * 100}%`;
    frame.style.height = `${(h / height) * 100}%`;
    frame.style.borderColor = colour(box.class);
    if (told.boxes.length <= TAGS) {
      const tag = el("span.tag", {}, `${box.label} ${percent(box.score)}`);
      tag.style.background = colour(box.class);
      if (y / height < 0.1) tag.classList.add("inside");
      frame.append(tag);
    }
    return frame;
  });
}

function findings(told) {
  const items = [];
  if (told.error) items.push(el("li.wrong", {}, `${told.error[0]}: ${told.error[1]}`));
  for (const box of (told.boxes ?? []).slice(0, TAGS)) {
    const dot = el("i.dot", { "aria-hidden": "true" });
    dot.style.background = colour(box.class);
    const says = box.says ? ` → ${box.says[0]} ${percent(box.says[1])}` : "";
    items.push(el("li", {}, dot, `${box.label} ${percent(box.score)}${says}`));
  }
  const left = (told.found ?? 0) - TAGS;
  if (left > 0) items.push(el("li.quiet", {}, `and ${left} more`));
  if (told.boxes && !told.boxes.length) items.push(el("li.quiet", {}, "nothing found"));
  for (const [label, score] of told.classes ?? []) items.push(el("li", {}, `${label} ${percent(score)}`));
  if (told.dim) items.push(el("li", {}, `embedding of ${told.dim}`));
  return el("ul.findings", {}, ...items);
}

function described(id, told) {
  const found = (told.boxes ?? []).map((box) => `${box.label} ${percent(box.score)}`);
  return `Frame ${told.index} of ${id}: ${found.join(", ") || "no boxes"}`;
}

function signed(number) {
  return number < 0 ? `−${-number}` : `+${number}`;
}
