// Elements out of text. Whatever comes from outside is only ever text: there is no innerHTML here.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `el("p.quiet", {title: "…"}, "text", child)`. */
export function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  return filled(document.createElement(tag), classes, attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), [], attributes, children);
}

function filled(element, classes, attributes, children) {
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set what an element says, and leave it alone where it says so already. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Place something along a line, in parts of its length. */
export function place(element, from, to) {
  element.style.left = `${from * 100}%`;
  element.style.width = `${(to - from) * 100}%`;
  return element;
}

export function seconds(ms) {
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

export function milliseconds(ms) {
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 100 ? `${Math.round(ms)} ms` : `${Number(ms.toPrecision(2))} ms`;
}

export function bytes(count) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (count < 1024) return `${Math.round(count)} ${unit}`;
    count /= 1024;
  }
  return `${count.toFixed(1)} GiB`;
}

export function clock(utcMs) {
  const at = new Date(utcMs);
  return at.toLocaleTimeString([], { hour12: false }) + `.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

export function percent(part) {
  return `${Math.round(part * 100)} %`;
}

/** The colour of a class: that of the annotated pictures. */
export function colour(classId) {
  return `hsl(${(((0.34 + classId * 0.2360679775) % 1) * 360).toFixed(1)} 100% 62.5%)`;
}

let waiting;

/** Tell a screen reader; what comes at once is told together. */
export function announce(text) {
  const region = document.getElementById("said");
  clearTimeout(waiting);
  const said = region.dataset.next ? `${region.dataset.next} ${text}` : text;
  region.dataset.next = said;
  waiting = setTimeout(() => {
    region.textContent = said;
    region.dataset.next = "";
  }, 300);
}
