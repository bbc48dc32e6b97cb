// Figures {data, layout} from the server, drawn with Plotly in the page's colours.

let library;

function plotly() {
  library ??= new Promise((resolve, reject) => {
    if (window.Plotly) { resolve(window.Plotly); return; }
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = reject;
    document.head.append(script);
  });
  return library;
}

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

function axis(own) {
  const title = own?.title ? { title: { font: { size: 0.9 * rem() }, ...own.title } } : {};
  return { gridcolor: colour("--rule"), linecolor: colour("--faint"), zerolinecolor: colour("--rule"), automargin: true, ...own, ...title };
}

export function themed(layout) {
  const size = rem();
  const result = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), size: 0.85 * size, family: "system-ui, DejaVu Sans, sans-serif" },
    margin: { l: 3.5 * size, r: size, t: (layout.title ? 2.4 : 0.8) * size, b: 3 * size },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hoverlabel: { font: { size: 0.85 * size } },
    uirevision: "keep",
    ...layout,
  };
  for (const name of new Set(["xaxis", "yaxis", ...Object.keys(layout).filter(k => /^[xy]axis\d*$/.test(k))])) {
    result[name] = axis(layout[name]);
  }
  return result;
}

// Colours that are too dark on a dark ground, and what stands for them there.
const ON_DARK = { "#0072b2": "#5fb0e8", "#8a929c": "#aab3bd" };
const dark = matchMedia("(prefers-color-scheme: dark)");

function inColours(data) {
  if (!dark.matches) return data;
  for (const trace of data) {
    for (const part of [trace.line, trace.marker]) {
      if (typeof part?.color === "string") part.color = ON_DARK[part.color.toLowerCase()] ?? part.color;
    }
  }
  return data;
}

function showEmpty(Plotly, element) {
  Plotly.purge(element);
  element.innerHTML = "";
  const words = document.createElement("p");
  words.className = "hint";
  words.textContent = element.dataset.empty;
  element.append(words);
  element.dataset.drawn = "empty";
}

const drawing = new WeakSet();
const again = new WeakSet(); // changed while they were being drawn

export async function redraw(element) {
  if (drawing.has(element)) { again.add(element); return; }
  drawing.add(element);
  try {
    const [Plotly, answer] = await Promise.all([plotly(), fetch(element.dataset.chart, { headers: { Accept: "application/json" } })]);
    if (!answer.ok) return;
    const figure = await answer.json();
    if (figure.pending) { // it is being made: asked for again until it is there
      if (!element.dataset.drawn) element.textContent = "…";
      setTimeout(() => redraw(element), 1000);
      return;
    }
    if (!figure.data.length && element.dataset.empty) { showEmpty(Plotly, element); return; }
    if (!element.classList.contains("js-plotly-plot")) element.textContent = "";
    await Plotly.react(element, inColours(figure.data), themed(figure.layout), { responsive: true, displaylogo: false, displayModeBar: "hover", scrollZoom: "scrollZoom" in element.dataset, modeBarButtonsToRemove: ["lasso2d", "select2d"] });
    element.dataset.drawn = "yes";
    element.dispatchEvent(new CustomEvent("xfelflow:drawn", { bubbles: true }));
  } catch (error) {
    console.warn("no figure", element.dataset.chart, error);
  } finally {
    drawing.delete(element);
    if (again.delete(element)) redraw(element);
  }
}

export function drawCharts(root) {
  for (const element of root.querySelectorAll("[data-chart]")) redraw(element);
}

dark.addEventListener("change", () => drawCharts(document));
