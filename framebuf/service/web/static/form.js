// The trigger form: what it would take is shown before it is sent.

import { announce, count, el, say, seconds } from "./dom.js";

const EVERY_MS = 1000;
const SETTLE_MS = 150;

export class TriggerForm {
  constructor(form, cameras, requests) {
    this.form = form;
    this.cameras = cameras;
    this.requests = requests;
    this.out = form.querySelector("#preview");
    this.send = form.querySelector("#send");
    this.sent = form.querySelector("#sent");
    this.defaults = {};
    this.allowed = false;
    this.asking = null;
    this.again = null;
    form.addEventListener("input", () => this.changed());
    form.addEventListener("focusin", () => this.look());
    form.addEventListener("focusout", (event) => {
      if (!form.contains(event.relatedTarget)) this.leave();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.allowed) this.order();
    });
  }

  describe(told) {
    this.allowed = told.allow_trigger && Boolean(told.defaults);
    this.send.disabled = !this.allowed;
    this.form.querySelector("#off").hidden = told.allow_trigger;
    if (!told.defaults) return;
    this.defaults = told.defaults;
    const select = this.form.elements.camera;
    const names = Object.keys(told.defaults);
    if (names.join("\n") !== [...select.options].map((option) => option.value).join("\n")) {
      select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
      this.suggest();
    }
  }

  /** The camera's own defaults stand where nothing is written. */
  suggest() {
    const defaults = this.defaults[this.form.elements.camera.value];
    if (!defaults) return;
    say(this.form.querySelector("#before-help"), `else ${defaults.before ?? "the whole history"}`);
    say(this.form.querySelector("#after-help"), `else ${defaults.after === "0ms" ? "none" : defaults.after}`);
    this.form.elements.max_frames.placeholder = defaults.max_frames;
    if (!this.form.elements.mode.value) this.form.elements.mode.value = defaults.mode;
  }

  changed() {
    this.suggest();
    this.sent.hidden = true;
    this.look(SETTLE_MS);
  }

  look(after = 0) {
    clearTimeout(this.again);
    this.again = setTimeout(() => this.ask(), after);
  }

  leave() {
    clearTimeout(this.again);
    this.cameras.preview(null, null);
    say(this.out, "");
  }

  /** The trigger as it is written; null where it cannot be read yet. */
  trigger() {
    const fields = this.form.elements;
    const trigger = {};
    if (!this.form.checkValidity()) return null;
    for (const end of ["before", "after"]) {
      const text = fields[end].value.trim();
      if (!text) continue;
      trigger[end] = fields[`${end}_unit`].value === "s" ? `${text}s` : Math.round(Number(text));
    }
    if (fields.mode.value) trigger.mode = fields.mode.value;
    if (fields.id.value.trim()) trigger.id = fields.id.value.trim();
    if (fields.max_frames.value.trim()) trigger.max_frames = Number(fields.max_frames.value);
    if (fields.meta.value.trim()) {
      try {
        trigger.meta = JSON.parse(fields.meta.value);
      } catch {
        fields.meta.setCustomValidity("This is not JSON.");
        return null;
      }
    }
    fields.meta.setCustomValidity("");
    return trigger;
  }

  async post(path, trigger, headers = {}) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ camera: this.form.elements.camera.value, trigger }),
      signal: this.asking?.signal,
    });
    const told = await answer.json().catch(async () => ({ error: answer.statusText }));
    return { ok: answer.ok, told };
  }

  async ask() {
    this.form.elements.meta.setCustomValidity("");
    const trigger = this.trigger();
    this.asking?.abort();
    if (trigger === null || !this.form.elements.camera.value) {
      this.cameras.preview(null, null);
      say(this.out, "");
      return;
    }
    this.asking = new AbortController();
    try {
      const { ok, told } = await this.post("/api/preview", trigger);
      if (this.form.contains(document.activeElement)) this.preview(ok, told);
    } catch (error) {
      if (error.name === "AbortError") return;
      say(this.out, "");
    }
    if (this.form.contains(document.activeElement)) this.look(EVERY_MS);
  }

  preview(ok, told) {
    this.out.classList.toggle("bad", !ok);
    if (!ok) {
      this.cameras.preview(null, null);
      say(this.out, `Would be rejected: ${reason(told.error)}`);
      return;
    }
    this.cameras.preview(this.form.elements.camera.value, told);
    const parts = [`Would take ${count(told.frames.length, "frame")} that ${told.frames.length === 1 ? "is" : "are"} there`];
    if (told.frames.length > 1) {
      const [first, last] = [told.frames[0][1], told.frames.at(-1)[1]];
      parts[0] += `, over ${seconds(last - first)}`;
    }
    if (told.to_come) parts.push(`${told.to_come} to come`);
    if (told.thinned) parts.push(`${told.thinned} thinned out`);
    if (told.already_claimed) parts.push(`${told.already_claimed} claimed by others`);
    say(this.out, `${parts.join("; ")}.`);
  }

  async order() {
    const trigger = this.trigger();
    if (trigger === null) {
      this.form.reportValidity();
      return;
    }
    this.asking = null;
    this.send.disabled = true;
    try {
      const { key } = await (await fetch("/api/key")).json();
      const { ok, told } = await this.post("/api/trigger", trigger, { "x-framebuf-key": key });
      if (ok) {
        this.requests.expect(this.form.elements.camera.value, told.id);
        this.form.elements.id.value = "";
        announce(`Trigger ${told.id} is sent.`);
      } else {
        this.fail(reason(told.error));
      }
    } catch {
      this.fail("the node does not answer");
    }
    this.send.disabled = !this.allowed;
  }

  fail(why) {
    say(this.sent, `Not sent: ${why}`);
    this.sent.hidden = false;
  }
}

function reason(error) {
  return typeof error === "object" ? `${error.message} (${error.code})` : error;
}
