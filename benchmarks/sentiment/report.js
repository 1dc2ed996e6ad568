// The report of the sentiment benchmark: a function for each chart.
"use strict";

const percents = { axis: { format: "%" }, type: "quantitative" };

// Draw a chart if there is anything to show, and otherwise leave out its place.
function drawIfAny(name, specification, rows) {
  const place = document.querySelector(`[data-view="${name}"]`);
  document.getElementById(name).hidden = !rows.rows.length;
  if (rows.rows.length) draw(place, specification, rows);
}

function drawRoc() {
  const rows = Object.entries(data.roc).flatMap(([model, { area, points }]) =>
    points.map(([x, y]) => ({ model: model, x, y, area })));
  const { color, strokeDash } = channels();
  const x = { field: "x", ...percents, title: "false positive rate (first class predicted as second)" };
  const y = { field: "y", ...percents, title: "true positive rate (second class)" };
  const tooltip = [{ field: "model" }, { field: "area", type: "quantitative", title: "area under the curve", format: ".3f" }];
  drawIfAny("roc", {
    layer: [
      { data: { name: "chance" }, mark: { type: "line", strokeDash: [2, 3], color: css("quiet") }, encoding: { x, y } },
      { mark: { type: "line", strokeWidth: 2 }, encoding: { x, y, color, strokeDash, tooltip, detail: { field: "model" } } },
    ],
  }, { rows, chance: [{ x: 0, y: 0 }, { x: 1, y: 1 }] });
}

function drawConfusion() {
  const x = { field: "predicted", type: "nominal", title: "predicted", axis: { labelAngle: 0 } };
  const y = { field: "true", type: "nominal", title: "true" };
  const tooltip = ["model", "true", "predicted", "texts", "share"].map((field) => ({ field }));
  const rows = data.confusion.map((row) => ({ ...row, share: `${(100 * row.part).toFixed(1)} %` }));
  drawIfAny("confusion", {
    width: 150, height: 120,
    facet: { field: "model", type: "nominal", title: null, sort: null, header: { labelLimit: 150 } }, columns: innerWidth < 640 ? 1 : 3,
    spec: {
      width: 150, height: 120,
      layer: [
        { mark: "rect", encoding: { x, y, color: { field: "part", type: "quantitative", legend: null, scale: { domain: [0, 1], range: [css("card"), css("strong")] } }, tooltip } },
        { mark: { type: "text", fontSize: 13 }, encoding: { x, y, text: { field: "texts", format: "," }, color: { condition: { test: "datum.part > 0.5", value: css("page") }, value: css("text") } } },
      ],
    },
  }, { rows });
}

function drawCurves() {
  const rows = Object.entries(data.curves).flatMap(([model, points]) => points.map(([x, y]) => ({ model, x, y })));
  const x = { field: "x", title: "training texts", scale: { type: "log", base: 2, nice: false }, axis: { labelOverlap: "greedy", labelSeparation: 8 } };
  drawIfAny("curves", linesChart({ x, y: { field: "y", title: "accuracy", axis: { format: "%" } } }), { rows });
}

function drawFit() {
  const rows = data.models.map(({ name }) => ({ model: name, ...data.fit[name] }));
  drawIfAny("fit", costChart({ x: "seconds", y: "accuracy", title: "accuracy", format: "%" }), { rows, named: [] }); // the names are long
}

function drawPhrases() {
  const rows = data.phrases.map(([text, n_texts, contribution]) => ({ name: `${text} (${n_texts})`, contribution }));
  drawIfAny("phrases", {
    height: 40 + 24 * rows.length,
    mark: { type: "bar", cornerRadius: 2 },
    encoding: {
      y: { field: "name", type: "nominal", sort: null, title: null, axis: { labelLimit: 180 } },
      x: { field: "contribution", type: "quantitative", title: "contribution to the logit" },
      color: { condition: { test: "datum.contribution < 0", value: PALETTE[theme()][1] }, value: PALETTE[theme()][0] },
      tooltip: [{ field: "name" }, { field: "contribution", type: "quantitative", format: NUMBER }],
    },
  }, { rows });
}

function drawAll() {
  for (const view of [drawRoc, drawConfusion, drawCurves, drawFit, drawPhrases]) view();
}

document.addEventListener("themechange", drawAll);
drawAll();
