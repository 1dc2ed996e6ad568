// What all pages share: the theme, tables that can be sorted, models' colours and signs, and charts.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

// ---- colours: those of Okabe and Ito, which colour-blind people can tell apart, lighter or darker where the page asks for it

const PALETTE = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c78500", "#56b4e9", "#8a6d3b"],
  dark: ["#4aa3df", "#f0803c", "#2cc295", "#e39ac4", "#f0b429", "#8fd0f7", "#c8a774"],
};
const SHAPES = ["circle", "square", "triangle-up", "triangle-down", "cross", "triangle-left"];
const SHAPE_PATHS = {
  circle: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", square: "M-4,-4h8v8h-8z", "triangle-up": "M0,-5L5,4H-5z",
  "triangle-down": "M0,5L5,-4H-5z", cross: "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z", "triangle-left": "M-5,0L4,-5V5z",
  diamond: "M0,-5.5L5.5,0L0,5.5L-5.5,0z",
};
const CHART_HEIGHT = 300;

function theme() {
  return document.documentElement.dataset.theme === "dark" ? "dark" : "light";
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// How a model looks: its colour throughout; a rival is dashed and hollow, an ensemble broad with a diamond.
function look(model) {
  const isRival = model.is_ours === false;
  return {
    color: PALETTE[theme()][model.look % PALETTE.light.length],
    dash: isRival ? [6, 3] : [1, 0],
    shape: model.is_ensemble ? "diamond" : SHAPES[model.look % SHAPES.length],
    width: model.is_ensemble ? 3.2 : 1.8,
    isHollow: isRival,
  };
}

function sign(model) {
  const { color, dash, shape, width, isHollow } = look(model);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ width: 30, height: 12, viewBox: "-15 -6 30 12", "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  const parts = [
    ["path", { d: "M-15,0H15", stroke: color, "stroke-width": width, "stroke-dasharray": dash.join(" ") }],
    ["path", { d: SHAPE_PATHS[shape], stroke: color, "stroke-width": 1.6, fill: isHollow ? css("page") : color }],
  ];
  for (const [tag, attributes] of parts) {
    const part = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
    svg.append(part);
  }
  return svg;
}

function drawSigns() {
  const byName = new Map(data.models.map((model) => [model.name, model]));
  for (const place of document.querySelectorAll("[data-model]")) {
    if (byName.has(place.dataset.model)) place.replaceChildren(sign(byName.get(place.dataset.model)));
  }
}

// The channels that tell models apart, the same in every chart.
function channels() {
  const looks = data.models.map(look);
  const broad = data.models.filter((model) => model.is_ensemble).map((model) => model.name);
  const scale = (range) => ({ domain: data.models.map((model) => model.name), range });
  const field = (range) => ({ field: "model", type: "nominal", legend: null, scale: scale(range) });
  return {
    color: field(looks.map((one) => one.color)),
    stroke: field(looks.map((one) => one.color)),
    fill: field(looks.map((one) => (one.isHollow ? css("page") : one.color))),
    shape: field(looks.map((one) => one.shape)),
    strokeDash: field(looks.map((one) => one.dash)),
    strokeWidth: { condition: { test: `indexof(${JSON.stringify(broad)}, datum.model) >= 0`, value: 3.2 }, value: 1.8 },
  };
}

// ---- elements

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Four digits, and no more decimals than they need.
function written(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const digits = Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 4 };
  return value.toLocaleString("en", digits).replace("-", "−");
}

// ---- tables

function sortTable(head) {
  const table = head.closest("table"), column = head.cellIndex, body = table.tBodies[0];
  const direction = head.ariaSort === "ascending" ? -1 : 1;
  const key = (row) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const compare = (one, other) => {
    const a = key(one), b = key(other);
    if ((a === "") !== (b === "")) return a === "" ? 1 : -1; // empty ones last
    return direction * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  };
  body.append(...[...body.rows].sort(compare));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.ariaSort = direction === 1 ? "ascending" : "descending";
}

// ---- charts

const drawn = new Map(); // what stands in each element: text of the specification, and the view

function chartConfig() {
  const [text, quiet, line] = ["text", "quiet", "line"].map(css);
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: quiet, titleColor: quiet, gridColor: line, gridOpacity: 0.7, domain: false, ticks: false, labelPadding: 6,
      titleFontWeight: "normal", titleFontSize: 12, labelFontSize: 11, titlePadding: 8, labelLimit: 150,
    },
    axisY: { tickCount: 5 },
    header: { labelColor: text, titleColor: quiet },
    legend: { labelColor: text, titleColor: quiet },
    text: { color: text },
    rule: { color: quiet },
  };
}

