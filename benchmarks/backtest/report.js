// The report of a backtest: what is chosen, and a function for each view that draws it anew.
"use strict";

const state = { period: 0, on: new Set(data.switched_on), grouping: 0, origin: 0, component: 0, intervals: true, worst: data.switched_on[0] };
const byId = (id) => document.getElementById(id);
const chartOf = (name) => document.querySelector(`[data-view="${name}"]`);
const period = () => data.periods[state.period];
const switchedOn = () => data.models.filter((model) => state.on.has(model.name));
const inUnit = (name, unit = data.unit) => (unit ? `${name}, ${unit}` : name);
const ERROR = data.is_scaled ? "MASE" : inUnit("MAE");

// Rows for a chart: those that `make` gives for each model that is switched on and has something there.
function rowsOf(byModel, make) {
  return switchedOn().flatMap((model) => (byModel[model.name] ? make(byModel[model.name], model.name) : []));
}

const bySteps = (values, model) => values.map((value, step) => ({ model, x: step + 1, y: value }));
const wholeSteps = { field: "x", title: "steps ahead", axis: { tickMinStep: 1, format: "d" } };
const zeroLine = { data: { values: [{}] }, mark: { type: "rule" }, encoding: { y: { datum: 0 } } };

// ---- models

function drawModels() {
  const chip = (model) => {
    const button = element("button", { type: "button", "aria-pressed": String(state.on.has(model.name)) },
      element("span", { class: "sign", "data-model": model.name }), model.name);
    button.addEventListener("click", () => {
      state.on[state.on.has(model.name) ? "delete" : "add"](model.name);
      button.setAttribute("aria-pressed", String(state.on.has(model.name)));
      drawViews();
    });
    return button;
  };
  const all = element("button", { type: "button", onclick: () => switchAll(data.models.map((model) => model.name)) }, "All");
  const few = element("button", { type: "button", onclick: () => switchAll(data.switched_on) }, "Best");
  byId("models").replaceChildren(...data.models.map(chip), ...(data.models.length > data.switched_on.length ? [all, few] : []));
  drawSigns();
}

function switchAll(names) {
  state.on = new Set(names);
  drawModels();
  drawViews();
}

// ---- ranking

function drawErrorsOfSeeds() {
  const { ranking } = period();
  const median = (values) => {
    const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  };
  const names = Object.keys(ranking);
  const rows = names.flatMap((model) => ranking[model].map((error) => ({ model, error })));
  const medians = names.filter((model) => ranking[model].length > 1).map((model) => ({ model, error: median(ranking[model]) }));
  const { color, stroke, fill, shape } = channels();
  const title = data.ranked_by || inUnit("MAE");
  const encoding = {
    y: { field: "model", type: "nominal", sort: names, title: null, axis: { grid: true, labelLimit: innerWidth < 640 ? 130 : 200 } },
    x: { field: "error", type: "quantitative", scale: { zero: false }, title, axis: { tickCount: 5 } },
    tooltip: [{ field: "model" }, { field: "error", type: "quantitative", title, format: NUMBER }],
  };
  draw(chartOf("errors-of-seeds"), {
    height: 40 + 24 * names.length,
    layer: [
      { data: { name: "medians" }, mark: { type: "tick", thickness: 3, size: 16 }, encoding: { ...encoding, color } },
      { mark: { type: "point", size: 60, strokeWidth: 1.6, opacity: 1 }, encoding: { ...encoding, stroke, fill, shape } },
    ],
  }, { rows, medians });
}

function drawSteps() {
  const rows = rowsOf(period().steps, bySteps);
  const points = !rows.some((row) => row.x > 24);
  draw(chartOf("steps"), linesChart({ x: wholeSteps, y: { field: "y", title: inUnit("MAE") }, points }), { rows });
}

// ---- forecasts

const CLOCK = { hours: "%H:%M", minutes: "%H:%M", day: "%d %b", date: "%d %b", week: "%d %b", month: "%b %Y", year: "%Y" };
const unpacked = new WeakMap();

