// Charts as Vega-Lite specifications. Their data carry their look (colour, fill, shape, dash, text), so that a
// choice changes data and parameters only. Colours are the style sheet's variables: a dark page needs no other chart.

const own = (field) => ({ field, type: "nominal", scale: null, legend: null });
const text = { field: "text" };
const ZERO = { condition: { test: "datum.value === 0", value: "var(--ink)" }, value: "var(--rule)" };
const CONFIG = {
  aria: false,
  background: null,
  view: { stroke: null },
  font: "system-ui, sans-serif",
  axis: { labelFontSize: 11, titleFontSize: 11.5, titleFontWeight: "normal", labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: ZERO, tickColor: "var(--rule)", domain: false, labelOverlap: "greedy", labelLimit: 160 },
};
const POINT = { type: "point", strokeWidth: 1, cursor: "pointer", opacity: 1 };
const RING = { type: "point", size: 260, strokeWidth: 1.8, cursor: "pointer", opacity: 1 };
const looks = { fill: own("fill"), stroke: own("edge"), shape: own("shape"), tooltip: text };

/** Curves over places on a line, with bands or bars of intervals, null intervals, rings, and horizontal lines. */
function curves(xTitle, yTitle, turned) {
  const labels = { values: { expr: "places" }, labelExpr: "labels[indexof(places, datum.value)]", labelAngle: turned ? -40 : 0, labelFontWeight: { condition: { test: "datum.value === chosen", value: "bold" }, value: "normal" }, grid: false };
  const x = { field: "place", type: "quantitative", title: xTitle, axis: labels, scale: { domain: { expr: "across" }, nice: false } };
  const y = (field) => ({ field, type: "quantitative", title: yTitle, axis: { tickCount: 6 }, scale: { domain: { expr: "extent" }, nice: false, zero: false } });
  const layer = (mark, filter, encoding) => ({ transform: [{ filter }], mark, encoding: { x, ...encoding } });
  const range = { y: y("low"), y2: { field: "high" } };
  const bounded = "isValid(datum.low) && isValid(datum.high)";
  return {
    height: 205,
    params: ["places", "labels", "across", "extent", "chosen"].map((name) => ({ name, value: [0, 1] })),
    layer: [
      layer({ type: "rule", strokeWidth: 14, stroke: "var(--tint)" }, "datum.chosen", {}),
      layer({ type: "rule", strokeWidth: { expr: "length(places) > 40 ? 4 : 12" }, stroke: "var(--null)" }, "isValid(datum.null_low)", { y: y("null_low"), y2: { field: "null_high" } }),
      { data: { name: "lines" }, mark: { type: "rule", strokeWidth: 1.4, stroke: "var(--dashed)" }, encoding: { y: y("y"), strokeDash: own("dash"), tooltip: text } },
      layer({ type: "area", opacity: 0.13 }, `datum.band && ${bounded}`, { ...range, fill: own("colour") }),
      { name: "curve", ...layer({ type: "line", strokeJoin: "round" }, "!datum.alone", { y: y("y"), stroke: own("colour"), strokeDash: own("dash"), strokeWidth: { ...own("width"), type: "quantitative" }, detail: { field: "series" } }) },
      layer({ type: "rule", strokeWidth: 1.6 }, `datum.bars && ${bounded}`, { ...range, stroke: own("colour") }),
      layer(RING, "datum.ring", { y: y("y"), stroke: own("colour"), tooltip: text }),
      { name: "point", ...layer({ ...POINT, size: { expr: "length(places) > 40 ? 22 : 80" } }, "true", { y: y("y"), ...looks }) },
    ],
  };
}

