// Charts as Vega-Lite specifications. Their data carry their look (colour, fill, shape, dash, text), so that a
// choice changes data and parameters only. Colours are the style sheet's variables: a dark page needs no other chart.

const KEYS = ["checkpoint", "step", "layer", "removal", "property", "subject"];
const own = (field) => ({ field, type: "nominal", scale: null, legend: null });
const text = { field: "text" };
const when = (test, yes, no) => ({ condition: { test, value: yes }, value: no });
const BOLD = when("datum.value === chosen", "bold", "normal");
const BOUNDED = "isValid(datum.low) && isValid(datum.high)";
const POINT = { type: "point", strokeWidth: 1, cursor: "pointer", opacity: 1 };
const RING = { type: "point", size: 260, strokeWidth: 1.8, cursor: "pointer", opacity: 1 };
const LOOK = { fill: own("fill"), stroke: own("edge"), shape: own("shape"), tooltip: text };
const CONFIG = {
  aria: false,
  background: null,
  view: { stroke: null },
  font: "system-ui, sans-serif",
  axis: {
    ...{ labelFontSize: 11, labelColor: "var(--soft)", labelOverlap: "greedy", labelLimit: 160 },
    ...{ titleFontSize: 11.5, titleFontWeight: "normal", titleColor: "var(--soft)" },
    ...{ gridColor: when("datum.value === 0", "var(--ink)", "var(--rule)"), tickColor: "var(--rule)", domain: false },
  },
};
const parameters = (...names) => names.map((name) => ({ name, value: [0, 1] }));

/** A channel of numbers; the parameter `domain` says from where to where its axis runs. */
function numeric(field, title, domain, axis) {
  return { field, type: "quantitative", title, axis, scale: { domain: { expr: domain }, nice: false, zero: false } };
}

/** Curves over places on a line, with bands or bars of intervals, null intervals, rings, and horizontal lines. */
function curves(xTitle, yTitle, turned) {
  const labels = { values: { expr: "places" }, labelExpr: "labels[indexof(places, datum.value)]" };
  const look = { labelAngle: turned ? -40 : 0, labelFontWeight: BOLD, grid: false };
  const x = numeric("place", xTitle, "across", { ...labels, ...look });
  const y = (field) => numeric(field, yTitle, "extent", { tickCount: 6 });
  const dense = (yes, no) => ({ expr: `length(places) > 40 ? ${yes} : ${no}` });
  const layer = (filter, mark, encoding) => ({ transform: [{ filter }], mark, encoding: { x, ...encoding } });
  const interval = (low, high) => ({ y: y(low), y2: { field: high } });
  const width = { ...own("width"), type: "quantitative" };
  const line = { detail: { field: "series" }, strokeDash: own("dash"), strokeWidth: width };
  const stroke = own("colour");
  const nulls = { type: "rule", strokeWidth: dense(4, 12), stroke: "var(--null)" };
  const across = { type: "rule", strokeWidth: 1.4, stroke: "var(--dashed)" };
  return {
    height: 205,
    params: parameters("places", "labels", "across", "extent", "chosen"),
    layer: [
      layer("datum.chosen", { type: "rule", strokeWidth: 14, stroke: "var(--tint)" }),
      layer("isValid(datum.null_low)", nulls, interval("null_low", "null_high")),
      { data: { name: "lines" }, mark: across, encoding: { y: y("y"), strokeDash: own("dash"), tooltip: text } },
      layer(`datum.band && ${BOUNDED}`, { type: "area", opacity: 0.13 }, { ...interval("low", "high"), fill: stroke }),
      layer("!datum.alone", { type: "line", strokeJoin: "round" }, { y: y("y"), stroke, ...line }),
      layer(`datum.bars && ${BOUNDED}`, { type: "rule", strokeWidth: 1.6 }, { ...interval("low", "high"), stroke }),
      layer("datum.ring", RING, { y: y("y"), stroke, tooltip: text }),
      { name: "point", ...layer("true", { ...POINT, size: dense(22, 80) }, { y: y("y"), ...LOOK }) },
    ],
  };
}

/** One interval per row, around zero. */
function forest(xTitle, rows) {
  const x = (field) => numeric(field, xTitle, "extent", { tickCount: 5 });
  const y = { field: "label", type: "nominal", sort: null, title: null };
  const stroke = own("colour");
  const layer = (filter, mark, encoding) => ({ transform: [{ filter }], mark, encoding });
  const row = { fill: when("datum.chosen", "var(--tint)", "transparent"), tooltip: text };
  return {
    height: 25 * rows,
    params: parameters("extent", "chosen"),
    encoding: { y: { ...y, axis: { grid: false, ticks: false, labelFontWeight: BOLD } } },
    layer: [
      layer("true", { type: "rect", cursor: "pointer" }, row),
      layer(BOUNDED, { type: "rule", strokeWidth: 1.8 }, { x: x("low"), x2: { field: "high" }, stroke }),
      layer("datum.ring", RING, { x: x("y"), stroke, tooltip: text }),
      { name: "point", ...layer("true", { ...POINT, size: 80 }, { x: x("y"), ...LOOK }) },
    ],
  };
}

