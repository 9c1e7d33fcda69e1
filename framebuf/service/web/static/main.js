// What comes from the node, to the parts of the page that show it.

import { Cameras } from "./cameras.js";
import { announce, clock, say } from "./dom.js";
import { TriggerForm } from "./form.js";
import { Node } from "./node.js";
import { Requests } from "./requests.js";

const AGAIN_MS = 5000;

const cameras = new Cameras(document.getElementById("cameras"));
const requests = new Requests(document.getElementById("list"), document.getElementById("none"));
const form = new TriggerForm(document.getElementById("trigger"), cameras, requests);
const node = new Node();
const lost = document.getElementById("lost");
let last = null;

const hear = {
  node(told) {
    node.show(told);
    cameras.describe(told);
    form.describe(told);
  },
  strip(told) {
    cameras.show(told);
  },
  picture(told) {
    cameras.picture(told);
  },
  request(told) {
    requests.show(told);
  },
  results(told) {
    requests.results(told);
  },
};

function connect() {
  const source = new EventSource("/api/events");
  source.onopen = () => {
    if (!lost.hidden) announce("The node answers again.");
    lost.hidden = true;
    document.body.classList.remove("stale");
  };
  for (const [kind, take] of Object.entries(hear)) {
    source.addEventListener(kind, (event) => {
      last = Date.now();
      take(JSON.parse(event.data));
    });
  }
  source.onerror = () => {
    const since = last === null ? "" : ` This is how it was at ${clock(last).slice(0, -4)}.`;
    say(lost, `The node does not answer; trying on.${since}`);
    lost.hidden = false;
    document.body.classList.add("stale");
    if (source.readyState === EventSource.CLOSED) {
      source.close();
      setTimeout(again, AGAIN_MS);
    }
  };
}

/** A browser gives up where the answer is no stream: too many look, or the session has ended. */
async function again() {
  try {
    const answer = await fetch("/api/key");
    if (answer.status === 401) {
      location.assign("/login");
      return;
    }
  } catch {
    // not there: the next try will tell
  }
  connect();
}

connect();
