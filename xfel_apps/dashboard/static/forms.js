// Forms and buttons that change things: sent as JSON, refusals shown beside them.

export function say(text, kind = "bad") {
  const box = document.createElement("div");
  box.className = `message ${kind}`;
  const words = document.createElement("span");
  words.textContent = text; // never as HTML: it may name what somebody typed
  const close = document.createElement("button");
  close.textContent = "✕";
  close.setAttribute("aria-label", "dismiss");
  close.addEventListener("click", () => box.remove());
  box.append(words, close);
  document.getElementById("messages").append(box);
  setTimeout(() => box.remove(), kind === "bad" ? 20000 : 6000);
}

// What is not JSON is text: the server says what is wrong with it.
function asJson(text) {
  if (text === "") return null;
  try { return JSON.parse(text); } catch { return text; }
}

function valueOf(field) {
  if (field.type === "checkbox") return field.checked;
  if (field.dataset.kind === "json") return asJson(field.value.trim());
  if (field.dataset.kind === "optional") return field.value.trim() === "" ? null : field.value;
  if (field.dataset.kind === "list") return field.value.split(",").map(x => x.trim()).filter(x => x);
  if (field.dataset.kind === "number") return field.value === "" ? null : Number(field.value);
  if (field.multiple) return [...field.selectedOptions].map(option => option.value);
  return field.value;
}

// Fields "a.b" become {a: {b: ...}}; those with data-initial are left out unless they differ from it.
export function bodyOf(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled) continue;
    if (field.dataset.initial !== undefined && !isChanged(field)) continue;
    let node = body;
    const parts = field.name.split(".");
    for (const part of parts.slice(0, -1)) node = node[part] ??= {};
    node[parts.at(-1)] = valueOf(field);
  }
  return body;
}

export async function send(url, method, body) {
  const answer = await fetch(url, {
    method,
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
  });
  let found = {};
  try { found = await answer.json(); } catch { /* no text: the status says it all */ }
  if (answer.ok) return found;
  const detail = typeof found.detail === "string" ? found.detail : `refused (${answer.status})`;
  throw Object.assign(new Error(detail), { status: answer.status });
}

function shown(form, text, kind) {
  const place = form.querySelector(".form-message");
  if (!place) { if (text) say(text, kind); return; }
  place.textContent = text;
  place.className = `form-message ${kind}`;
}

function isChanged(field) {
  return String(field.type === "checkbox" ? field.checked : field.value) !== field.dataset.initial;
}

function countChanges(form) {
  const place = form.querySelector("#n-changed");
  if (!place) return;
  const changed = [...form.querySelectorAll("[data-initial]")].filter(isChanged);
  place.textContent = changed.length ? `changed: ${changed.map(field => field.id).join(", ")}` : "nothing changed yet";
}

async function submit(element, body, refresh) {
  const button = element.matches("button") ? element : element.querySelector("[type=submit]");
  if (element.dataset.confirm && !confirm(element.dataset.confirm)) return;
  if (button) button.disabled = true;
  try {
    const found = await send(element.dataset.send, element.dataset.method ?? "POST", body);
    shown(element, found.message ?? "", "good");
    await then(element, found, refresh);
  } catch (error) {
    const part = element.closest("[data-refresh]");
    if (error.status !== 409 || !part) shown(element, error.message, "bad");
    else {
      say(`Conflict: ${error.message}`); // this stays when what the form stands in is made anew
      document.activeElement?.blur();
      delete part.dataset.stale;
      refresh(part);
    }
  } finally {
    if (button) button.disabled = false;
  }
}

async function then(element, found, refresh) {
  const next = element.dataset.then ?? "";
  if (found.go) { location.assign(found.go); return; }
  if (next === "reload") { location.reload(); return; }
  if (element.matches("form")) element.reset();
  const part = element.closest("[data-refresh]");
  if (part) await refresh(part);
}

export function bindForms(refresh) {
  document.addEventListener("submit", event => {
    const form = event.target;
    if (form.dataset.send === undefined) return;
    event.preventDefault();
    submit(form, bodyOf(form), refresh);
  });
  document.addEventListener("click", event => {
    const button = event.target.closest("button[data-send]");
    if (button) submit(button, JSON.parse(button.dataset.body ?? "{}"), refresh);
  });
  document.addEventListener("input", event => {
    const field = event.target;
    if (field.dataset.initial === undefined) return;
    field.classList.toggle("changed-value", isChanged(field));
    countChanges(field.form);
  });
  document.addEventListener("change", event => {
    if (event.target.matches("select[data-go]")) location.assign(event.target.value);
  });
}
