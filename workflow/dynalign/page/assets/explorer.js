// The explorer: a choice of checkpoint, layer, property, removal and subject, and what follows it: charts, the chosen
// cell in numbers, a sentence. `study` says what there is to choose, the tables have the numbers.

const DASHES = [[5, 3], [2, 2], [6, 2, 1, 2]];
const PROBES = {
  accuracy_before: "before removal",
  accuracy_after: "after (paper: fitted on all words)",
  accuracy_after_crossfit: "after, crossfit",
};

async function explore(study, alignment, effects, probing) {
  const { trained, baselines, layers, steps } = study;
  const form = document.getElementById("choices");
  const properties = study.choices.property.map(([name]) => name);
  const label = (name) => study.labels[name];
  const nameOf = (checkpoint) => `${checkpoint in steps ? "step" : "baseline"} ${label(checkpoint)}`;
  const level = `${Number((100 - 100 * study.alpha).toPrecision(6))} %`;

  // ---- the choice --------------------------------------------------------------------------------------------

  for (const [name, entries] of Object.entries(study.choices)) {
    const select = form.elements[name];
    select.append(...entries.map(([value, words]) => make("option", { value }, words)));
    select.closest("label").hidden = entries.length === 0 || (name === "removal" && entries.length === 1);
  }
  form.hidden = false;

  /** The choice in the address, where it names one that exists. */
  function fromAddress() {
    const [where, query] = location.hash.slice(1).split("?");
    if (where !== "explorer" || query === undefined) return null;
    const asked = Object.fromEntries(new URLSearchParams(query));
    const exists = ([name, value]) => study.choices[name]?.some(([each]) => each === value);
    const found = { ...study.start, ...Object.fromEntries(Object.entries(asked).filter(exists)) };
    return "log" in asked ? { ...found, log: asked.log === "1" ? "1" : "" } : found;
  }

  let state = fromAddress() ?? study.start;
  function choose(change) {
    state = { ...state, ...change };
    history.replaceState(null, "", `#explorer?${new URLSearchParams(state)}`);
    show();
  }

  form.addEventListener("change", ({ target: { name, type, checked, value } }) => {
    choose({ [name]: type === "checkbox" ? (checked ? "1" : "") : value });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", () => {
    state = fromAddress() ?? state;
    show();
  });

  const isChosen = (pick) => Object.entries(pick).every(([name, value]) => state[name] === value);
  const layerAndSubject = () => ({ layer: Number(state.layer), subject: state.subject });
  const place = () => `${capital(nameOf(state.checkpoint))}, layer ${layerAt(state.checkpoint)}`;

  /** The chosen layer as the tables have it for a checkpoint: `controls` and own features stand as layer 0. */
  function layerAt(checkpoint) {
    const found = alignment.where({ checkpoint, removal: "none", ...layerAndSubject() });
    return found.length ? Number(state.layer) : 0;
  }

  /** The row of a cell at the chosen layer; undefined where there is none. */
  const cellOf = (data, checkpoint, rest) => data?.where({ checkpoint, layer: layerAt(checkpoint), ...rest })[0];
  const originalAt = (checkpoint) => cellOf(alignment, checkpoint, { removal: "none", subject: state.subject });

  // ---- what the charts share ---------------------------------------------------------------------------------

  /** How a property is drawn: in the figures' colour, lighter on a dark page, so that it stands out as much. */
  function look(name, hollow = false) {
    const { colour: plain, shape } = study.marks[name];
    const colour = name === "original" ? "var(--ink)" : `color-mix(in oklab, ${plain}, var(--towards))`;
    const [fill, edge] = hollow ? ["var(--card)", colour] : [colour, "var(--card)"];
    return { colour, shape, fill, edge, width: 2, series: name };
  }

  const armText = (property) => (property === "original" ? "original" : `${label(property)} removed`);
  const armLook = (name) => ({ ...look(name), width: name === "original" ? 3.2 : 1.8, text: armText(name) });

  const stepPlaces = () => study.places[state.log];

  function axis(places, labels, values) {
    const room = 0.05 * (places.at(-1) - places[0]) || 0.5;
    return { places, labels, across: [places[0] - room, places.at(-1) + room], extent: extent(values) };
  }

  const overTraining = (values) => axis(stepPlaces(), trained.map(label), values);
  const alongSteps = ({ checkpoint }) => ({ place: stepPlaces()[trained.indexOf(checkpoint)], pick: { checkpoint } });
  const alongLayers = ({ layer }) => ({ place: layer, pick: { layer: String(layer) } });

  /** Rows as points: with their numbers, what `more` says of each, and whether they are the chosen ones; in order. */
  function pointsOf(data, rows, ...more) {
    const point = (row) => more.reduce((cell, add) => ({ ...cell, ...add(cell) }), { ...data.record(row), row });
    const points = rows.map(point).map((each) => ({ ...each, chosen: isChosen(each.pick) }));
    return points.sort((a, b) => a.place - b.place);
  }

  const ofTrained = (data, wanted) => data.where(wanted).filter((row) => data.value(row, "checkpoint") in steps);

  /** Everything that alignment takes for this subject and removal, so that a choice does not move the axis. */
  function alignmentValues() {
    const rows = (removal) => alignment.where({ removal, subject: state.subject });
    const values = (removal, name) => rows(removal).map((row) => alignment.value(row, name));
    const originals = ["mean_r", "ci_low", "ci_high"].flatMap((name) => values("none", name));
    return [...originals, ...values(state.removal, "mean_r")];
  }

  /** Original and residual, as curves with bands along an axis. */
  function arms(wanted, along) {
    const { subject, removal, property } = state;
    const both = [{ removal: "none" }, { removal, property }];
    const rows = both.flatMap((each) => alignment.where({ ...wanted, ...each, subject }));
    const arm = ({ property: name, checkpoint, layer, mean_r: y, ci_low: low, ci_high: high }) => ({
      ...armLook(name), y, low, high, band: true,
      text: `${armText(name)}, ${nameOf(checkpoint)}, layer ${layer}: ${fixed(y)} ${interval(low, high)}`,
    });
    const points = pointsOf(alignment, rows, along, arm);
    const entries = ["original", state.property].filter(Boolean).map(armLook);
    return { points: points.filter((point) => point.place !== undefined), entries, source: alignment };
  }

  /** What an effect of a removal can mean, by what the encoder reads of the property; empty: what it says. */
  function reading({ readable_before: before, readable_before_null: low, readable_after: after, ...cell }) {
    if (![before, low, after].every(known)) return "";
    if (after > cell.readable_after_null) return "still read after the removal, so an effect near 0 says nothing";
    return before > low ? "" : "never read by the encoder: nothing was there to remove";
  }

  /** Effects of removals, as points with bars, ringed where significant, hollow where they say little or nothing. */
  const effect = ({ property, checkpoint, mean_difference: y, ci_low: low, ci_high: high, significant, ...cell }) => ({
    ...look(property, reading(cell) !== ""), y, low, high, bars: true, ring: significant === 1,
    text: `${label(property)}, ${nameOf(checkpoint)}: ${fixed(y)} ${interval(low, high)}, p ${probability(cell.p)}, `
      + `adjusted ${probability(cell.p_fdr)}, paper's ${probability(cell.p_paper)}; `
      + `read at r ${fixed(cell.readable_before)} before, ${fixed(cell.readable_after)} after`
      + (reading(cell) && ` (${reading(cell)})`),
  });
  const hollow = {
    edge: "var(--ink)", fill: "var(--card)", shape: study.marks.original.shape,
    text: "hollow: the encoder still reads the property, or never did",
  };
  const spans = (points) => [0, ...points.flatMap((point) => [point.y, point.low, point.high])];
  const ringText = `ring: significant (adjusted p < ${study.alpha})`;
  const ring = (edge) => ({ edge, fill: "none", shape: study.marks.original.shape, text: ringText });

  // ---- the charts: what each shows ---------------------------------------------------------------------------

  function training() {
    const cells = baselines.map((name) => ({ name, y: alignment.value(originalAt(name), "mean_r") }));
    const lines = cells.filter(({ y }) => known(y)).map(({ name, y }, k) => ({
      y, dash: DASHES[k % DASHES.length], colour: "var(--dashed)", width: 1.4, text: `${nameOf(name)}: ${fixed(y)}`,
    }));
    const { points, entries, source } = arms({ layer: Number(state.layer) }, alongSteps);
    return {
      title: "Alignment over training",
      words: `Layer ${state.layer}, subject ${state.subject}. Bands: ${level} intervals.`,
      points, lines, source, entries: [...entries, ...lines], axes: overTraining(alignmentValues()),
    };
  }

  const byLayer = () => ({
    title: "Alignment by layer",
    words: `${capital(nameOf(state.checkpoint))}, subject ${state.subject}. Bands: ${level} intervals.`,
    ...arms({ checkpoint: state.checkpoint }, alongLayers), axes: axis(layers, layers.map(String), alignmentValues()),
  });

  function effectOverTraining() {
    const { removal, property } = state;
    const rows = ofTrained(effects, { ...layerAndSubject(), removal, property });
    const points = pointsOf(effects, rows, alongSteps, effect);
    return {
      title: `Effect of removing ${label(property)} over training`,
      words: `Layer ${state.layer}, subject ${state.subject}: residual minus original, with the ${level} interval of `
        + "the paired difference.",
      points, axes: overTraining(spans(points)), source: effects,
      entries: [{ ...look(property), text: armText(property) }, ring(look(property).colour), hollow],
    };
  }

  function effectOfEach() {
    const { checkpoint, removal, subject } = state;
    const rows = effects.where({ checkpoint, layer: layerAt(checkpoint), removal, subject });
    const down = ({ property: name }) => ({ label: label(name), place: properties.indexOf(name), pick: { property: name } });
    const points = pointsOf(effects, rows, down, effect);
    return {
      title: "Effect of removing each property",
      words: `${place()}, subject ${subject}: residual minus original. Left of zero: removing it hurts.`,
      points, axes: { extent: extent(spans(points)) }, entries: [ring("var(--ink)"), hollow], source: effects,
    };
  }

  function probes() {
    const { removal, property } = state;
    const names = [...baselines, ...trained];
    const places = stepPlaces();
    const gap = places.length > 1 ? Math.max(places[1] - places[0], 0.08 * (places.at(-1) - places[0])) : 1;
    const at = [...baselines.map((_, k) => (places[0] ?? 0) - gap * (baselines.length - k)), ...places];
    const rows = names.map((name) => cellOf(probing, name, { removal, property })).filter((row) => row !== undefined);
    const looks = {
      accuracy_before: look("original"),
      accuracy_after: { ...look(property, true), dash: [4, 3], width: 1.3 },
      accuracy_after_crossfit: look(property),
    };
    const along = ({ checkpoint }) => ({ place: at[names.indexOf(checkpoint)], pick: { checkpoint } });
    const probe = (series) => ({ checkpoint, [series]: y, null_low: low, null_high: high }) => ({
      ...looks[series], series, y, alone: baselines.includes(checkpoint),
      text: `${PROBES[series]}, ${nameOf(checkpoint)}: ${fixed(y)}; null interval ${interval(low, high)}`,
    });
    const points = Object.keys(PROBES).flatMap((series) => pointsOf(probing, rows, along, probe(series)));
    const y = points[0]?.chance;
    const chance = { y, colour: "var(--dashed)", dash: [1, 3], width: 1.4, text: `chance ${fixed(y, 3)}` };
    const values = points.flatMap((point) => [point.y, point.null_low, point.null_high]);
    return {
      title: `Can a probe read ${label(property)}?`,
      words: `Accuracy, layer ${state.layer}, all subjects alike. Crossfit above the grey bar: it can still be read.`,
      points, lines: known(y) ? [chance] : [], source: probing, axes: axis(at, names.map(label), [...values, y]),
      entries: [
        ...Object.entries(PROBES).map(([series, text]) => ({ ...looks[series], text })),
        { block: true, colour: "var(--null)", text: "null interval" }, chance,
      ],
    };
  }

  function map() {
    const cell = ({ checkpoint, layer, mean_r: y }) => ({
      y, pick: { checkpoint, layer: String(layer) }, text: `layer ${layer}, ${nameOf(checkpoint)}: ${fixed(y)}`,
    });
    const points = pointsOf(alignment, ofTrained(alignment, { removal: "none", subject: state.subject }), cell);
    const values = points.map((point) => point.y).filter(known).sort((a, b) => a - b);
    const [pale, full] = ["color-mix(in oklab, var(--shade) 8%, var(--card))", "var(--shade)"];
    const ends = [[pale, values[0]], [full, values.at(-1)]];
    return {
      title: "Alignment of the original, every step and layer",
      words: `Subject ${state.subject}, mean r. Framed: the chosen cell.`,
      points, entries: ends.map(([colour, y]) => ({ block: true, colour, text: fixed(y) })), source: alignment,
    };
  }

  // ---- the chosen cell in numbers and in a sentence ------------------------------------------------------------

  /** A function from ``original``, ``residual``, ``effect`` or ``probe``, and a column, to the chosen cell's number. */
  function numbers() {
    const { checkpoint, removal, property, subject } = state;
    const found = {
      original: [alignment, originalAt(checkpoint)],
      residual: [alignment, cellOf(alignment, checkpoint, { removal, property, subject })],
      effect: [effects, cellOf(effects, checkpoint, { removal, property, subject })],
      probe: [probing, cellOf(probing, checkpoint, { removal, property })],
    };
    return (which, column) => found[which][0]?.value(found[which][1], column) ?? null;
  }

  /** The chosen cell in numbers; `data-cell` says which column of which row each is. */
  function showNumbers(host, get) {
    const { removal, property, subject } = state;
    const blocks = {
      "Alignment (mean r, interval)": {
        "original.mean_r": ["original", fixed], "residual.mean_r": [`${label(property)} removed`, fixed],
        "original.inner_score": ["inner score, original", fixed], "original.n_voxels": ["voxels", grouped.format],
      },
      "Effect of the removal": {
        "effect.mean_difference": ["difference, interval", fixed], "effect.p": ["p, calibrated", probability],
        "effect.p_fdr": ["p, adjusted over the grid", probability],
        "effect.significant": ["significant", (value) => (value === 1 ? "yes" : "no")],
        "effect.over_control": ["difference over the control", fixed],
        "effect.readable_before": ["the encoder reads the property (r)", fixed],
        "effect.readable_after": ["the same after its removal", fixed],
        "effect.t_paper": ["t over voxels (paper)", (value) => fixed(value, 2)],
        "effect.p_paper": ["p over voxels (paper)", probability],
      },
      Probe: {
        ...Object.fromEntries(Object.entries(PROBES).map(([column, words]) => [`probe.${column}`, [words, fixed]])),
        "probe.null_low": ["null interval, lower end", fixed], "probe.null_high": ["null interval, upper end", fixed],
        "probe.chance": ["chance", fixed], "probe.crossfit_position": ["crossfit against the null interval", String],
      },
    };
    const line = ([cell, [words, format]]) => {
      const [which, column] = cell.split(".");
      const value = get(which, column);
      if (value === null) return null;
      const ends = column.startsWith("mean_") ? ` ${interval(get(which, "ci_low"), get(which, "ci_high"))}` : "";
      const number = make("span", { "data-cell": cell, "data-value": value, title: value }, format(value));
      const cells = make("td", {}, number, make("span", { class: "muted" }, ends));
      return make("tr", {}, make("th", { scope: "row" }, words), cells);
    };
    const parts = Object.entries(blocks).map(([title, lines]) => {
      const rows = Object.entries(lines).map(line).filter(Boolean);
      return rows.length ? make("table", {}, make("caption", {}, title), make("tbody", {}, rows)) : null;
    });
    const words = [place(), property && label(property), `subject ${subject}`, removal && `removal by ${removal}`];
    host.replaceChildren(
      make("h3", {}, "The chosen cell in numbers"),
      make("p", { class: "note" }, words.filter(Boolean).join(", ")),
      make("div", { class: "parts" }, parts),
    );
  }

  function sentence(get) {
    const where = `${place()}, subject ${state.subject}`;
    if (!known(get("original", "mean_r"))) return `${where}: the study has no such cell.`;
    const text = `${where}: alignment ${fixed(get("original", "mean_r"))}.`;
    const [change, low, high] = ["mean_difference", "ci_low", "ci_high"].map((name) => get("effect", name));
    if (!known(change)) return text;
    const [p, adjusted, paper] = ["p", "p_fdr", "p_paper"].map((name) => probability(get("effect", name)));
    const verdict = `${get("effect", "significant") === 1 ? "significant" : "not significant"} at ${study.alpha}`;
    const more = paper === "–" ? "" : ` (the paper's test over voxels: p = ${paper})`;
    const names = ["readable_before", "readable_before_null", "readable_after", "readable_after_null"];
    const read = Object.fromEntries(names.map((name) => [name, get("effect", name)]));
    const meaning = reading(read) && `: ${reading(read)}`;
    const reads = ` The encoder reads ${label(state.property)} at r = ${fixed(read.readable_before)} before and `
      + `${fixed(read.readable_after)} after the removal${meaning}.`;
    return `${text} Removing ${label(state.property)} changes it by ${fixed(change)} ${interval(low, high)}: p = ${p}, `
      + `adjusted p = ${adjusted}, ${verdict}${more}.${known(read.readable_before) ? reads : ""}`;
  }

  // ---- all together ------------------------------------------------------------------------------------------

  const [turned, allTurned] = [trained.length > 5, trained.length + baselines.length > 5];
  const [some, change] = [properties.length, "difference (mean r)"];
  const onSteps = baselines.length ? "baselines, training step" : "training step";
  // Each chart: whether the study has it, its specification, what it shows.
  const charts = Object.entries({
    training: [trained.length, curves("training step", "alignment (mean r)", turned), training],
    layers: [true, curves("layer (0 = embeddings)", "alignment (mean r)", false), byLayer],
    "effect-training": [effects && trained.length && some, curves("training step", change, turned), effectOverTraining],
    effects: [effects && some, forest(change, some), effectOfEach],
    probing: [probing && some, curves(onSteps, "accuracy", allTurned), probes],
    map: [trained.length, heat(layers.length), map],
  }).filter(([, [possible]]) => possible);
  const hostOf = (name) => make("figure", { class: `chart ${name}`, id: `chart-${name}` });
  const hosts = charts.map(([name]) => hostOf(name));
  const readout = hostOf("readout");
  // All stand before any is drawn, so that each knows its width.
  document.getElementById("charts").append(...hosts, readout);
  const draw = await Promise.all(charts.map(([, [, spec]], k) => chart(hosts[k], spec, choose)));

  function show() {
    for (const name of Object.keys(study.choices)) form.elements[name].value = state[name];
    form.elements.log.checked = Boolean(state.log);
    charts.forEach(([, [, , shown]], k) => draw[k](shown()));
    showNumbers(readout, numbers());
    document.getElementById("sentence").textContent = sentence(numbers());
  }

  show();
  if (fromAddress()) document.getElementById("explorer").scrollIntoView();
}

const offered = document.getElementById("explorer-data");
if (offered && table("alignment")) {
  explore(JSON.parse(offered.textContent), ...["alignment", "removal_effects", "probing"].map(table));
}
