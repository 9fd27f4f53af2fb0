// The explorer: a choice of checkpoint, layer, property, removal and subject, which charts, numbers and a sentence follow.

const DASHES = [[5, 3], [2, 2], [6, 2, 1, 2]];
const PROBES = {
  accuracy_before: "before removal",
  accuracy_after: "after (paper: fitted on all words)",
  accuracy_after_crossfit: "after, crossfit",
};

async function explore(study, alignment, effects, probing) {
  const form = document.getElementById("choices");
  const level = `${Number((100 - 100 * study.alpha).toPrecision(6))} %`;

  // ---- what the study has ------------------------------------------------------------------------------------

  /** The study's names in its order, as far as the tables have them; others after them. */
  function ordered(names, column) {
    const present = alignment.levels(column);
    return [...names.filter((name) => present.includes(name)), ...present.filter((name) => !names.includes(name))];
  }

  const checkpoints = ordered(study.checkpoints, "checkpoint");
  const stepOf = new Map([...alignment.groups("checkpoint")].map(([name, rows]) => [name, alignment.value(rows[0], "step")]));
  const trained = checkpoints.filter((name) => known(stepOf.get(name))).sort((a, b) => stepOf.get(a) - stepOf.get(b));
  const baselines = checkpoints.filter((name) => !known(stepOf.get(name)));
  const layers = alignment.levels("layer").sort((a, b) => a - b);
  const properties = ordered(study.properties, "property").filter((name) => name !== "original");
  const removals = ordered(study.removals, "removal").filter((name) => name !== "none");
  const subjects = ordered(study.subjects, "subject");
  const label = (name) => study.labels[name] ?? name.replaceAll("_", " ");
  const stepText = (name) => (known(stepOf.get(name)) ? grouped.format(stepOf.get(name)) : label(name));
  const nameOf = (name) => (known(stepOf.get(name)) ? `step ${stepText(name)}` : `baseline ${label(name)}`);

  /** How a property is drawn: in the figures' colour, lighter where the page is dark, so that it stands out as much. */
  function look(name, hollow = false) {
    const { colour: plain, shape } = study.marks[name] ?? study.marks.original;
    const colour = name === "original" ? "var(--ink)" : `color-mix(in oklab, ${plain}, var(--towards))`;
    return { colour, shape, fill: hollow ? "var(--card)" : colour, edge: hollow ? colour : "var(--card)", series: name };
  }

  // ---- the choice --------------------------------------------------------------------------------------------

  /** The layer of the last checkpoint with the best inner score: the choice that does not look at the alignment. */
  function goodLayer() {
    const totals = new Map();
    for (const row of alignment.where({ checkpoint: trained.at(-1) ?? checkpoints[0], removal: "none" })) {
      const [layer, score] = [alignment.value(row, "layer"), alignment.value(row, "inner_score")];
      if (known(score)) totals.set(layer, [...(totals.get(layer) ?? []), score]);
    }
    const mean = (values) => values.reduce((a, b) => a + b) / values.length;
    const score = (layer) => (totals.has(layer) ? mean(totals.get(layer)) : -Infinity);
    return layers.reduce((best, layer) => (score(layer) > score(best) ? layer : best), layers[0]);
  }

  const options = {
    checkpoint: checkpoints.map((name) => [name, nameOf(name)]),
    layer: layers.map((layer) => [String(layer), layer === 0 ? "0 (embeddings)" : String(layer)]),
    property: properties.map((name) => [name, label(name)]),
    removal: removals.map((name) => [name, name]),
    subject: subjects.map((name) => [name, name]),
  };
  const preferred = study.preferred.filter((name) => properties.includes(name) && name !== "random_label");
  const start = {
    checkpoint: trained.at(-1) ?? checkpoints[0],
    layer: String(goodLayer()),
    property: preferred[0] ?? properties[0] ?? "",
    removal: removals[0] ?? "",
    subject: subjects[0],
    log: study.stepAxis === "log" ? "1" : "",
  };

  for (const [name, entries] of Object.entries(options)) {
    const select = form.elements[name];
    select.append(...entries.map(([value, words]) => make("option", { value }, words)));
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

  let state = fromAddress() ?? start;
  function choose(change) {
    state = { ...state, ...change };
    history.replaceState(null, "", `#explorer?${new URLSearchParams(state)}`);
    show();
  }

  form.addEventListener("change", ({ target }) => choose({ [target.name]: target.type === "checkbox" ? (target.checked ? "1" : "") : target.value }));
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", () => {
    state = fromAddress() ?? state;
    show();
  });

  // ---- what the charts share ---------------------------------------------------------------------------------

  /** The chosen layer as the tables have it for a checkpoint: `controls` has no layers and stands as layer 0. */
  function layerAt(checkpoint) {
    const layer = Number(state.layer);
    return alignment.where({ checkpoint, layer, removal: "none", subject: state.subject }).length ? layer : 0;
  }

  /** The row of a cell at the chosen layer; undefined where there is none. */
  const cellOf = (data, checkpoint, rest) => data?.where({ checkpoint, layer: layerAt(checkpoint), ...rest })[0];
  const originalAt = (checkpoint) => cellOf(alignment, checkpoint, { removal: "none", subject: state.subject });

  /** Where checkpoints stand on the axis of steps; step 0 has no logarithm and stands left of the first. */
  function stepPlaces() {
    if (!state.log) return trained.map((_, k) => k);
    const logs = trained.map((name) => Math.log10(stepOf.get(name)));
    const finite = logs.filter(Number.isFinite);
    const gaps = finite.slice(1).map((value, k) => value - finite[k]).sort((a, b) => a - b);
    const typical = gaps[Math.floor(gaps.length / 2)] ?? 1;
    const zero = (finite[0] ?? 0) - Math.max(typical, 0.12 * ((finite.at(-1) ?? 0) - (finite[0] ?? 0)));
    return logs.map((value) => (Number.isFinite(value) ? value : zero));
  }

  const axis = (places, labels, values) => {
    const room = 0.05 * (places.at(-1) - places[0]) || 0.5;
    return { places, labels, across: [places[0] - room, places.at(-1) + room], extent: extent(values) };
  };
  const overTraining = (values) => axis(stepPlaces(), trained.map(stepText), values);
  const pickStep = { place: (cell) => stepPlaces()[trained.indexOf(cell.checkpoint)], pick: ({ checkpoint }) => ({ checkpoint }) };

  /** Everything that alignment takes for this subject and removal, so that a choice does not move the axis. */
  const extents = new Map();
  function alignmentValues() {
    const key = JSON.stringify([state.subject, state.removal]);
    if (!extents.has(key)) {
      const rows = (removal) => alignment.where({ removal, subject: state.subject });
      const bounds = rows("none").flatMap((row) => ["mean_r", "ci_low", "ci_high"].map((name) => alignment.value(row, name)));
      extents.set(key, [...bounds, ...rows(state.removal).map((row) => alignment.value(row, "mean_r"))]);
    }
    return extents.get(key);
  }

  /** Original and residual among `rows` of alignment, as points along an axis. */
  function arms(rows, { place, pick }) {
    const points = rows.map((row) => ({ ...alignment.record(row), row }))
      .filter(({ removal, property }) => removal === "none" || (removal === state.removal && property === state.property))
      .map((cell) => ({
        ...cell, ...look(cell.property), place: place(cell), pick: pick(cell), chosen: isChosen(pick(cell)), band: true,
        y: cell.mean_r, low: cell.ci_low, high: cell.ci_high, width: cell.removal === "none" ? 3.2 : 1.8,
        text: `${armText(cell.property)}, ${nameOf(cell.checkpoint)}, layer ${cell.layer}: ${fixed(cell.mean_r)} ${interval(cell.ci_low, cell.ci_high)}`,
      }));
    const shown = state.property ? ["original", state.property] : ["original"];
    const entries = shown.map((name) => ({ ...look(name), width: name === "original" ? 3.2 : 1.8, text: armText(name) }));
    return { points: points.sort((a, b) => a.place - b.place), entries };
  }

  const armText = (property) => (property === "original" ? "original" : `${label(property)} removed`);
  const isChosen = (pick) => Object.entries(pick).every(([name, value]) => state[name] === value);

  function effect(row, more) {
    const cell = effects.record(row);
    const tests = `p ${probability(cell.p)}, adjusted ${probability(cell.p_fdr)}, paper's ${probability(cell.p_paper)}`;
    return {
      ...cell, row, ...look(cell.property), y: cell.mean_difference, low: cell.ci_low, high: cell.ci_high, bars: true, ring: cell.significant === 1,
      text: `${label(cell.property)}, ${nameOf(cell.checkpoint)}: ${fixed(cell.mean_difference)} ${interval(cell.ci_low, cell.ci_high)}, ${tests}`, ...more(cell),
    };
  }

  const bounds = (points) => [0, ...points.flatMap((point) => [point.y, point.low, point.high])];
  const ring = (colour) => ({ edge: colour, fill: "none", shape: study.marks.original.shape, line: false, text: `ring: significant (adjusted p < ${study.alpha})` });
  const layerAndSubject = () => ({ layer: Number(state.layer), subject: state.subject });
  const place = () => `${capital(nameOf(state.checkpoint))}, layer ${layerAt(state.checkpoint)}`;

  // ---- the charts: when they are shown, their specification, what they show --------------------------------------

  const CHARTS = {
    training: [trained.length, () => curves("training step", "alignment (mean r)", trained.length > 5), () => {
      const { points, entries } = arms(alignment.where(layerAndSubject()).filter((row) => known(alignment.value(row, "step"))), pickStep);
      const lines = baselines.map((name, k) => ({ y: alignment.value(originalAt(name), "mean_r"), dash: DASHES[k % DASHES.length], name }))
        .filter((line) => known(line.y)).map((line) => ({ ...line, text: `baseline ${label(line.name)}: ${fixed(line.y)}` }));
      return {
        title: "Alignment over training", words: `Layer ${state.layer}, subject ${state.subject}. Bands: ${level} intervals.`,
        points, lines, parameters: overTraining(alignmentValues()), source: alignment,
        entries: [...entries, ...lines.map((line) => ({ ...line, colour: "var(--dashed)", width: 1.4 }))],
      };
    }],
    layers: [true, () => curves("layer (0 = embeddings)", "alignment (mean r)"), () => ({
      title: "Alignment by layer", words: `${capital(nameOf(state.checkpoint))}, subject ${state.subject}. Bands: ${level} intervals.`,
      ...arms(alignment.where({ checkpoint: state.checkpoint, subject: state.subject }), { place: (cell) => cell.layer, pick: ({ layer }) => ({ layer: String(layer) }) }),
      parameters: axis(layers, layers.map(String), alignmentValues()), source: alignment,
    })],
    "effect-training": [trained.length && effects && properties.length, () => curves("training step", "difference (mean r)", trained.length > 5), () => {
      const rows = effects.where({ ...layerAndSubject(), removal: state.removal, property: state.property }).filter((row) => known(effects.value(row, "step")));
      const points = rows.map((row) => effect(row, (cell) => ({ place: pickStep.place(cell), pick: pickStep.pick(cell), chosen: isChosen(pickStep.pick(cell)), width: 2 })));
      return {
        title: `Effect of removing ${label(state.property)} over training`,
        words: `Layer ${state.layer}, subject ${state.subject}: residual minus original, with the ${level} interval of the paired difference.`,
        points: points.sort((a, b) => a.place - b.place), parameters: overTraining(bounds(points)), source: effects,
        entries: [{ ...look(state.property), text: armText(state.property) }, ring(look(state.property).colour)],
      };
    }],
    effects: [effects && properties.length, () => forest("difference (mean r)", properties.length), () => {
      const rows = effects.where({ checkpoint: state.checkpoint, layer: layerAt(state.checkpoint), removal: state.removal, subject: state.subject });
      const points = rows.map((row) => effect(row, ({ property }) => ({ label: label(property), pick: { property }, chosen: property === state.property })));
      return {
        title: "Effect of removing each property", words: `${place()}, subject ${state.subject}: residual minus original. Left of zero: removing it hurts.`,
        points: points.sort((a, b) => properties.indexOf(a.property) - properties.indexOf(b.property)),
        parameters: { extent: extent(bounds(points)) }, entries: [ring("var(--ink)")], source: effects,
      };
    }],
    probing: [probing && properties.length, () => curves(baselines.length ? "baselines, training step" : "training step", "accuracy", trained.length + baselines.length > 5), () => {
      const places = stepPlaces();
      const gap = places.length > 1 ? Math.max(places[1] - places[0], 0.08 * (places.at(-1) - places[0])) : 1;
      const names = [...baselines, ...trained];
      const at = [...baselines.map((_, k) => (places[0] ?? 0) - gap * (baselines.length - k)), ...places];
      const cells = names.map((name, k) => ({ name, at: at[k], row: cellOf(probing, name, { removal: state.removal, property: state.property }) }))
        .filter(({ row }) => row !== undefined).map((cell) => ({ ...cell, ...probing.record(cell.row) }));
      const looks = {
        accuracy_before: { ...look("original"), width: 2 },
        accuracy_after: { ...look(state.property, true), dash: [4, 3], width: 1.3 },
        accuracy_after_crossfit: { ...look(state.property), width: 2 },
      };
      const points = Object.entries(PROBES).flatMap(([column, words]) => cells.map(({ name, at, row, ...cell }) => ({
        ...looks[column], row, series: column, place: at, y: cell[column], alone: baselines.includes(name), pick: { checkpoint: name }, chosen: name === state.checkpoint,
        null_low: cell.null_low, null_high: cell.null_high, text: `${words}, ${nameOf(name)}: ${fixed(cell[column])}; null interval ${interval(cell.null_low, cell.null_high)}`,
      })));
      const chance = { y: cells[0]?.chance, colour: "var(--dashed)", dash: [1, 3], width: 1.4, text: `chance ${fixed(cells[0]?.chance, 3)}` };
      return {
        title: `Can a probe read ${label(state.property)}?`, words: `Accuracy, layer ${state.layer}, all subjects alike. Crossfit above the grey bar: it can still be read.`,
        points, lines: known(chance.y) ? [chance] : [], source: probing,
        parameters: axis(at, names.map(stepText), [...points.flatMap((point) => [point.y, point.null_low, point.null_high]), chance.y]),
        entries: [...Object.entries(PROBES).map(([column, words]) => ({ ...looks[column], text: words })), { block: true, colour: "var(--null)", text: "null interval" }, chance],
      };
    }],
    map: [trained.length, () => heat(layers.length), () => {
      const rows = alignment.where({ removal: "none", subject: state.subject }).filter((row) => known(alignment.value(row, "step")));
      const points = rows.map((row) => alignment.record(row)).map(({ checkpoint, step, layer, mean_r: y }, k) => ({
        row: rows[k], step, layer, y, pick: { checkpoint, layer: String(layer) }, chosen: isChosen({ checkpoint, layer: String(layer) }),
        text: `layer ${layer}, step ${stepText(checkpoint)}: ${fixed(y)}`,
      }));
      const values = points.map((point) => point.y).filter(known).sort((a, b) => a - b);
      return {
        title: "Alignment of the original, every step and layer", words: `Subject ${state.subject}, mean r. Framed: the chosen cell.`, points, source: alignment,
        entries: [{ colour: "color-mix(in oklab, var(--shade) 8%, var(--card))", y: values[0] }, { colour: "var(--shade)", y: values.at(-1) }].map(({ colour, y }) => ({ block: true, colour, text: fixed(y) })),
      };
    }],
  };

  // ---- the chosen cell in numbers and in a sentence ------------------------------------------------------------

  /** The chosen cell in numbers; `data-cell` says which cell of which table each is. */
  function showNumbers(host) {
    const { checkpoint, removal, property, subject } = state;
    const found = {
      original: [alignment, originalAt(checkpoint)],
      residual: [alignment, cellOf(alignment, checkpoint, { removal, property, subject })],
      effect: [effects, cellOf(effects, checkpoint, { removal, property, subject })],
      probe: [probing, cellOf(probing, checkpoint, { removal, property })],
    };
    const get = (which, name) => found[which][0]?.value(found[which][1], name) ?? null;
    const yes = (value) => (value === 1 ? "yes" : "no");
    const blocks = {
      "Alignment (mean r, interval)": [
        ["original", "original", "mean_r", fixed, "ci"], [`${label(property)} removed`, "residual", "mean_r", fixed, "ci"],
        ["inner score, original", "original", "inner_score", fixed], ["voxels", "original", "n_voxels", grouped.format],
      ],
      "Effect of the removal": [
        ["difference, interval", "effect", "mean_difference", fixed, "ci"], ["p, calibrated", "effect", "p", probability],
        ["p, adjusted over the grid", "effect", "p_fdr", probability], ["significant", "effect", "significant", yes],
        ["t over voxels (paper)", "effect", "t_paper", (value) => fixed(value, 2)], ["p over voxels (paper)", "effect", "p_paper", probability],
      ],
      Probe: [
        ...Object.entries(PROBES).map(([column, words]) => [words, "probe", column, fixed]),
        ["null interval, lower end", "probe", "null_low", fixed], ["null interval, upper end", "probe", "null_high", fixed],
        ["chance", "probe", "chance", fixed], ["crossfit against the null interval", "probe", "crossfit_position", String],
      ],
    };
    const line = ([words, which, name, format, ends]) => {
      const value = get(which, name);
      if (value === null) return null;
      const more = ends && make("span", { class: "muted" }, ` ${interval(get(which, `${ends}_low`), get(which, `${ends}_high`))}`);
      const number = make("span", { "data-cell": `${which}.${name}`, "data-value": value, title: value }, format(value));
      return make("tr", {}, make("th", { scope: "row" }, words), make("td", {}, number, more));
    };
    const parts = Object.entries(blocks).map(([title, lines]) => [title, lines.map(line).filter(Boolean)]).filter(([, lines]) => lines.length)
      .map(([title, lines]) => make("table", {}, make("caption", {}, title), make("tbody", {}, lines)));
    const words = [place(), property && label(property), `subject ${subject}`, removal && `removal by ${removal}`].filter(Boolean).join(", ");
    host.replaceChildren(make("h3", {}, "The chosen cell in numbers"), make("p", { class: "note" }, words), make("div", { class: "parts" }, parts));
    return get;
  }

  function sentence(get) {
    const where = `${place()}, subject ${state.subject}`;
    if (!known(get("original", "mean_r"))) return `${where}: the study has no such cell.`;
    const parts = [`${where}: alignment ${fixed(get("original", "mean_r"))}.`];
    if (known(get("effect", "mean_difference"))) {
      const [change, p, adjusted, paper] = ["mean_difference", "p", "p_fdr", "p_paper"].map((name) => get("effect", name));
      const verdict = get("effect", "significant") === 1 ? "significant" : "not significant";
      const ends = interval(get("effect", "ci_low"), get("effect", "ci_high"));
      parts.push(`Removing ${label(state.property)} changes it by ${fixed(change)} ${ends}: p = ${probability(p)}, adjusted p = ${probability(adjusted)}, ${verdict} at ${study.alpha}`);
      parts.push(known(paper) ? `(the paper's test over voxels: p = ${probability(paper)}).` : ".");
    }
    return parts.join(" ").replace(" .", ".");
  }

  // ---- all together ------------------------------------------------------------------------------------------

  const hostOf = (name) => make("figure", { class: `chart ${name}`, id: `chart-${name}` });
  const wanted = Object.entries(CHARTS).filter(([, [possible]]) => possible);
  const hosts = wanted.map(([name]) => hostOf(name));
  const readout = hostOf("readout");
  // All stand before any is drawn, so that each knows its width.
  document.getElementById("charts").append(...hosts, readout);
  const shows = await Promise.all(wanted.map(([, [, spec]], k) => chart(hosts[k], spec(), choose)));

  function show() {
    for (const name of Object.keys(options)) form.elements[name].value = state[name];
    form.elements.log.checked = Boolean(state.log);
    wanted.forEach(([, [, , shown]], k) => shows[k](shown()));
    document.getElementById("sentence").textContent = sentence(showNumbers(readout));
  }

  show();
  if (fromAddress()) document.getElementById("explorer").scrollIntoView();
}

if (document.getElementById("choices") && table("alignment")) {
  explore(JSON.parse(document.getElementById("study-data").textContent), ...["alignment", "removal_effects", "probing"].map(table));
}
