"use strict";
// The page's only script: tables that sort and filter, and the explorer. It reads the JSON embedded in the page,
// fetches nothing, and makes every piece of text with textContent, so that no name can become markup.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 50;

  // ---- elements -----------------------------------------------------------------------------------------------

  /** An element with attributes (functions are listeners) and children (text or elements; null is left out). */
  function make(name, attributes = {}, ...children) {
    return filled(document.createElement(name), attributes, children);
  }

  function draw(name, attributes = {}, ...children) {
    return filled(document.createElementNS(SVG, name), attributes, children);
  }

  function filled(element, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(key, value);
      else if (key === "style") element.style.cssText = value;
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  // ---- numbers ------------------------------------------------------------------------------------------------

  const known = (value) => typeof value === "number" && !Number.isNaN(value);

  /** A number of a column of its type, short; the whole value is in the element's title. */
  function short(value, type) {
    if (value === null || value === undefined) return "";
    if (!known(value)) return String(value);
    if (type === "integer" || Number.isInteger(value)) return String(value);
    return minus(Math.abs(value) >= 1e-4 ? String(Number(value.toPrecision(5))) : value.toExponential(2));
  }

  const minus = (text) => text.replaceAll("-", "−");
  const fixed = (value, digits = 4) => (known(value) ? minus(value.toFixed(digits).replace(/^-(0\.0*)$/, "$1")) : "–");

  function probability(value) {
    if (!known(value)) return "–";
    if (value >= 0.001) return value.toFixed(value < 0.01 ? 4 : 3);
    return value === 0 ? "0" : minus(value.toExponential(1));
  }

  const interval = (low, high, digits) => (known(low) && known(high) ? `[${fixed(low, digits)}, ${fixed(high, digits)}]` : "");

  // ---- tables as columns --------------------------------------------------------------------------------------

  class Column {
    constructor(about, encoded, rows) {
      this.about = about;
      this.name = about.name;
      this.levels = encoded.levels ?? null;
      this.values = encoded.values ?? null;
      if (encoded.codes) this.codes = Int32Array.from(encoded.codes);
      if (encoded.runs) {
        this.codes = new Int32Array(rows);
        for (let k = 0, row = 0; k < encoded.runs.length; k += 2) {
          this.codes.fill(encoded.runs[k], row, (row += encoded.runs[k + 1]));
        }
      }
      const some = (this.values ?? this.levels).find((value) => value !== null);
      this.number = typeof some === "number";
    }

    at(row) {
      return this.values ? this.values[row] : this.levels[this.codes[row]];
    }

    /** The column as levels and codes, made when first asked for. */
    factor() {
      if (!this.codes) {
        const places = new Map();
        this.codes = Int32Array.from(this.values, (value) => {
          if (!places.has(value)) places.set(value, places.size);
          return places.get(value);
        });
        this.levels = [...places.keys()];
      }
      return this;
    }
  }

  class Table {
    constructor(node) {
      const stored = JSON.parse(node.textContent);
      const about = JSON.parse(node.dataset.columns);
      this.name = node.dataset.table;
      this.rows = stored.rows;
      this.columns = about.map((column, k) => new Column(column, stored.columns[k], stored.rows));
      this.byName = new Map(this.columns.map((column) => [column.name, column]));
    }

    has(...names) {
      return names.every((name) => this.byName.has(name));
    }

    value(row, name) {
      return row < 0 || !this.byName.has(name) ? null : this.byName.get(name).at(row);
    }

    levels(name) {
      return this.byName.has(name) ? this.byName.get(name).factor().levels : [];
    }

    /** A function from values of the columns `names` to the row that has them, −1 where none has. */
    index(...names) {
      const factors = names.map((name) => this.byName.get(name).factor());
      const places = factors.map((factor) => new Map(factor.levels.map((level, code) => [level, code])));
      const rows = new Map();
      for (let row = 0; row < this.rows; row++) {
        rows.set(factors.reduce((key, factor) => key * factor.levels.length + factor.codes[row], 0), row);
      }
      return (...values) => {
        let key = 0;
        for (let k = 0; k < values.length; k++) {
          const code = places[k].get(values[k]);
          if (code === undefined) return -1;
          key = key * factors[k].levels.length + code;
        }
        return rows.get(key) ?? -1;
      };
    }
  }

  const tables = new Map();
  function table(name) {
    if (!tables.has(name)) {
      const node = [...document.querySelectorAll("script[data-table]")].find((each) => each.dataset.table === name);
      tables.set(name, node ? new Table(node) : null);
    }
    return tables.get(name);
  }

  // ---- a table on the page ------------------------------------------------------------------------------------

  const CONDITION = /^([\w-]+)(<=|>=|!=|=|<|>)(.+)$/;
  const COMPARE = {
    "<": (a, b) => a < b,
    ">": (a, b) => a > b,
    "<=": (a, b) => a <= b,
    ">=": (a, b) => a >= b,
    "=": (a, b) => a === b,
    "!=": (a, b) => a !== b,
  };

  /** Which rows hold every term of `text`: `column<number`, `column=text`, or part of any cell of text. */
  function matching(data, text) {
    let rows = Array.from({ length: data.rows }, (_, row) => row);
    for (const term of text.toLowerCase().split(/\s+/).filter(Boolean)) {
      const [, name, sign, wanted] = term.match(CONDITION) ?? [];
      const column = data.columns.find((each) => each.name.toLowerCase() === name);
      if (column) {
        const compare = COMPARE[sign];
        const holds = column.number
          ? (cell) => cell !== null && compare(cell, Number(wanted))
          : (cell) => compare(String(cell ?? "").toLowerCase(), wanted);
        rows = rows.filter((row) => holds(column.at(row)));
        continue;
      }
      const contains = (cell) => cell !== null && String(cell).toLowerCase().includes(term);
      const tests = data.columns
        .filter((each) => !each.number)
        .map((each) => {
          if (!each.codes) return (row) => contains(each.values[row]);
          const hits = each.levels.map(contains);
          return (row) => hits[each.codes[row]];
        });
      rows = rows.filter((row) => tests.some((test) => test(row)));
    }
    return rows;
  }

  /** `rows` by a column; empty cells last, equal ones as they came. */
  function sorted(rows, column, direction) {
    const collator = new Intl.Collator("en", { numeric: true });
    return [...rows].sort((a, b) => {
      const [x, y] = [column.at(a), column.at(b)];
      if (x === null || y === null || x === "" || y === "") {
        return (x === null || x === "") - (y === null || y === "") || a - b;
      }
      return direction * (column.number ? x - y : collator.compare(x, y)) || a - b;
    });
  }

  function tsv(data, rows) {
    const lines = [data.columns.map((column) => column.name).join("\t")];
    for (const row of rows) lines.push(data.columns.map((column) => column.at(row) ?? "").join("\t"));
    return lines.join("\n") + "\n";
  }

  function showTable(host, data) {
    const view = { rows: matching(data, ""), column: null, direction: 1, first: 0 };
    const body = make("tbody");
    const count = make("span", { class: "muted", role: "status" });
    const filter = make("input", {
      type: "search",
      placeholder: "Filter rows",
      "aria-label": `Filter the rows of ${data.name}`,
      input: () => {
        view.first = 0;
        refresh();
      },
    });
    const move = (step) => () => {
      view.first += step;
      show();
    };
    const before = make("button", { type: "button", click: move(-PAGE) }, "Previous");
    const after = make("button", { type: "button", click: move(PAGE) }, "Next");
    const save = make(
      "button",
      {
        type: "button",
        title: "These rows, in this order, as tab-separated text",
        click: () => {
          const link = make("a", { href: URL.createObjectURL(new Blob([tsv(data, view.rows)])), download: `${data.name.split("/").pop()}.tsv` });
          link.click();
          URL.revokeObjectURL(link.href);
        },
      },
      "Download rows",
    );
    const heads = data.columns.map((column) =>
      make(
        "th",
        { scope: "col", class: column.number ? "number" : null },
        make(
          "button",
          {
            type: "button",
            title: [column.about.text, column.about.unit && `Unit: ${column.about.unit}.`].filter(Boolean).join(" "),
            click: () => {
              const again = view.column === column;
              if (again && view.direction < 0) view.column = null;
              else [view.column, view.direction] = [column, again ? -1 : 1];
              view.first = 0;
              refresh();
            },
          },
          column.name,
        ),
      ),
    );

    function refresh() {
      view.rows = matching(data, filter.value);
      if (view.column) view.rows = sorted(view.rows, view.column, view.direction);
      heads.forEach((head, k) => {
        if (data.columns[k] === view.column) head.setAttribute("aria-sort", view.direction > 0 ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      });
      show();
    }

    function show() {
      const rows = view.rows.slice(view.first, view.first + PAGE);
      body.replaceChildren(
        ...rows.map((row) =>
          make(
            "tr",
            {},
            data.columns.map((column) => {
              const value = column.at(row);
              const text = short(value, column.about.type);
              return make("td", { class: column.number ? "number" : null, title: text === String(value ?? "") ? null : value }, text);
            }),
          ),
        ),
      );
      count.textContent = view.rows.length
        ? `rows ${view.first + 1} to ${view.first + rows.length} of ${view.rows.length.toLocaleString("en")}`
        : "no row holds all of this";
      before.disabled = view.first === 0;
      after.disabled = view.first + PAGE >= view.rows.length;
    }

    host.replaceChildren(
      make("div", { class: "bar" }, filter, count, before, after, save),
      make(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": data.name },
        make("table", {}, make("thead", {}, make("tr", {}, heads)), body),
      ),
    );
    refresh();
  }

  for (const details of document.querySelectorAll("details.table")) {
    details.addEventListener("toggle", () => {
      const host = details.querySelector(".grid-host");
      const data = table(details.dataset.table);
      if (details.open && host && data && !host.dataset.shown) {
        host.dataset.shown = "yes";
        showTable(host, data);
      }
    });
  }

  // ---- drawing ------------------------------------------------------------------------------------------------

  const polygon = (n, turn, inner = 1) =>
    Array.from({ length: inner < 1 ? 2 * n : n }, (_, k) => {
      const points = inner < 1 ? 2 * n : n;
      const size = inner < 1 && k % 2 ? inner : 1;
      const angle = (turn / 360 + k / points) * 2 * Math.PI - Math.PI / 2;
      return [size * Math.cos(angle), size * Math.sin(angle)];
    });
  const cross = [[-0.35, -1], [0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35], [0.35, 1], [-0.35, 1], [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35]];
  const turned = cross.map(([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2]);
  /** The figures' markers, by matplotlib's names. */
  const MARKERS = {
    s: polygon(4, 45), D: polygon(4, 0), d: polygon(4, 0).map(([x, y]) => [0.65 * x, y]),
    "^": polygon(3, 0), v: polygon(3, 180), "<": polygon(3, 270), ">": polygon(3, 90),
    p: polygon(5, 0), h: polygon(6, 0), H: polygon(6, 30), 8: polygon(8, 22.5), "*": polygon(5, 0, 0.45),
    P: cross, X: turned,
    // A tuple (points, star, degrees).
    "4,1,45": polygon(4, 45, 0.5),
  };

  function marker(kind, x, y, size, attributes) {
    const shape = MARKERS[kind];
    if (!shape) return draw("circle", { cx: x, cy: y, r: size * 0.9, ...attributes });
    return draw("polygon", { points: shape.map(([a, b]) => `${(x + size * a).toFixed(1)},${(y + size * b).toFixed(1)}`).join(" "), ...attributes });
  }

  /** Round tick values between `low` and `high`, about `count` of them. */
  function ticks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
    const first = Math.ceil(low / step - 1e-9);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let k = first; k * step <= high + 1e-9 * step; k++) found.push({ value: k * step, text: minus((k * step).toFixed(digits).replace(/^-(0\.?0*)$/, "$1")) });
    return found;
  }

  function domain(values, include = []) {
    const all = [...values, ...include].filter(known).filter(Number.isFinite);
    if (!all.length) return [0, 1];
    const [low, high] = all.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - room, high + room];
  }

  const DASHES = ["5 3", "2 2", "6 2 1 2"];

  function legendEntry(look, text) {
    const sample = draw("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" });
    if (look.block) sample.append(draw("rect", { x: 3, y: 1, width: 20, height: 10, style: `fill:${look.colour}` }));
    if (look.line !== false && !look.block) {
      sample.append(draw("line", { x1: 0, x2: 26, y1: 6, y2: 6, "stroke-width": look.width ?? 2, "stroke-dasharray": look.dash, style: `stroke:${look.colour}` }));
    }
    if (look.marker) sample.append(marker(look.marker, 13, 6, 4.5, markerLook(look)));
    return make("li", {}, sample, text);
  }

  const markerLook = (look) => ({
    style: look.hollow ? `fill:var(--card);stroke:${look.colour}` : `fill:${look.colour};stroke:var(--card)`,
    "stroke-width": look.hollow ? 1.6 : 0.8,
  });

  /** The frame of a chart: heading, legend, drawing, and the numbers drawn as a table. */
  function frame(host, spec) {
    const columns = ["", ...spec.columns];
    const details = make("details", {}, make("summary", {}, "Numbers drawn"));
    details.open = host.querySelector("details")?.open ?? false;
    details.append(
      make(
        "div",
        { tabindex: "0", role: "region", "aria-label": `Numbers of: ${spec.title}` },
        make(
          "table",
          {},
          make("thead", {}, make("tr", {}, columns.map((name) => make("th", { scope: "col" }, name)))),
          make(
            "tbody",
            {},
            spec.rows.map(([name, ...cells]) =>
              make("tr", {}, make("th", { scope: "row" }, name), cells.map((cell) => make("td", { "data-value": cell }, short(cell)))),
            ),
          ),
        ),
      ),
    );
    const plot = draw("svg", { class: "plot", role: "img", "aria-label": `${spec.title}. ${spec.note} The numbers follow as a table.` });
    host.replaceChildren(
      make("h3", {}, spec.title),
      make("p", { class: "note" }, spec.note),
      make("ul", { class: "legend" }, spec.legend.map(([look, text]) => legendEntry(look, text))),
      plot,
      details,
    );
    return plot;
  }

  /**
   * Curves over places on a line.
   *
   * spec: title, note, places, labels, xLabel, yLabel, values (what the y axis must hold), series (look, points:
   * {at, y, low, high, ring, text}), lines ({y, text}), bars ({at, low, high}), cursor (a place), pick(k).
   */
  function curves(host, spec) {
    const plot = frame(host, spec);
    const width = Math.max(280, host.clientWidth - 34);
    const height = 250;
    const [low, high] = domain(spec.values);
    const heights = ticks(low, high, 6);
    const room = { left: 30 + 6.5 * Math.max(...heights.map((tick) => tick.text.length)), right: 10, top: 8, bottom: spec.turned ? 62 : 40 };
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const span = spec.places.at(-1) - spec.places[0] || 1;
    const pad = spec.places.length > 1 ? 0.05 * span : 0.5;
    const x = (place) => room.left + ((place - spec.places[0] + pad) / (span + 2 * pad)) * (width - room.left - room.right);
    const y = (value) => height - room.bottom - ((value - low) / (high - low)) * (height - room.top - room.bottom);
    const gaps = spec.places.slice(1).map((place, k) => place - spec.places[k]);
    const pitch = Math.min(...gaps, span) * ((width - room.left - room.right) / (span + 2 * pad));

    const cursor = Math.max(6, Math.min(18, pitch));
    if (spec.cursor !== null) plot.append(draw("rect", { class: "cursor", x: x(spec.cursor) - cursor / 2, y: room.top, width: cursor, height: height - room.top - room.bottom }));
    for (const tick of heights) {
      plot.append(draw("line", { class: tick.value === 0 ? "zero" : "grid", x1: room.left, x2: width - room.right, y1: y(tick.value), y2: y(tick.value) }));
      plot.append(draw("text", { x: room.left - 6, y: y(tick.value) + 4, "text-anchor": "end" }, tick.text));
    }
    const needed = spec.turned ? 19 : 7 * Math.max(...spec.labels.map((text) => text.length)) + 6;
    const labelled = new Set();
    // The chosen place has its label; of the others, those with room, from the right.
    for (const place of [spec.cursor, ...[...spec.places].reverse()].filter((each) => each !== null)) {
      if ([...labelled].every((other) => Math.abs(x(other) - x(place)) >= needed)) labelled.add(place);
    }
    spec.places.forEach((place, k) => {
      const [at, foot] = [x(place), height - room.bottom];
      plot.append(draw("line", { class: "grid", x1: at, x2: at, y1: foot, y2: foot + 4 }));
      if (!labelled.has(place)) return;
      const low = foot + (spec.turned ? 13 : 17);
      plot.append(
        draw("text", { class: place === spec.cursor ? "strong" : null, x: at, y: low, "text-anchor": spec.turned ? "end" : "middle", transform: spec.turned ? `rotate(-40 ${at} ${low})` : null }, spec.labels[k]),
      );
    });
    plot.append(draw("text", { x: (room.left + width - room.right) / 2, y: height - 4, "text-anchor": "middle" }, spec.xLabel));

    for (const bar of spec.bars ?? []) {
      const wide = Math.max(3, Math.min(22, 0.8 * pitch));
      plot.append(draw("rect", { x: x(bar.at) - wide / 2, width: wide, y: y(bar.high), height: Math.max(1, y(bar.low) - y(bar.high)), style: "fill:var(--null)" }, draw("title", {}, bar.text)));
    }
    (spec.lines ?? []).forEach((line, k) => {
      const dash = line.dotted ? "1 3" : DASHES[k % DASHES.length];
      plot.append(draw("line", { x1: room.left, x2: width - room.right, y1: y(line.y), y2: y(line.y), "stroke-dasharray": dash, "stroke-width": 1.4, style: "stroke:var(--dashed)" }, draw("title", {}, line.text)));
    });
    for (const one of spec.series) {
      const points = one.points.filter((point) => known(point.y));
      const joined = points.filter((point) => !point.alone);
      const banded = joined.filter((point) => known(point.low) && known(point.high));
      if (one.look.band && banded.length > 1) {
        const edge = [...banded.map((point) => [x(point.at), y(point.high)]), ...banded.reverse().map((point) => [x(point.at), y(point.low)])];
        plot.append(draw("polygon", { points: edge.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" "), style: `fill:${one.look.colour}`, "fill-opacity": 0.13 }));
      }
      if (one.look.line !== false && joined.length > 1) {
        plot.append(
          draw("polyline", { points: joined.map((point) => `${x(point.at).toFixed(1)},${y(point.y).toFixed(1)}`).join(" "), fill: "none", "stroke-width": one.look.width ?? 2, "stroke-dasharray": one.look.dash, "stroke-linejoin": "round", style: `stroke:${one.look.colour}` }),
        );
      }
      for (const point of points) {
        const place = spec.places.indexOf(point.at);
        const group = draw("g", { class: spec.pick ? "pick" : null, "data-series": one.name, "data-value": point.y, click: spec.pick ? () => spec.pick(place) : null }, draw("title", {}, point.text));
        if ((one.look.bars || point.alone) && known(point.low) && known(point.high)) {
          group.append(draw("line", { x1: x(point.at), x2: x(point.at), y1: y(point.low), y2: y(point.high), "stroke-width": 1.6, style: `stroke:${one.look.colour}` }));
        }
        if (point.ring) group.append(draw("circle", { cx: x(point.at), cy: y(point.y), r: 8.5, fill: "none", "stroke-width": 1.8, style: `stroke:${one.look.colour}` }));
        const dense = pitch < 9 && spec.places.length > 40;
        group.append(marker(one.look.marker ?? "o", x(point.at), y(point.y), dense ? 2.4 : 4.8, markerLook(one.look)));
        plot.append(group);
      }
    }
    plot.append(
      draw("text", { x: -(height - room.bottom + room.top) / 2, y: 11, transform: "rotate(-90)", "text-anchor": "middle" }, spec.yLabel),
    );
  }

  /** One interval per row, around a line at zero. */
  function forest(host, spec) {
    const plot = frame(host, spec);
    const width = Math.max(280, host.clientWidth - 34);
    const pitch = 25;
    const left = Math.min(0.42 * width, 7 * Math.max(...spec.items.map((item) => item.label.length)) + 14);
    const height = spec.items.length * pitch + 46;
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [low, high] = domain(spec.items.flatMap((item) => [item.y, item.low, item.high]), [0]);
    const x = (value) => left + ((value - low) / (high - low)) * (width - left - 10);
    spec.items.forEach((item, k) => {
      if (item.chosen) plot.append(draw("rect", { class: "cursor", x: 0, y: 4 + k * pitch, width, height: pitch }));
    });
    for (const tick of ticks(low, high, 5)) {
      plot.append(draw("line", { class: tick.value === 0 ? "zero" : "grid", x1: x(tick.value), x2: x(tick.value), y1: 4, y2: height - 38 }));
      plot.append(draw("text", { x: x(tick.value), y: height - 24, "text-anchor": "middle" }, tick.text));
    }
    spec.items.forEach((item, k) => {
      const at = 4 + (k + 0.5) * pitch;
      const group = draw("g", { class: "pick", click: item.pick, "data-series": item.name, "data-value": item.y }, draw("title", {}, item.text));
      group.append(draw("rect", { x: 0, y: at - pitch / 2, width, height: pitch, fill: "transparent" }));
      group.append(draw("text", { class: item.chosen ? "strong" : null, x: left - 10, y: at + 4, "text-anchor": "end" }, item.label));
      if (known(item.low) && known(item.high)) group.append(draw("line", { x1: x(item.low), x2: x(item.high), y1: at, y2: at, "stroke-width": 1.8, style: `stroke:${item.look.colour}` }));
      if (item.ring) group.append(draw("circle", { cx: x(item.y), cy: at, r: 8.5, fill: "none", "stroke-width": 1.8, style: `stroke:${item.look.colour}` }));
      if (known(item.y)) group.append(marker(item.look.marker, x(item.y), at, 4.8, markerLook(item.look)));
      plot.append(group);
    });
    plot.append(draw("text", { x: left + (width - left) / 2, y: height - 5, "text-anchor": "middle" }, spec.xLabel));
  }

  /** A value per step and layer as shades; a click chooses both. */
  function heat(host, spec) {
    const plot = frame(host, spec);
    const width = Math.max(280, host.clientWidth - 34);
    const room = { left: 34, right: 22, top: 4, bottom: 40 };
    const [across, down] = [spec.columns.length, spec.names.length];
    const pitch = Math.max(14, Math.min(34, 210 / down));
    const height = room.top + down * pitch + room.bottom;
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const wide = (width - room.left - room.right) / across;
    const values = spec.cells.flat().filter(known);
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const share = (value) => Math.round(8 + 92 * (high > low ? (value - low) / (high - low) : 1));
    // The first layer stands at the bottom.
    const top = (k) => room.top + (down - 1 - k) * pitch;
    spec.cells.forEach((row, k) => {
      row.forEach((value, column) => {
        if (!known(value)) return;
        plot.append(
          draw(
            "rect",
            { class: "pick", x: (room.left + column * wide).toFixed(2), y: top(k), width: wide.toFixed(2), height: pitch, "data-value": value, style: `fill:color-mix(in oklab, var(--shade) ${share(value)}%, var(--card))`, click: () => spec.pick(column, k) },
            draw("title", {}, `${spec.names[k]}, step ${spec.columns[column]}: ${fixed(value)}`),
          ),
        );
      });
      if (down <= 14 || k % 2 === 0) plot.append(draw("text", { class: k === spec.chosen[1] ? "strong" : null, x: room.left - 7, y: top(k) + pitch / 2 + 4, "text-anchor": "end" }, spec.short[k]));
    });
    const every = Math.ceil((7 * Math.max(...spec.columns.map((text) => text.length)) + 8) / wide);
    spec.columns.forEach((text, column) => {
      if ((across - 1 - column) % every) return;
      plot.append(draw("text", { class: column === spec.chosen[0] ? "strong" : null, x: room.left + (column + 0.5) * wide, y: height - room.bottom + 15, "text-anchor": "middle" }, text));
    });
    plot.append(draw("text", { x: (room.left + width - room.right) / 2, y: height - 5, "text-anchor": "middle" }, "training step"));
    plot.append(draw("text", { x: -(height - room.bottom + room.top) / 2, y: 11, transform: "rotate(-90)", "text-anchor": "middle" }, "layer"));
    if (spec.chosen[0] >= 0) plot.append(draw("rect", { class: "outline", x: room.left + spec.chosen[0] * wide, y: top(spec.chosen[1]), width: wide, height: pitch }));
  }

  // ---- the explorer -------------------------------------------------------------------------------------------

  const form = document.getElementById("choices");
  if (!form) return;
  const study = JSON.parse(document.getElementById("study-data").textContent);
  const alignment = table("alignment");
  if (!alignment || !alignment.has("checkpoint", "layer", "removal", "property", "subject", "mean_r")) return;
  const effects = table("removal_effects");
  const probing = table("probing");
  const cell = {
    alignment: alignment.index("checkpoint", "layer", "removal", "property", "subject"),
    effects: effects ? effects.index("checkpoint", "layer", "removal", "property", "subject") : () => -1,
    probing: probing ? probing.index("checkpoint", "layer", "removal", "property") : () => -1,
  };
  const LEVEL = `${Number((100 - 100 * study.alpha).toPrecision(6))} %`;
  const stepOf = new Map();
  for (let row = 0; row < alignment.rows; row++) stepOf.set(alignment.value(row, "checkpoint"), alignment.value(row, "step"));

  /** The study's names in its order, as far as the tables have them; others after them. */
  function ordered(names, present) {
    const here = new Set(present);
    return [...names.filter((name) => here.has(name)), ...present.filter((name) => !names.includes(name))];
  }

  const checkpoints = ordered(study.checkpoints, alignment.levels("checkpoint"));
  const trained = checkpoints.filter((name) => known(stepOf.get(name))).sort((a, b) => stepOf.get(a) - stepOf.get(b));
  const baselines = checkpoints.filter((name) => !known(stepOf.get(name)));
  const layers = [...alignment.levels("layer")].sort((a, b) => a - b);
  const properties = ordered(study.properties, alignment.levels("property")).filter((name) => name !== "original");
  const removals = ordered(study.removals, alignment.levels("removal")).filter((name) => name !== "none");
  const subjects = ordered(study.subjects, alignment.levels("subject"));
  const label = (name) => study.labels[name] ?? name.replaceAll("_", " ");
  const stepText = (name) => (known(stepOf.get(name)) ? stepOf.get(name).toLocaleString("en") : label(name));

  const markOf = (name) => study.marks[name] ?? { colour: "#4d4d4d", marker: "o" };
  /** The figures' colour; lighter where the page is dark, so that it stands out as much. */
  const colourOf = (name) => (name === "original" ? "var(--ink)" : `color-mix(in oklab, ${markOf(name).colour}, var(--towards))`);
  const lookOf = (name) => ({ colour: colourOf(name), marker: markOf(name).marker });

  /** The layer of the last checkpoint with the best inner score: the choice that does not look at the alignment. */
  function goodLayer() {
    const last = trained.at(-1) ?? checkpoints[0];
    const score = (layer) => {
      const values = subjects.map((subject) => alignment.value(cell.alignment(last, layer, "none", "original", subject), "inner_score")).filter(known);
      return values.length ? values.reduce((a, b) => a + b) / values.length : -Infinity;
    };
    return layers.reduce((best, layer) => (score(layer) > score(best) ? layer : best), layers[0]);
  }

  const preferred = study.preferred.filter((name) => properties.includes(name) && name !== "random_label");
  const start = {
    checkpoint: trained.at(-1) ?? checkpoints[0],
    layer: String(goodLayer()),
    property: preferred[0] ?? properties[0] ?? "",
    removal: removals[0] ?? "",
    subject: subjects[0],
    log: study.stepAxis === "log" ? "1" : "",
  };
  const options = {
    checkpoint: checkpoints.map((name) => [name, known(stepOf.get(name)) ? `step ${stepText(name)}` : `baseline ${label(name)}`]),
    layer: layers.map((layer) => [String(layer), layer === 0 ? "0 (embeddings)" : String(layer)]),
    property: properties.map((name) => [name, label(name)]),
    removal: removals.map((name) => [name, name]),
    subject: subjects.map((name) => [name, name]),
  };
  let state = { ...start };

  for (const [name, entries] of Object.entries(options)) {
    const select = form.elements[name];
    select.append(...entries.map(([value, text]) => make("option", { value }, text)));
    select.closest("label").hidden = entries.length === 0 || (name === "removal" && entries.length === 1);
  }
  form.hidden = false;

  /** The choice in the address, where it names one that exists. */
  function fromAddress() {
    const [where, query] = location.hash.slice(1).split("?");
    if (where !== "explorer" || query === undefined) return null;
    const asked = new URLSearchParams(query);
    const found = { ...start };
    for (const [name, entries] of Object.entries(options)) {
      if (entries.some(([value]) => value === asked.get(name))) found[name] = asked.get(name);
    }
    if (asked.has("log")) found.log = asked.get("log") === "1" ? "1" : "";
    return found;
  }

  function choose(change) {
    state = { ...state, ...change };
    history.replaceState(null, "", `#explorer?${new URLSearchParams(state)}`);
    show();
  }

  form.addEventListener("change", (event) => {
    const { name, value, checked, type } = event.target;
    choose({ [name]: type === "checkbox" ? (checked ? "1" : "") : value });
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  /** Where checkpoints stand on the axis of steps; step 0 has no logarithm and stands left of the first. */
  function stepPlaces() {
    if (!state.log) return trained.map((_, k) => k);
    const logs = trained.map((name) => (stepOf.get(name) > 0 ? Math.log10(stepOf.get(name)) : null));
    const first = logs.find((value) => value !== null) ?? 0;
    const span = (logs.at(-1) ?? 0) - first;
    const gaps = logs.filter((value) => value !== null).slice(1).map((value, k) => value - logs.filter((each) => each !== null)[k]).sort((a, b) => a - b);
    const typical = gaps.length ? gaps[Math.floor(gaps.length / 2)] : 1;
    return logs.map((value) => value ?? first - Math.max(typical, 0.12 * span));
  }

  const charts = document.getElementById("charts");
  const wanted = {
    training: trained.length > 0,
    layers: true,
    "effect-training": trained.length > 0 && effects && properties.length > 0,
    effects: effects && properties.length > 0,
    probing: probing && properties.length > 0,
    map: trained.length > 0,
    readout: true,
  };
  // All stand before any is drawn, so that each knows its width.
  const hosts = {};
  for (const name of Object.keys(wanted).filter((each) => wanted[each])) {
    hosts[name] = make("figure", { class: `chart ${name}`, id: `chart-${name}` });
    charts.append(hosts[name]);
  }

  const alignmentPoint = (at, name, row) => {
    const [value, low, high] = ["mean_r", "ci_low", "ci_high"].map((column) => alignment.value(row, column));
    return { at, y: value, low, high, text: `${name}: ${fixed(value)} ${interval(low, high)}` };
  };

  /** Original and residual at each of `places`, as two series; `row(arm, property, k)` finds the row. */
  function twoArms(places, names, row) {
    const arms = [["original", "none", "original", "original"]];
    if (state.property) arms.push([state.property, state.removal, state.property, `${label(state.property)} removed`]);
    return arms.map(([mark, removal, property, text], k) => ({
      name: property,
      text,
      look: { ...lookOf(mark), band: true, width: k ? 1.8 : 3.2 },
      points: places.map((at, place) => alignmentPoint(at, `${text}, ${names[place]}`, row(removal, property, place))),
    }));
  }

  const armRows = (series, names) =>
    names.map((name, k) => [name, ...series.flatMap((one) => [one.points[k].y, one.points[k].low, one.points[k].high])]);
  const armColumns = (series) => series.flatMap((one) => [one.text, "low", "high"]);

  /** Everything that alignment takes for this subject and removal, so that a choice does not move the axis. */
  const extents = new Map();
  function alignmentValues() {
    const key = JSON.stringify([state.subject, state.removal]);
    if (!extents.has(key)) {
      const values = [];
      for (let row = 0; row < alignment.rows; row++) {
        const removal = alignment.value(row, "removal");
        if (alignment.value(row, "subject") !== state.subject || (removal !== "none" && removal !== state.removal)) continue;
        for (const column of removal === "none" ? ["mean_r", "ci_low", "ci_high"] : ["mean_r"]) values.push(alignment.value(row, column));
      }
      extents.set(key, domain(values));
    }
    return extents.get(key);
  }

  /** A layer as the tables have it for a checkpoint: `controls` has no layers and stands as layer 0. */
  const layerAt = (checkpoint, layer) => (cell.alignment(checkpoint, layer, "none", "original", state.subject) >= 0 ? layer : 0);

  function showTraining(layer, places) {
    const names = trained.map((name) => `step ${stepText(name)}`);
    const series = twoArms(places, names, (removal, property, k) => cell.alignment(trained[k], layer, removal, property, state.subject));
    const lines = baselines.map((name) => {
      const value = alignment.value(cell.alignment(name, layerAt(name, layer), "none", "original", state.subject), "mean_r");
      return { y: value, text: `baseline ${label(name)}: ${fixed(value)}`, name };
    }).filter((line) => known(line.y));
    curves(hosts["training"], {
      title: "Alignment over training",
      note: `Layer ${layer}, subject ${state.subject}. Bands: ${LEVEL} intervals.`,
      places, labels: trained.map(stepText), turned: trained.length > 5, xLabel: "training step", yLabel: "alignment (mean r)",
      values: alignmentValues(), series, lines,
      legend: [...series.map((one) => [one.look, one.text]), ...lines.map((line, k) => [{ colour: "var(--dashed)", dash: DASHES[k % DASHES.length], width: 1.4 }, line.text])],
      columns: armColumns(series),
      rows: [...armRows(series, names), ...lines.map((line) => [`baseline ${label(line.name)}`, line.y])],
      cursor: trained.includes(state.checkpoint) ? places[trained.indexOf(state.checkpoint)] : null,
      pick: (k) => choose({ checkpoint: trained[k] }),
    });
  }

  function showLayers(layer) {
    const names = layers.map((each) => `layer ${each}`);
    const series = twoArms(layers, names, (removal, property, k) => cell.alignment(state.checkpoint, layers[k], removal, property, state.subject));
    curves(hosts["layers"], {
      title: "Alignment by layer",
      note: `${checkpointText()}, subject ${state.subject}. Bands: ${LEVEL} intervals.`,
      places: layers, labels: layers.map(String), xLabel: "layer (0 = embeddings)", yLabel: "alignment (mean r)",
      values: alignmentValues(), series, legend: series.map((one) => [one.look, one.text]),
      columns: armColumns(series), rows: armRows(series, names), cursor: layer,
      pick: (k) => choose({ layer: String(layers[k]) }),
    });
  }

  const checkpointText = () => (known(stepOf.get(state.checkpoint)) ? `Step ${stepText(state.checkpoint)}` : `Baseline ${label(state.checkpoint)}`);

  function effectPoint(checkpoint, layer, property) {
    const row = cell.effects(checkpoint, layer, state.removal, property, state.subject);
    const get = (name) => (effects ? effects.value(row, name) : null);
    return {
      row, y: get("mean_difference"), low: get("ci_low"), high: get("ci_high"), ring: get("significant") === 1,
      p: get("p"), p_fdr: get("p_fdr"), p_paper: get("p_paper"),
      text: `${label(property)}: ${fixed(get("mean_difference"))} ${interval(get("ci_low"), get("ci_high"))}, p ${probability(get("p"))}, adjusted ${probability(get("p_fdr"))}, paper's ${probability(get("p_paper"))}`,
    };
  }

  const effectCells = (point) => [point.y, point.low, point.high, point.p, point.p_fdr, point.p_paper];
  const EFFECT_COLUMNS = ["difference", "low", "high", "p", "p adjusted", "p (paper)"];
  const ringLegend = (colour) => [{ colour, marker: "o", hollow: true, line: false }, `ring: significant (adjusted p < ${study.alpha})`];

  function showEffectOverTraining(layer, places) {
    const points = trained.map((name, k) => ({ ...effectPoint(name, layer, state.property), at: places[k] }));
    const look = { ...lookOf(state.property), bars: true };
    curves(hosts["effect-training"], {
      title: `Effect of removing ${label(state.property)} over training`,
      note: `Layer ${layer}, subject ${state.subject}: residual minus original, with the ${LEVEL} interval of the paired difference.`,
      places, labels: trained.map(stepText), turned: trained.length > 5, xLabel: "training step", yLabel: "difference (mean r)",
      values: [0, ...points.flatMap((point) => [point.y, point.low, point.high])],
      series: [{ name: state.property, look, points }], legend: [[look, `${label(state.property)} removed`], ringLegend(look.colour)],
      columns: EFFECT_COLUMNS, rows: points.map((point, k) => [`step ${stepText(trained[k])}`, ...effectCells(point)]),
      cursor: trained.includes(state.checkpoint) ? places[trained.indexOf(state.checkpoint)] : null,
      pick: (k) => choose({ checkpoint: trained[k] }),
    });
  }

  function showEffects(layer) {
    const items = properties.map((name) => ({
      ...effectPoint(state.checkpoint, layer, name), name, label: label(name), look: lookOf(name), chosen: name === state.property,
      pick: () => choose({ property: name }),
    }));
    forest(hosts["effects"], {
      title: "Effect of removing each property",
      note: `${checkpointText()}, layer ${layer}, subject ${state.subject}: residual minus original. Left of zero: removing it hurts.`,
      xLabel: "difference (mean r)", items, legend: [ringLegend("var(--ink)")], columns: EFFECT_COLUMNS,
      rows: items.map((item) => [item.label, ...effectCells(item)]),
    });
  }

  const PROBES = [
    ["accuracy_before", "before removal"],
    ["accuracy_after", "after (paper: fitted on all words)"],
    ["accuracy_after_crossfit", "after, crossfit"],
  ];

  function showProbing(layer, places) {
    const names = [...baselines, ...trained];
    const gap = places.length > 1 ? Math.max(places[1] - places[0], 0.08 * (places.at(-1) - places[0])) : 1;
    const at = [...baselines.map((_, k) => (places[0] ?? 0) - gap * (baselines.length - k)), ...places];
    const rows = names.map((name) => cell.probing(name, layerAt(name, layer), state.removal, state.property));
    const get = (k, column) => probing.value(rows[k], column);
    const looks = {
      accuracy_before: { colour: "var(--ink)", marker: "o" },
      accuracy_after: { ...lookOf(state.property), hollow: true, dash: "4 3", width: 1.3 },
      accuracy_after_crossfit: lookOf(state.property),
    };
    const shown = names.map((_, k) => k).filter((k) => rows[k] >= 0);
    const series = PROBES.map(([column, text]) => ({
      name: column, look: looks[column],
      points: shown.map((k) => ({ at: at[k], y: get(k, column), alone: k < baselines.length, text: `${text}, ${stepText(names[k])}: ${fixed(get(k, column))}` })),
    }));
    const bars = shown.filter((k) => known(get(k, "null_low"))).map((k) => ({ at: at[k], low: get(k, "null_low"), high: get(k, "null_high"), text: `null interval ${interval(get(k, "null_low"), get(k, "null_high"))}` }));
    const chance = shown.length ? get(shown[0], "chance") : null;
    curves(hosts["probing"], {
      title: `Can a probe read ${label(state.property)}?`,
      note: `Accuracy, layer ${layer}, all subjects alike. Crossfit above the grey bar: it can still be read.`,
      places: at, labels: names.map(stepText), turned: names.length > 5, xLabel: baselines.length ? "baselines, training step" : "training step", yLabel: "accuracy",
      values: [...series.flatMap((one) => one.points.map((point) => point.y)), ...bars.flatMap((bar) => [bar.low, bar.high]), chance],
      series, bars, lines: known(chance) ? [{ y: chance, dotted: true, text: `chance ${fixed(chance)}` }] : [],
      legend: [...series.map((one, k) => [one.look, PROBES[k][1]]), [{ block: true, colour: "var(--null)" }, "null interval"], [{ colour: "var(--dashed)", dash: "1 3", width: 1.4 }, `chance ${fixed(chance, 3)}`]],
      columns: ["before", "after (paper)", "crossfit", "chance", "null low", "null high"],
      rows: shown.map((k) => [stepText(names[k]), ...PROBES.map(([column]) => get(k, column)), get(k, "chance"), get(k, "null_low"), get(k, "null_high")]),
      cursor: names.includes(state.checkpoint) ? at[names.indexOf(state.checkpoint)] : null,
      pick: (k) => choose({ checkpoint: names[k] }),
    });
  }

  function showMap() {
    const cells = layers.map((layer) => trained.map((name) => alignment.value(cell.alignment(name, layer, "none", "original", state.subject), "mean_r")));
    const values = cells.flat().filter(known);
    const [low, high] = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
    heat(hosts.map, {
      title: "Alignment of the original, every step and layer",
      note: `Subject ${state.subject}, mean r. Framed: the chosen cell.`,
      legend: [[{ block: true, colour: "color-mix(in oklab, var(--shade) 8%, var(--card))" }, fixed(low)], [{ block: true, colour: "var(--shade)" }, fixed(high)]],
      columns: trained.map(stepText), names: layers.map((layer) => `layer ${layer}`), short: layers.map(String), cells,
      rows: layers.map((layer, k) => [`layer ${layer}`, ...cells[k]]),
      chosen: [trained.indexOf(state.checkpoint), layers.indexOf(Number(state.layer))],
      pick: (column, row) => choose({ checkpoint: trained[column], layer: String(layers[row]) }),
    });
  }

  /** The chosen cell in numbers; `data-cell` says which cell of which table each is. */
  function showReadout(layer) {
    const rows = {
      original: cell.alignment(state.checkpoint, layer, "none", "original", state.subject),
      residual: cell.alignment(state.checkpoint, layer, state.removal, state.property, state.subject),
      effect: cell.effects(state.checkpoint, layer, state.removal, state.property, state.subject),
      probe: cell.probing(state.checkpoint, layer, state.removal, state.property),
    };
    const source = { original: alignment, residual: alignment, effect: effects, probe: probing };
    const parts = [];
    let body;
    const head = (text) => {
      body = make("tbody");
      parts.push(make("table", {}, make("caption", {}, text), body));
    };
    const line = (text, which, name, format, ends) => {
      const value = source[which]?.value(rows[which], name);
      if (value === null || value === undefined) return;
      const more = ends ? interval(source[which].value(rows[which], ends[0]), source[which].value(rows[which], ends[1])) : "";
      body.append(
        make("tr", {}, make("th", { scope: "row" }, text), make("td", {}, make("span", { "data-cell": `${which}.${name}`, "data-value": value, title: value }, format(value)), more && make("span", { class: "muted" }, ` ${more}`))),
      );
    };
    const yes = (value) => (value === 1 ? "yes" : "no");
    const ends = ["ci_low", "ci_high"];
    head("Alignment (mean r, interval)");
    line("original", "original", "mean_r", fixed, ends);
    if (state.property) line(`${label(state.property)} removed`, "residual", "mean_r", fixed, ends);
    line("inner score, original", "original", "inner_score", fixed);
    line("voxels", "original", "n_voxels", (value) => value.toLocaleString("en"));
    if (rows.effect >= 0) {
      head("Effect of the removal");
      line("difference, interval", "effect", "mean_difference", fixed, ends);
      line("p, calibrated", "effect", "p", probability);
      line("p, adjusted over the grid", "effect", "p_fdr", probability);
      line("significant", "effect", "significant", yes);
      line("t over voxels (paper)", "effect", "t_paper", (value) => fixed(value, 2));
      line("p over voxels (paper)", "effect", "p_paper", probability);
    }
    if (rows.probe >= 0) {
      head("Probe");
      for (const [column, text] of PROBES) line(text, "probe", column, fixed);
      line("null interval", "probe", "null_low", fixed);
      if (known(probing.value(rows.probe, "null_low"))) body.lastChild.lastChild.append(` to ${fixed(probing.value(rows.probe, "null_high"))}`);
      line("chance", "probe", "chance", fixed);
      line("crossfit against the null interval", "probe", "crossfit_position", String);
    }
    hosts.readout.replaceChildren(
      make("h3", {}, "The chosen cell in numbers"),
      make("p", { class: "note" }, `${checkpointText()}, layer ${layer}${state.property ? `, ${label(state.property)}` : ""}, subject ${state.subject}${state.removal ? `, removal by ${state.removal}` : ""}`),
      make("div", { class: "parts" }, parts),
    );
    return { rows, source };
  }

  /** The cell in one sentence. */
  function sentence(layer, { rows, source }) {
    const before = source.original.value(rows.original, "mean_r");
    const where = `${checkpointText()}, layer ${layer}, subject ${state.subject}`;
    if (!known(before)) return `${where}: the study has no such cell.`;
    let text = `${where}: alignment ${fixed(before)}.`;
    if (rows.effect >= 0) {
      const effect = effectPoint(state.checkpoint, layer, state.property);
      text += ` Removing ${label(state.property)} changes it by ${fixed(effect.y)} ${interval(effect.low, effect.high)}: p = ${probability(effect.p)}, adjusted p = ${probability(effect.p_fdr)}, ${effect.ring ? "significant" : "not significant"} at ${study.alpha}`;
      text += known(effect.p_paper) ? ` (the paper's test over voxels: p = ${probability(effect.p_paper)}).` : ".";
    }
    return text;
  }

  function show() {
    for (const name of Object.keys(options)) form.elements[name].value = state[name];
    form.elements.log.checked = Boolean(state.log);
    const layer = layerAt(state.checkpoint, Number(state.layer));
    const chosen = Number(state.layer);
    const places = stepPlaces();
    if (wanted.training) showTraining(chosen, places);
    showLayers(layer);
    if (wanted["effect-training"]) showEffectOverTraining(chosen, places);
    if (wanted.effects) showEffects(layer);
    if (wanted.probing) showProbing(chosen, places);
    if (wanted.map) showMap();
    document.getElementById("sentence").textContent = sentence(layer, showReadout(layer));
  }

  state = fromAddress() ?? start;
  show();
  if (fromAddress()) document.getElementById("explorer").scrollIntoView();
  addEventListener("hashchange", () => {
    const asked = fromAddress();
    if (asked) {
      state = asked;
      show();
    }
  });
  let width = hosts.layers.clientWidth;
  new ResizeObserver(() => {
    if (hosts.layers.clientWidth === width) return;
    width = hosts.layers.clientWidth;
    show();
  }).observe(hosts.layers);
})();