/** One interval per row, around zero. */
function forest(xTitle, rows) {
  const y = { field: "label", type: "nominal", sort: null, title: null, axis: { grid: false, ticks: false } };
  const x = (field) => ({ field, type: "quantitative", title: xTitle, axis: { tickCount: 5 }, scale: { domain: { expr: "extent" }, nice: false } });
  const row = { condition: { test: "datum.chosen", value: "var(--tint)" }, value: "transparent" };
  return {
    height: 25 * rows,
    params: [{ name: "extent", value: [0, 1] }],
    encoding: { y },
    layer: [
      { mark: { type: "rect", cursor: "pointer" }, encoding: { fill: row, tooltip: text } },
      { mark: { type: "rule", strokeWidth: 1.8 }, encoding: { x: x("low"), x2: { field: "high" }, stroke: own("colour") }, transform: [{ filter: "isValid(datum.low) && isValid(datum.high)" }] },
      { mark: RING, encoding: { x: x("y"), stroke: own("colour"), tooltip: text }, transform: [{ filter: "datum.ring" }] },
      { name: "point", mark: { ...POINT, size: 80 }, encoding: { x: x("y"), ...looks } },
    ],
  };
}

/** A value per step and layer as shades. */
function heat(layers) {
  const shade = { field: "y", type: "quantitative", legend: null, scale: { range: [0.08, 1], zero: false, nice: false } };
  return {
    height: layers * Math.max(14, Math.min(34, 210 / layers)),
    encoding: {
      x: { field: "step", type: "ordinal", title: "training step", axis: { labelExpr: "format(datum.value, ',')", labelAngle: 0, labelSeparation: 8, ticks: false } },
      y: { field: "layer", type: "ordinal", sort: "descending", title: "layer", axis: { ticks: false } },
    },
    layer: [
      { name: "cell", mark: { type: "rect", fill: "var(--shade)", cursor: "pointer" }, encoding: { fillOpacity: shade, tooltip: text } },
      { mark: { type: "rect", fill: null, stroke: "var(--ink)", strokeWidth: 2 }, transform: [{ filter: "datum.chosen" }] },
    ],
  };
}

/** From the least to the greatest of `values`, with some room on both sides. */
function extent(values) {
  const [low, high] = values.filter(known).reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  if (low > high) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - room, high + room];
}

function legendEntry({ colour, fill, edge, shape, dash, block, width = 2, line = true, text: words }) {
  const sample = make("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" });
  if (block) sample.append(make("rect", { x: 3, y: 1, width: 20, height: 10, fill: colour }));
  else if (line) sample.append(make("line", { x1: 0, x2: 26, y1: 6, y2: 6, "stroke-width": width, "stroke-dasharray": dash?.join(" "), stroke: colour }));
  if (shape) sample.append(make("path", { d: shape, transform: "translate(13 6) scale(4.5)", fill, stroke: edge, "stroke-width": 0.3 }));
  return make("li", {}, sample, words);
}

/**
 * A chart in `host`, empty at first. `show` gives it a title, a note, a legend, points (each with `pick`, what a click on
 * it chooses), lines, parameters, and the table and rows that it draws, which stand below it as a table.
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
  const whole = { width: "container", data: { name: "points" }, datasets: { points: [], lines: [] }, config: CONFIG, ...spec };
  // The interpreter of expressions (`ast`) needs no eval, which the page's policy forbids. Level 1: errors alone.
  const options = { mode: "vega-lite", ast: true, renderer: "svg", actions: false, tooltip: false, logLevel: 1, defaultStyle: false };
  const { view } = await vegaEmbed(plot, whole, options);
  view.addEventListener("click", (event, item) => item?.datum?.pick && choose(item.datum.pick));

  function showNumbers() {
    if (details.open) showTable(numbers, drawn());
  }

  return function show({ title, words, entries, points, lines = [], parameters = {}, source }) {
    heading.textContent = title;
    note.textContent = words;
    plot.setAttribute("aria-label", `${title}. ${words} The numbers follow as a table.`);
    legend.replaceChildren(...entries.map(legendEntry));
    drawn = () => source.of([...new Set(points.map((point) => point.row))]);
    showNumbers();
    for (const [name, value] of Object.entries(parameters)) view.signal(name, value);
    if (parameters.places) view.signal("chosen", points.find((point) => point.chosen)?.place ?? null);
    view.data("points", points.filter((point) => known(point.y)));
    if (spec.params?.length > 1) view.data("lines", lines);
    view.run();
  };
}