/** A value per step and layer as shades. */
function heat(layers) {
  const steps = { labelExpr: "format(datum.value, ',')", labelAngle: 0, labelSeparation: 8, ticks: false };
  const scale = { range: [0.08, 1], zero: false, nice: false };
  const shade = { field: "y", type: "quantitative", legend: null, scale };
  const cell = { type: "rect", fill: "var(--shade)", cursor: "pointer" };
  const frame = { type: "rect", fill: null, stroke: "var(--ink)", strokeWidth: 2 };
  return {
    height: layers * Math.max(14, Math.min(34, 210 / layers)),
    encoding: {
      x: { field: "step", type: "ordinal", title: "training step", axis: steps },
      y: { field: "layer", type: "ordinal", sort: "descending", title: "layer", axis: { ticks: false } },
    },
    layer: [
      { name: "cell", mark: cell, encoding: { fillOpacity: shade, tooltip: text } },
      { transform: [{ filter: "datum.chosen" }], mark: frame },
    ],
  };
}

/** From the least to the greatest of `values`, with some room on both sides. */
function extent(values) {
  const numbers = values.filter(known);
  const low = numbers.reduce((a, b) => Math.min(a, b), Infinity);
  const high = numbers.reduce((a, b) => Math.max(a, b), -Infinity);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return numbers.length ? [low - room, high + room] : [0, 1];
}

function legendEntry({ colour, fill, edge, shape, dash, block, width, text: words }) {
  const sample = make("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" });
  const stroke = { stroke: colour, "stroke-width": width, "stroke-dasharray": dash?.join(" ") };
  const outline = { d: shape, transform: "translate(13 6) scale(4.5)", fill, stroke: edge, "stroke-width": 0.3 };
  if (block) sample.append(make("rect", { x: 3, y: 1, width: 20, height: 10, fill: colour }));
  if (width) sample.append(make("line", { x1: 0, x2: 26, y1: 6, y2: 6, ...stroke }));
  if (shape) sample.append(make("path", outline));
  return make("li", {}, sample, words);
}

/**
 * A chart in `host`, empty at first, with the table of the numbers drawn below it.
 *
 * It resolves to a function that shows: a title, words on it, a legend's entries, points (each with the `row` of the
 * table `source` that it draws, and `pick`, what a click on it chooses), lines across, and the axes' parameters.
 */
async function chart(host, spec, choose) {
  const heading = make("h3");
  const note = make("p", { class: "note" });
  const legend = make("ul", { class: "legend" });
  const plot = make("div", { class: "plot", role: "img" });
  const numbers = make("div", { class: "grid-host" });
  const details = make("details", { toggle: showNumbers }, make("summary", {}, "Numbers drawn"), numbers);
  let drawn = null;
  host.replaceChildren(heading, note, legend, plot, details);
  const data = { width: "container", data: { name: "points" }, datasets: { points: [], lines: [] } };
  // The interpreter of expressions (`ast`) needs no eval, which the page's policy forbids. Level 1: errors alone.
  const options = { mode: "vega-lite", ast: true, renderer: "svg", actions: false, tooltip: false, logLevel: 1 };
  const { view } = await vegaEmbed(plot, { ...data, config: CONFIG, ...spec }, { ...options, defaultStyle: false });
  view.addEventListener("click", (event, item) => item?.datum?.pick && choose(item.datum.pick));

  function showNumbers() {
    if (details.open) showTable(numbers, drawn());
  }

  return function show({ title, words, entries, points, source, lines = [], axes = {} }) {
    heading.textContent = title;
    note.textContent = words;
    plot.setAttribute("aria-label", `${title}. ${words} The numbers follow as a table.`);
    legend.replaceChildren(...entries.map(legendEntry));
    drawn = () => source.of([...new Set(points.map((point) => point.row))], KEYS);
    showNumbers();
    const chosen = points.find((point) => point.chosen);
    for (const [name, value] of Object.entries(axes)) view.signal(name, value);
    if (spec.params) view.signal("chosen", (axes.places ? chosen?.place : chosen?.label) ?? null);
    view.data("points", points.filter((point) => known(point.y)));
    if (axes.places) view.data("lines", lines);
    view.run();
  };
}