function unpack(packed) {
  if (!unpacked.has(packed)) {
    const bytes = Uint8Array.from(atob(packed.numbers), (character) => character.charCodeAt(0));
    const numbers = new Uint16Array(bytes.buffer);
    unpacked.set(packed, Array.from(numbers, (number) => (number === 65535 ? null : packed.low + packed.step * number)));
  }
  return unpacked.get(packed);
}

// Time of a step, as charts take it: milliseconds, or the number of the step in a series without dates.
function timeAt(forecasts, place) {
  return forecasts.times ? forecasts.times[place] * 1000 : forecasts.first_step + forecasts.step * place;
}

function timeText(forecasts, place) {
  if (!forecasts.times) return `step ${timeAt(forecasts, place)}`;
  const text = new Date(timeAt(forecasts, place)).toISOString();
  return forecasts.is_daily ? text.slice(0, 10) : text.slice(0, 16).replace("T", " ");
}

function drawBrowsing() {
  const { forecasts } = period();
  const last = forecasts.starts.length - 1;
  state.origin = Math.min(state.origin, last);
  const slider = element("input", { type: "range", id: "origin", min: 0, max: last, value: state.origin, "aria-label": "Forecast" });
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  const step = (by, text, label) => element("button", { type: "button", "aria-label": label, onclick: () => goTo(state.origin + by) }, text);
  const parts = [
    element("label", { class: "wide" }, step(-1, "‹", "Earlier forecast"), slider, step(1, "›", "Later forecast")),
    element("output", { id: "origin-text", for: "origin" }),
  ];
  if (data.components.length > 1) {
    const options = forecasts.components.map((component, place) => element("option", { value: place }, data.components[component]));
    const select = element("select", { id: "component" }, ...options);
    select.value = state.component = Math.min(state.component, forecasts.components.length - 1);
    select.addEventListener("change", () => { state.component = Number(select.value); drawForecast(); });
    parts.unshift(element("label", {}, "Series", select));
  }
  if (forecasts.levels.length) {
    const box = element("input", { type: "checkbox", id: "show-intervals" });
    box.checked = state.intervals;
    box.addEventListener("change", () => { state.intervals = box.checked; drawForecast(); });
    parts.push(element("label", {}, box, "intervals"));
  }
  byId("browsing").replaceChildren(...parts);
  byId("forecast-note").textContent = browsingNote(forecasts);
}

function browsingNote(forecasts) {
  const { levels } = forecasts, percent = (share) => `${written(100 * share)} %`;
  const told = ["The plain line shows the observations, including those before the forecast."];
  if (levels.length) {
    const inner = levels.length > 2 ? `, darker of ${percent(levels[levels.length - 2] - levels[1])}` : "";
    told.push(`Shaded: central intervals of ${percent(levels[levels.length - 1] - levels[0])}${inner}.`);
  }
  if (data.has_seeds) told.push("With several seeds, the first is shown; “x2” and the like are averages over all seeds.");
  if (forecasts.starts.length < forecasts.n_origins) {
    told.push(`To keep the page small, it holds ${forecasts.starts.length} of ${written(forecasts.n_origins)} forecasts, evenly spaced, and the worst ones.`);
  }
  if (forecasts.components.length < data.components.length) {
    told.push(`It holds ${forecasts.components.length} of ${data.components.length} series, from the easiest to the hardest, and those of the worst forecasts.`);
  }
  return told.join(" ");
}

function goTo(origin) {
  const last = period().forecasts.starts.length - 1;
  state.origin = Math.max(0, Math.min(origin, last));
  byId("origin").value = state.origin;
  drawForecast();
}

