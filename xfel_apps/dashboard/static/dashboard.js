// Every page's behaviour, declared by attributes; no page has scripts of its own inline.
//   data-refresh="URL" data-topics="a b"  : this element's content is fetched again when a topic changes
//   data-chart="URL"   data-topics="a b"  : a Plotly figure {data, layout}, drawn again likewise
//   <form data-send="URL" data-method=...>: its fields are sent as JSON; data-then="reload|URL|reset"
//   <button data-send="URL" data-body=...>: likewise; data-confirm="question" asks first
import { drawCharts, redraw } from "./charts.js";
import { bindForms, say } from "./forms.js";

const link = document.getElementById("link");

function isBeingEdited(element) {
  const active = document.activeElement;
  return element.contains(active) && active.matches("input, select, textarea") &&
    (active.value !== active.defaultValue || active.matches("select"));
}

// What stands in the page stays where the server cannot answer, but it is said that it is old.
function showState(isNew) {
  if (!link.classList.contains("on")) return;
  link.textContent = isNew ? "live" : "not up to date";
  link.classList.toggle("stale", !isNew);
  link.title = isNew ? "this page is told of changes" : "the server answers, but the catalog does not";
}

const waiting = new WeakMap();

export async function refresh(element) {
  if (isBeingEdited(element)) { element.dataset.stale = "yes"; return; }
  if (waiting.get(element) === "fetching") { waiting.set(element, "again"); return; }
  waiting.set(element, "fetching");
  try {
    const answer = await fetch(element.dataset.refresh, { headers: { Accept: "text/html" } });
    if (answer.ok) replace(element, await answer.text());
    showState(answer.ok);
  } catch {
    // The server is away: the connection's own sign says so, and it is fetched again on return.
  }
  const again = waiting.get(element) === "again";
  waiting.delete(element);
  if (again) await refresh(element);
}

function replace(element, html) {
  if (isBeingEdited(element)) { element.dataset.stale = "yes"; return; }
  delete element.dataset.stale;
  const before = new Map([...element.querySelectorAll("[data-key]")].map(e => [e.dataset.key, e.textContent]));
  const open = new Set([...element.querySelectorAll("details[open][id]")].map(e => e.id));
  const scroll = [...element.querySelectorAll("[data-stay]")].map(e => [e.scrollTop, e.scrollTop + e.clientHeight + 4 >= e.scrollHeight]);
  const focus = document.activeElement?.id && element.contains(document.activeElement) ? document.activeElement.id : null;
  element.innerHTML = html; // made by our own templates, which escape everything
  for (const item of element.querySelectorAll("[data-key]")) {
    const old = before.get(item.dataset.key);
    if (old !== undefined && old !== item.textContent) item.classList.add("changed");
  }
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  [...element.querySelectorAll("[data-stay]")].forEach((e, i) => {
    const [top, atEnd] = scroll[i] ?? [0, true];
    e.scrollTop = atEnd ? e.scrollHeight : top;
  });
  if (focus) document.getElementById(focus)?.focus();
  drawCharts(element);
}

function concerns(element, topics) {
  return (element.dataset.topics ?? "").split(" ").some(topic => topics.has(topic));
}

function onChange(topics) {
  for (const element of document.querySelectorAll("[data-refresh]")) if (concerns(element, topics)) refresh(element);
  for (const element of document.querySelectorAll("[data-chart]")) if (concerns(element, topics)) redraw(element);
  document.dispatchEvent(new CustomEvent("xfelflow:change", { detail: topics }));
}

function all() {
  const topics = new Set();
  for (const e of document.querySelectorAll("[data-topics]")) e.dataset.topics.split(" ").forEach(t => topics.add(t));
  return topics;
}

// What was still being made when the page was, and may have been told of before anybody listened.
function missed() {
  for (const element of document.querySelectorAll("[data-refresh]:has([data-later])")) refresh(element);
  for (const element of document.querySelectorAll("[data-chart]:not([data-drawn])")) redraw(element);
}

function listen() {
  const source = new EventSource("/events");
  let wasAway = false;
  source.addEventListener("hello", () => {
    link.textContent = "live";
    link.className = "link on";
    if (wasAway) onChange(all());
    else missed();
    wasAway = false;
  });
  source.addEventListener("change", event => onChange(new Set(JSON.parse(event.data).topics)));
  source.addEventListener("error", () => {
    wasAway = true;
    link.textContent = "not connected";
    link.className = "link off";
  });
}

document.addEventListener("focusout", event => {
  const element = event.target.closest("[data-stale]");
  if (element) setTimeout(() => { if (!element.contains(document.activeElement)) refresh(element); }, 150);
});

document.getElementById("sign-in")?.addEventListener("click", () => document.getElementById("sign-in-dialog").showModal());
document.addEventListener("click", event => { if (event.target.matches("[data-close]")) event.target.closest("dialog").close(); });
document.getElementById("sign-out")?.addEventListener("click", async () => {
  const answer = await fetch("/logout", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  if (answer.ok) location.reload(); else say("not signed out");
});

for (const e of document.querySelectorAll("[data-stay]")) e.scrollTop = e.scrollHeight;
// What is not in the page yet, and what only time changes ("tick"), such as the end of a log.
for (const e of document.querySelectorAll("[data-refresh][data-topics~=tick]")) {
  refresh(e);
  setInterval(() => { if (!document.hidden) refresh(e); }, 2000);
}
bindForms(refresh);
drawCharts(document);
listen();
