// How the node is: chips at the top, and everything at the bottom.

import { announce, bytes, count, el, percent, say, seconds } from "./dom.js";

export class Node {
  constructor() {
    this.name = document.getElementById("node");
    this.chips = document.getElementById("chips");
    this.state = document.getElementById("state");
    this.version = document.getElementById("version");
    this.connected = null;
    this.before = null;
  }

  show(told) {
    say(this.name, told.node);
    document.title = `${told.node} · framebuf`;
    if (this.connected !== null && this.connected !== told.connected) {
      announce(told.connected ? "The broker is connected." : "The broker is away.");
    }
    this.connected = told.connected;
    const names = Object.keys(told.cameras);
    const online = names.filter((name) => told.cameras[name].online).length;
    const chips = [
      [told.connected, told.connected ? "Broker connected" : "Broker away"],
      [online === names.length, `${online} of ${count(names.length, "camera")} online`],
      [told.info !== null, told.info ? count(Object.keys(told.info.models).length, "model") : "Models load"],
    ];
    const simulated = Object.values(told.info?.models ?? {}).some((model) => model.simulated);
    for (const [name, model] of Object.entries(told.info?.models ?? {})) {
      if (!model.away) continue;
      chips.push([false, model.fallback ? `${name}: ${model.fallback} answers` : `${name}: servers away`]);
    }
    if (simulated) chips.push([false, "Simulated NPU"]);
    if (told.stats?.requests_open) chips.push([true, `${count(told.stats.requests_open, "request")} open`]);
    this.chips.replaceChildren(
      ...chips.map(([good, text]) => el(`li.chip.${good ? "good" : "bad"}`, {}, text)),
    );
    this.describe(told);
  }

  describe(told) {
    const { info, stats } = told;
    const groups = [this.reasons(told)];
    groups.push(
      list("Broker", [
        ["Address", told.broker],
        ["State", told.connected ? "connected" : "away"],
      ]),
    );
    if (info && stats) {
      groups.push(...this.models(told), this.process(told));
      say(this.version, `framebuf ${info.version}`);
    }
    this.state.replaceChildren(...groups.filter(Boolean));
  }

  reasons(told) {
    if (!told.reasons.length) return el("p.ready", {}, "Ready: cameras, broker and models are there.");
    const items = told.reasons.map(({ part, why }) => el("li", {}, el("b", {}, part), `: ${why}`));
    return el("div.unready", {}, el("h3", {}, "Not ready"), el("ul", {}, ...items));
  }

  models(told) {
    const { info, stats } = told;
    const now = performance.now();
    const busy = {};
    for (const [name, lane] of Object.entries(stats.lanes)) {
      const before = this.before?.lanes[name];
      const passed = (now - (this.before?.at ?? now)) / 1000;
      busy[name] = before && passed > 0.5 ? (lane.busy_s - before.busy_s) / passed / lane.cores : 0;
    }
    this.before = { at: now, lanes: stats.lanes };
    return Object.entries(info.models).map(([name, model]) => {
      const lane = stats.lanes[model.lane ?? model.platform];
      return list(`Model ${name}`, [
        ["Task", model.task],
        ["Runs on", model.simulated ? `${model.platform}, simulated` : model.platform],
        ["Batch sizes", model.batch_sizes.join(", ")],
        ["Runtimes", model.runtimes],
        ["Accelerator busy", lane ? percent(Math.min(1, Math.max(0, busy[model.lane]))) : "—"],
        ["Frames waiting", lane?.waiting ?? "—"],
      ]);
    });
  }

  process(told) {
    const { info, stats } = told;
    const clock = { true: "synchronised", false: "not synchronised", null: "unknown" };
    return list("Process", [
      ["Up for", seconds(stats.uptime_s * 1000)],
      ["Memory of its own", bytes(stats.memory.anonymous ?? 0)],
      ["Resident, buffers too", bytes(stats.memory.resident ?? 0)],
      ["Requests open", `${stats.requests_open} of ${info.limits.max_pending}`],
      ["Clock", clock[String(info.clock_synchronised)]],
      told.pictures_shed ? ["Pictures left out", told.pictures_shed] : null,
    ]);
  }
}

function list(title, entries) {
  const rows = entries
    .filter(Boolean)
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))));
  return el("div.group", {}, el("h3", {}, title), el("dl", {}, ...rows));
}