function drawForecast() {
  const { forecasts } = period();
  const { horizon, starts } = forecasts;
  const history = innerWidth < 640 ? Math.min(forecasts.history, 2 * horizon) : forecasts.history;
  const begin = starts[state.origin], component = state.component;
  byId("origin-text").textContent = `from ${timeText(forecasts, begin)}`;
  const observed = unpack(forecasts.observed[component]);
  const truth = [];
  for (let place = Math.max(0, begin - history); place < begin + horizon; place += 1) {
    truth.push({ t: timeAt(forecasts, place), y: observed[place], text: timeText(forecasts, place), model: "truth" });
  }
  // a value between two gaps is on no line
  const alone = truth.filter(({ y }, place) => y !== null && [place - 1, place + 1].every((beside) => !truth[beside] || truth[beside].y === null));
  const lines = [], bands = [];
  for (const { name } of switchedOn()) {
    const packed = forecasts.models[name];
    if (!packed) continue;
    const point = unpack(packed.point[component]);
    const bounds = packed.bounds.map((of_level) => unpack(of_level[component]));
    for (let step = 0; step < horizon; step += 1) {
      const at = state.origin * horizon + step, t = timeAt(forecasts, begin + step);
      lines.push({ t, y: point[at], model: name, text: timeText(forecasts, begin + step) });
      for (let pair = 0; state.intervals && pair < bounds.length / 2; pair += 1) {
        bands.push({ t, low: bounds[pair][at], high: bounds[bounds.length - 1 - pair][at], model: name, pair });
      }
    }
  }
  const { color, stroke, fill, shape, strokeDash, strokeWidth } = channels();
  const x = { field: "t", title: null, ...(forecasts.times ? { type: "temporal", scale: { type: "utc" }, axis: { format: CLOCK } } : { type: "quantitative", title: "step", scale: { zero: false, nice: false } }) };
  const title = inUnit(data.components.length > 1 ? data.components[forecasts.components[component]] : data.components[0]);
  const y = { field: "y", type: "quantitative", scale: { zero: false }, title };
  const tooltip = [{ field: "model", title: "line" }, { field: "text", title: "time" }, { field: "y", type: "quantitative", title: "value", format: NUMBER }];
  const size = horizon > 48 ? 60 : 26;
  draw(chartOf("forecast"), {
    height: innerWidth < 640 ? 300 : 380,
    encoding: { x },
    layer: [
      { data: { name: "bands" }, mark: { type: "area", opacity: 0.13 }, encoding: { y: { ...y, field: "low" }, y2: { field: "high" }, detail: { field: "pair" }, color } },
      { data: { name: "start" }, mark: { type: "rule", strokeDash: [2, 3] }, encoding: {} },
      { data: { name: "truth" }, mark: { type: "line", color: css("text"), strokeWidth: 2.4 }, encoding: { y } },
      { data: { name: "alone" }, mark: { type: "point", filled: true, opacity: 1, color: css("text"), size: 18 }, encoding: { y } },
      { data: { name: "truth" }, mark: { type: "point", opacity: 0, size: 50 }, encoding: { y, tooltip } },
      { mark: { type: "line" }, encoding: { y, color, strokeDash, strokeWidth } },
      { mark: { type: "point", size, strokeWidth: 1.4, opacity: horizon > 48 ? 0 : 1 }, encoding: { y, stroke, fill, shape, tooltip } },
    ],
  }, { rows: lines, bands, truth, alone, start: [{ t: timeAt(forecasts, begin) }] });
}

// Show one forecast: its place among those of the period, and its component.
function openForecast(origin, component) {
  const { forecasts } = period();
  state.component = Math.max(forecasts.components.indexOf(component), 0);
  if (byId("component")) byId("component").value = state.component;
  goTo(Math.max(forecasts.origins.indexOf(origin), 0));
  byId("forecasts").scrollIntoView({ behavior: "smooth" });
}

// ---- errors

function drawGroupingChoice() {
  const { groupings } = period();
  state.grouping = Math.min(state.grouping, Math.max(groupings.length - 1, 0));
  byId("groups").hidden = groupings.length === 0;
  byId("grouping").replaceChildren(...groupings.map(({ title }, place) => element("option", { value: place }, title)));
  byId("grouping").value = state.grouping;
}

function drawGroups() {
  const grouping = period().groupings[state.grouping];
  if (!grouping) return;
  const { title, labels, counts, errors } = grouping;
  const rows = rowsOf(errors, (values, model) => values.map((y, place) => ({ model, x: labels[place], y, n: counts[place] })));
  const width = Math.max(...labels.map((label) => label.length)) * labels.length * 7;
  const x = { field: "x", type: "nominal", sort: null, title, axis: { labelAngle: width > chartOf("groups").clientWidth - 60 ? -35 : 0, labelOverlap: false } };
  draw(chartOf("groups"), linesChart({ x, y: { field: "y", title: ERROR } }), { rows });
}

const MOST_DOTS = 30; // series that have a line each; more of them are compared in pairs of models

