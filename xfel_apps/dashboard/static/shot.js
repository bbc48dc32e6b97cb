// The shot's frame under its marks: fetched again in full where it is zoomed; close-ups on hover.
import { redraw } from "./charts.js";

const frame = document.getElementById("frame");
const contrast = document.getElementById("contrast");
const closeup = document.getElementById("closeup");
const extent = frame.dataset.extent.split(",").map(Number);

function picture(source, [left, right, bottom, top]) {
  return { source, xref: "x", yref: "y", x: left, y: top, sizex: right - left, sizey: top - bottom, sizing: "stretch", layer: "below" };
}

let whole, latest = 0, address;

async function fetched(query) {
  const answer = await fetch(`${frame.dataset.image}&percentile=${contrast.value}${query}`);
  if (!answer.ok) return null;
  const where = answer.headers.get("X-Extent-Mm").split(",").map(Number);
  return picture(URL.createObjectURL(await answer.blob()), where);
}

function shown() {
  const { xaxis, yaxis } = frame._fullLayout;
  return [Math.min(...xaxis.range), Math.max(...xaxis.range), Math.min(...yaxis.range), Math.max(...yaxis.range)];
}

async function show() {
  const mine = ++latest;
  const [left, right, bottom, top] = shown();
  const isPart = (right - left) < 0.7 * (extent[1] - extent[0]);
  const wanted = `${contrast.value}`;
  if (whole?.wanted !== wanted) {
    const all = await fetched("");
    if (!all || mine !== latest) return;
    if (whole) URL.revokeObjectURL(whole.image.source);
    whole = { wanted, image: all };
  }
  const images = [whole.image];
  if (isPart) {
    const part = await fetched(`&left=${left.toFixed(3)}&right=${right.toFixed(3)}&bottom=${bottom.toFixed(3)}&top=${top.toFixed(3)}`);
    if (mine !== latest) return;
    if (part) images.push(part);
  }
  await window.Plotly.relayout(frame, { images });
  if (address) URL.revokeObjectURL(address);
  address = images[1]?.source;
  frame.dataset.shows = isPart ? "part" : "all";
}

let soon, hovering, bound = false;

frame.addEventListener("xfelflow:drawn", () => {
  show();
  if (bound) return;
  bound = true;
  frame.on("plotly_relayout", change => {
    if ("images" in change) return;
    clearTimeout(soon);
    soon = setTimeout(show, 150);
  });
  frame.on("plotly_hover", ({ points: [point] }) => {
    if (!point.customdata) return;
    clearTimeout(hovering);
    hovering = setTimeout(() => look(point), 80);
  });
  frame.on("plotly_unhover", () => clearTimeout(hovering));
  const marks = frame.data.filter(trace => trace.customdata).at(-1);
  if (marks) look({ customdata: marks.customdata[0], hovertext: marks.hovertext[0] });
});

async function look(point) {
  const [panel, fast, slow] = point.customdata;
  const words = document.getElementById("closeup-of");
  words.textContent = `${point.hovertext.replaceAll("<br>", ", ")}; panel ${panel}, pixel ${fast}, ${slow}`;
  closeup.dataset.chart = `${frame.dataset.closeup}&panel=${panel}&fast=${fast}&slow=${slow}`;
  await redraw(closeup);
}

contrast.addEventListener("change", show);
document.addEventListener("keydown", event => {
  if (event.target.matches("input, select, textarea")) return;
  const name = { ArrowLeft: "previous", ArrowRight: "next" }[event.key];
  if (name) document.getElementById(name)?.click();
});