// Draw a chart of rows by name; where only the rows are others than before, the chart stays and takes them.
function draw(place, specification, rows, onClick = null) {
  const spec = { width: "container", height: CHART_HEIGHT, data: { name: "rows" }, ...specification };
  const text = JSON.stringify(spec) + theme();
  const before = drawn.get(place);
  if (before && before.text === text) {
    before.rows = rows;
    if (before.view) fill(before.view, rows);
    return;
  }
  if (before && before.view) before.view.finalize();
  const chart = { text, rows, view: null };
  drawn.set(place, chart);
  const options = { mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, config: chartConfig(), logLevel: 1 };
  options.tooltip = (handler, event, item, value) => showTooltip(event, value);
  vegaEmbed(place, { ...spec, datasets: rows }, options).then(({ view }) => {
    if (drawn.get(place) !== chart) {
      view.finalize(); // another has come in the meantime
      return;
    }
    chart.view = view;
    if (onClick) view.addEventListener("click", (event, item) => item && item.datum && onClick(item.datum));
    if (chart.rows !== rows) fill(view, chart.rows);
  });
}

function fill(view, rows) {
  for (const [name, values] of Object.entries(rows)) view.data(name, values);
  view.resize().runAsync();
}

function empty(place, text) {
  if (drawn.has(place) && drawn.get(place).view) drawn.get(place).view.finalize();
  drawn.delete(place);
  place.replaceChildren(element("p", { class: "empty" }, text));
}

function showTooltip(event, value) {
  const box = document.getElementById("tooltip");
  box.hidden = !value;
  if (!value) return;
  const lines = Object.entries(value).map(([name, told]) => element("div", {}, element("span", {}, name), element("span", {}, String(told))));
  box.replaceChildren(...lines);
  const { clientX: x, clientY: y } = event.touches ? event.touches[0] : event;
  box.style.left = `${Math.max(Math.min(x + 14, innerWidth - box.offsetWidth - 8), 4)}px`;
  box.style.top = `${y + box.offsetHeight + 24 > innerHeight ? y - box.offsetHeight - 12 : y + 14}px`;
}

const NUMBER = ",.4~r";

// Lines with a point for each row, one line a model (and seed): x and y are fields of the rows.
function linesChart({ x, y, zero = false, points = true, layers = [], detail = [] }) {
  const { color, stroke, fill, shape, strokeDash, strokeWidth } = channels();
  const encoding = {
    x: { type: "quantitative", ...x },
    y: { type: "quantitative", scale: { zero, nice: true }, ...y },
    detail: [{ field: "model" }, ...detail.map((field) => ({ field }))],
    tooltip: [{ field: "model", title: "model" }, { ...x, title: x.title }, { ...y, title: y.title, format: NUMBER }].map(
      ({ field, title, format }) => ({ field, title, format, type: format ? "quantitative" : "nominal" })
    ),
  };
  const marks = [{ mark: { type: "line", strokeJoin: "round" }, encoding: { ...encoding, color, strokeDash, strokeWidth } }];
  const point = { type: "point", size: points ? 36 : 90, strokeWidth: 1.6, opacity: points ? 1 : 0 };
  marks.push({ mark: point, encoding: { ...encoding, stroke, fill, shape } });
  return { layer: [...layers, ...marks] };
}

// What models give beside the seconds of their fits: a sign for each of the rows, a name for those that are "named".
function costChart({ x, y, title, format }) {
  const { stroke, fill, shape } = channels();
  const seconds = { field: x, type: "quantitative", title: "fitting, seconds" };
  const encoding = {
    x: { ...seconds, scale: { type: "log", nice: true, padding: 20 }, axis: { format: "~g", tickCount: 5 } },
    y: { field: y, type: "quantitative", title, scale: { zero: false, nice: true, padding: 14 }, axis: format === "%" ? { format } : {} },
    tooltip: [{ field: "model" }, { ...seconds, format: NUMBER }, { field: y, type: "quantitative", title, format }],
  };
  const name = { type: "text", dy: -12, fontSize: 11, limit: 160 };
  return {
    layer: [
      { mark: { type: "point", size: 90, strokeWidth: 1.8, opacity: 1 }, encoding: { ...encoding, stroke, fill, shape } },
      { data: { name: "named" }, mark: name, encoding: { x: encoding.x, y: encoding.y, text: { field: "model" } } },
    ],
  };
}

// ---- start

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  drawSigns();
  document.dispatchEvent(new Event("themechange"));
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.dataset.theme = prefersDark.matches ? "dark" : "light";
prefersDark.addEventListener("change", () => setTheme(prefersDark.matches ? "dark" : "light"));
document.getElementById("theme").addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));
document.addEventListener("click", (event) => {
  const head = event.target.closest("table.sortable th");
  if (head) sortTable(head);
});
document.addEventListener("scroll", () => showTooltip(null, null), { passive: true });
drawSigns();