function drawComponents() {
  const place = chartOf("components");
  if (!place) return;
  const { by_component } = period();
  const open = (row) => row.component !== undefined && openWorstOf(row.component);
  const { stroke, fill, shape } = channels();
  if (data.components.length <= MOST_DOTS) {
    const rows = rowsOf(by_component, (values, model) => values.map((error, component) => ({ model, error, component, name: data.components[component] })));
    draw(place, {
      height: 40 + 26 * data.components.length,
      mark: { type: "point", size: 60, strokeWidth: 1.6, opacity: 1, cursor: "pointer" },
      encoding: {
        y: { field: "name", type: "nominal", sort: null, title: null, axis: { grid: true } },
        x: { field: "error", type: "quantitative", scale: { zero: false }, title: ERROR },
        stroke, fill, shape,
        tooltip: [{ field: "name", title: "series" }, { field: "model" }, { field: "error", type: "quantitative", title: ERROR, format: NUMBER }],
      },
    }, { rows }, open);
    return;
  }
  const [across, up] = drawPairChoice(Object.keys(by_component));
  const rows = data.components.map((name, component) => ({ name, component, x: by_component[across][component], y: by_component[up][component] }))
    .filter((row) => row.x !== null && row.y !== null);
  const wins = rows.filter((row) => row.y < row.x).length;
  const values = rows.flatMap((row) => [row.x, row.y]), low = Math.min(...values), high = Math.max(...values);
  const scale = { type: low > 0 ? "log" : "linear", domain: [low, high], nice: false };
  const axis = { tickCount: 5, format: "~g" };
  draw(place, {
    title: { text: `${up} is better for ${wins} of ${rows.length} series (below the line)`, anchor: "start", fontSize: 12, fontWeight: "normal", color: css("quiet"), limit: place.clientWidth },
    layer: [
      { data: { name: "diagonal" }, mark: { type: "line", strokeDash: [2, 3], color: css("quiet") }, encoding: { x: { field: "x", type: "quantitative", scale }, y: { field: "y", type: "quantitative", scale } } },
      {
        mark: { type: "point", size: 36, filled: true, opacity: 0.55, color: css("strong"), cursor: "pointer" },
        encoding: {
          x: { field: "x", type: "quantitative", title: `${ERROR} of ${across}`, axis, scale },
          y: { field: "y", type: "quantitative", title: `${ERROR} of ${up}`, axis, scale },
          tooltip: [{ field: "name", title: "series" }, { field: "x", type: "quantitative", title: across, format: NUMBER }, { field: "y", type: "quantitative", title: up, format: NUMBER }],
        },
      },
    ],
  }, { rows, diagonal: [{ x: low, y: low }, { x: high, y: high }] }, open);
}

// Return the models that are compared series by series: the best rival across and the best of ours up, at first.
function drawPairChoice(names) {
  const controls = byId("component-models");
  if (!controls.children.length) {
    const ours = data.models.find((model) => model.is_ours) || data.models[0];
    const other = data.models.find((model) => !model.is_ours && model !== ours) || data.models[data.models.length - 1];
    for (const [label, first] of [["Across", other.name], ["Up", ours.name]]) {
      const select = element("select", { onchange: drawComponents }, ...names.map((name) => element("option", {}, name)));
      select.value = first;
      controls.append(element("label", {}, label, select));
    }
  }
  return [...controls.querySelectorAll("select")].map((select) => select.value);
}

function openWorstOf(component) {
  const worst = Object.values(period().worst).flat().find((one) => one.component === component);
  if (period().forecasts.components.includes(component)) openForecast(worst ? worst.origin : period().forecasts.origins[0], component);
}

// ---- residuals and calibration

function drawBias() {
  const rows = rowsOf(period().bias, bySteps);
  const y = { field: "y", title: data.is_scaled ? "bias, seasonal naive errors" : inUnit("bias") };
  draw(chartOf("bias"), linesChart({ x: wholeSteps, y, points: !rows.some((row) => row.x > 24), layers: [zeroLine] }), { rows });
}

