"use strict";
const {charts, colours, networks} = JSON.parse(document.getElementById("data").textContent);
const palette = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b8a800", "#7a5ca8"];
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const frames = [...document.querySelectorAll("[data-chart]")];
const own = trace => trace.meta === "candidates";
let passes = null;  // whether a trial is let through by the table's filter, if there is one

function look() {
  const axis = {gridcolor: css("--line"), linecolor: css("--line"), tickcolor: css("--line"), showline: true};
  return {font: {color: css("--ink"), size: 12, family: "system-ui, sans-serif"}, axis};
}
function layoutOf(layout) {
  const {font, axis} = look(), found = {...layout, font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    modebar: {bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--ink")},
    hoverlabel: {...layout.hoverlabel, bgcolor: css("--card"), bordercolor: css("--soft"), font: {color: css("--ink")}}};
  for (const name of Object.keys(found)) if (/^[xy]axis/.test(name)) found[name] = {...axis, ...found[name]};
  return found;
}
function ink(trace) {
  const same = JSON.parse(JSON.stringify(trace));
  const dark = document.documentElement.dataset.theme === "dark", shown = {"#222222": css("--ink")};
  if (dark) Object.assign(shown, {"#0072b2": "#56b4e9", "#009e73": "#35c79d", "#d55e00": "#ff8c4b"});
  if (same.type === "heatmap") same.colorscale = [[0, css("--card")], [1, dark ? "#1f6fa5" : "#56b4e9"]];
  for (const part of [same.marker, same.line]) if (part && shown[part.color]) part.color = shown[part.color];
  return same;
}
function drawFrame(frame) {
  const {data, layout} = charts[frame.dataset.chart];
  Plotly.react(frame, data.map(ink), layoutOf(layout), {responsive: true, displaylogo: false,
    displayModeBar: frame.clientWidth > 500 ? "hover" : false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"]});
}
function draw() {
  frames.forEach(drawFrame);
  paint();
}
const firing = document.getElementById("firing");
if (firing) firing.onchange = () => {
  const frame = document.querySelector('[data-chart^="firing:"]');
  frame.dataset.chart = `firing:${firing.value}`;
  drawFrame(frame);
};
const select = document.getElementById("colour"), chips = document.getElementById("chips");
let only = null;
function paint() {
  const frame = document.querySelector('[data-chart="front"]'), axis = colours[select?.value];
  const {data} = charts.front;
  data.forEach((trace, i) => {
    if (!own(trace)) return;
    const plain = ink(trace).marker, whole = plain.opacity ?? 1;
    const faint = opacities => passes ? [trace.customdata.map((trial, p) => passes(trial) ? opacities[p] : 0.08)] : [opacities];
    if (!axis) {
      const opacity = passes ? faint(trace.customdata.map(() => whole)) : whole;
      return void Plotly.restyle(frame, {"marker.color": plain.color, "marker.opacity": opacity}, [i]);
    }
    const of = trace.customdata.map(trial => axis.of[trial]);
    Plotly.restyle(frame, {"marker.color": [of.map(c => c === undefined ? "#8a94a0" : palette[c % palette.length])],
      "marker.opacity": faint(of.map(c => only === null || c === only ? 1 : 0.12))}, [i]);
  });
  chips?.replaceChildren(...(axis ? axis.choices : []).map((choice, c) => {
    const chip = document.createElement("button");
    chip.type = "button"; chip.className = "chip"; chip.textContent = choice;
    chip.style.setProperty("--chip", palette[c % palette.length]);
    chip.setAttribute("aria-pressed", String(only === c));
    chip.onclick = () => { only = only === c ? null : c; paint(); chips.children[c].focus(); };
    return chip;
  }));
}
if (select) select.onchange = () => { only = null; paint(); };
function theme(name) { document.documentElement.dataset.theme = name; draw(); }
const dark = matchMedia("(prefers-color-scheme: dark)");
document.querySelector(".theme").onclick = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
dark.onchange = event => theme(event.matches ? "dark" : "light");
theme(dark.matches ? "dark" : "light");
const open = () => { const target = location.hash && document.getElementById(location.hash.slice(1))?.closest("details"); if (target) target.open = true; };
addEventListener("hashchange", open); open();

for (const frame of document.querySelectorAll(".scroll")) {
  const hint = document.createElement("p");
  hint.className = "hint"; hint.textContent = "The table is wider than the screen: scroll it sideways."; hint.hidden = true;
  frame.before(hint);
  const sizes = new ResizeObserver(() => { hint.hidden = frame.scrollWidth <= frame.clientWidth + 16; });
  sizes.observe(frame);
  sizes.observe(frame.firstElementChild);
}