function drawAutocorrelation() {
  const { autocorrelation, n_forecasts } = period();
  const rows = rowsOf(autocorrelation, bySteps);
  if (!rows.length) {
    empty(chartOf("autocorrelation"), "There are too few forecasts, or no model is switched on.");
    return;
  }
  const bound = 1.96 / Math.sqrt(n_forecasts);
  const bounds = [-bound, bound].map((value) => ({ data: { values: [{}] }, mark: { type: "rule", strokeDash: [2, 3] }, encoding: { y: { datum: value } } }));
  const x = { field: "x", title: data.stride === 1 ? "lag, steps" : `lag, forecasts (${data.stride} steps apart)`, axis: { tickMinStep: 1, format: "d" } };
  draw(chartOf("autocorrelation"), linesChart({ x, y: { field: "y", title: "autocorrelation" }, layers: [zeroLine, ...bounds] }), { rows });
}

function drawCalibration() {
  if (!data.periods[0].levels.length) return;
  const { levels, reached } = period();
  const rows = rowsOf(reached, (values, model) => values.map((y, place) => ({ model, x: levels[place], y })));
  const diagonal = {
    data: { values: [{ x: 0, y: 0 }, { x: 1, y: 1 }] }, mark: { type: "line", strokeDash: [2, 3], color: css("quiet") },
    encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative" } },
  };
  const axis = { format: "%" };
  draw(chartOf("reached"), linesChart({ x: { field: "x", title: "nominal level", axis }, y: { field: "y", title: "share of observations at or below", axis }, layers: [diagonal] }), { rows });
  drawIntervals(levels, reached);
}

function drawIntervals(levels, reached) {
  const pairs = levels.slice(0, levels.length >> 1).map((_, place) => [place, levels.length - 1 - place]);
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const heads = ["model", ...pairs.map(([low, high]) => `nominal ${written(100 * (levels[high] - levels[low]))} %`)];
  const rows = rowsOf(reached, (values, model) => [[
    { text: model, model }, ...pairs.map(([low, high]) => ({ text: percent(values[high] - values[low]), value: values[high] - values[low] })),
  ]]);
  byId("intervals").replaceChildren(tableOf(heads, rows));
  drawSigns();
}

function tableOf(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, element("button", { type: "button" }, text))));
  const cell = ({ text, value, model, node }) => element("td", { "data-value": value },
    ...(model ? [element("span", { class: "sign", "data-model": model })] : []), node || text);
  const body = rows.map((cells) => element("tr", {}, ...cells.map(cell)));
  return element("div", { class: "scroll", tabindex: 0 },
    element("table", { class: "sortable" }, element("thead", {}, head), element("tbody", {}, ...body)));
}

// ---- worst forecasts, cost, training

function drawWorst() {
  const { worst, forecasts } = period();
  const names = Object.keys(worst);
  if (!names.length) return;
  const select = byId("worst-model");
  if (select.options.length !== names.length) select.replaceChildren(...names.map((name) => element("option", {}, name)));
  state.worst = worst[state.worst] ? state.worst : names[0];
  select.value = state.worst;
  const hasSeries = data.components.length > 1;
  const heads = ["first step", ...(hasSeries ? ["series"] : []), `${ERROR} of ${state.worst}`, "best in this forecast", "its error", "shown above"];
  const rows = worst[state.worst].map(({ origin, component, errors }) => {
    const begin = forecasts.starts[forecasts.origins.indexOf(origin)];
    const [best, least] = Object.entries(errors).sort((one, other) => one[1] - other[1])[0];
    const open = () => {
      if (!state.on.has(state.worst)) switchAll([...state.on, state.worst]);
      openForecast(origin, component);
    };
    return [
      { text: timeText(forecasts, begin), value: begin }, ...(hasSeries ? [{ text: data.components[component] }] : []),
      { text: written(errors[state.worst]), value: errors[state.worst] }, { text: best, model: best }, { text: written(least), value: least },
      { node: element("button", { type: "button", class: "open", onclick: open }, "Open") },
    ];
  });
  byId("worst-table").replaceChildren(tableOf(heads, rows));
  drawSigns();
}

function drawFit() {
  const { ranking, fit_seconds } = period();
  const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
  const rows = Object.keys(ranking).map((model) => ({ model, x: Math.max(fit_seconds[model], 0.01), y: median(ranking[model]) }));
  const chart = costChart({ x: "x", y: "y", title: data.ranked_by || inUnit("MAE"), format: NUMBER });
  draw(chartOf("fit"), chart, { rows, named: rows.filter((row) => state.on.has(row.model)) });
}

function drawCurves() {
  const grid = byId("curve-grid");
  const shown = switchedOn().filter((model) => data.curves[model.name]);
  byId("curves").hidden = Object.keys(data.curves).length === 0;
  const places = new Map([...grid.children].map((figure) => [figure.dataset.curve, figure]));
  grid.replaceChildren(...shown.map(({ name }) => places.get(name) || element("figure", { "data-curve": name },
    element("figcaption", {}, element("span", { class: "sign", "data-model": name }), name), element("div", { class: "chart" }))));
  if (!shown.length) grid.replaceChildren(element("p", { class: "empty" }, "No network is switched on."));
  for (const model of shown) drawCurve([...grid.children].find((figure) => figure.dataset.curve === model.name).querySelector(".chart"), model);
  drawSigns();
}

// Return epochs for an axis: whole numbers, six or so.
function wholeTicks(fits) {
  const last = Math.max(...fits.map((fit) => fit.validation.length)), step = Math.max(1, Math.ceil(last / 6));
  return Array.from({ length: last }, (_, epoch) => epoch + 1).filter((epoch) => epoch % step === 0 || epoch === 1);
}

function drawCurve(place, model) {
  const fits = data.curves[model.name];
  const line = (kind) => fits.flatMap((fit, number) => fit[kind].map((loss, epoch) => ({ epoch: epoch + 1, loss, fit: number + 1 })).filter((row) => row.loss !== null));
  const rows = line("validation"), train = line("train");
  const lowest = fits.flatMap((_, number) => {
    const of_fit = rows.filter((row) => row.fit === number + 1);
    return of_fit.length ? [of_fit.reduce((best, row) => (row.loss < best.loss ? row : best))] : [];
  });
  const highest = Math.max(...(rows.length ? rows : train).map((row) => row.loss)), least = Math.min(...[...rows, ...train].map((row) => row.loss));
  const { color, shape, isHollow } = look(model);
  const encoding = {
    x: { field: "epoch", type: "quantitative", title: "epoch", axis: { values: wholeTicks(fits), format: "d" }, scale: { nice: false, zero: false } },
    y: { field: "loss", type: "quantitative", title: "loss", scale: { domain: [Math.min(least, highest) * (least > 0 ? 0.97 : 1), highest * (highest > 0 ? 1.03 : 1)], clamp: false } },
    detail: { field: "fit" },
    tooltip: [{ field: "epoch" }, { field: "loss", type: "quantitative", format: NUMBER }, { field: "fit" }],
  };
  draw(place, {
    height: 170,
    layer: [
      { data: { name: "train" }, mark: { type: "line", clip: true, strokeDash: [1, 3], color: css("quiet"), strokeWidth: 1.4 }, encoding },
      { mark: { type: "line", clip: true, color }, encoding },
      { data: { name: "lowest" }, mark: { type: "point", shape, stroke: color, fill: isHollow ? css("page") : color, size: 60, opacity: 1 }, encoding },
    ],
  }, { rows, train, lowest: data.stops_early ? lowest : [] });
}

// ---- all of it

function drawViews() {
  for (const view of [drawErrorsOfSeeds, drawSteps, drawForecast, drawGroups, drawComponents, drawBias, drawAutocorrelation, drawCalibration, drawFit, drawCurves]) view();
}

function drawPeriod() {
  for (const part of document.querySelectorAll("[data-period]")) part.hidden = Number(part.dataset.period) !== state.period;
  drawBrowsing();
  drawGroupingChoice();
  drawWorst();
  drawViews();
}

if (byId("period")) byId("period").addEventListener("change", (event) => { state.period = Number(event.target.value); state.origin = 0; drawPeriod(); });
byId("grouping").addEventListener("change", (event) => { state.grouping = Number(event.target.value); drawGroups(); });
byId("worst-model").addEventListener("change", (event) => { state.worst = event.target.value; drawWorst(); });
document.addEventListener("themechange", drawViews);
drawModels();
drawPeriod();
