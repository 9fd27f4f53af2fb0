// Tables: read from the JSON embedded in the page, shown with sorting, a filter, pages of rows and a download.

const PAGE = 50;

/** Named columns of the same length: `columns` are {name, text, unit, type, values}. */
class Table {
  constructor(name, columns) {
    const rows = columns[0].values.length;
    Object.assign(this, { name, columns, rows, byName: new Map(columns.map((column) => [column.name, column])) });
    for (const column of columns) column.number = typeof column.values.find((value) => value !== null) === "number";
  }

  value(row, name) {
    return this.byName.get(name)?.values[row] ?? null;
  }

  levels(name) {
    return [...new Set(this.byName.get(name)?.values)];
  }

  /** Rows by the value of a column, made when first asked for. */
  groups(name) {
    const column = this.byName.get(name);
    if (!column.groups) {
      column.groups = new Map(this.levels(name).map((value) => [value, []]));
      column.values.forEach((value, row) => column.groups.get(value).push(row));
    }
    return column.groups;
  }

  /** The rows with these values. */
  where(wanted) {
    const names = Object.keys(wanted);
    const [fewest] = names.map((name) => this.groups(name).get(wanted[name]) ?? []).sort((a, b) => a.length - b.length);
    return fewest.filter((row) => names.every((name) => this.byName.get(name).values[row] === wanted[name]));
  }

  record(row) {
    return Object.fromEntries(this.columns.map((column) => [column.name, column.values[row]]));
  }

  /** The table of some of the rows, without those of the columns `keys` in which they are all alike. */
  of(rows, keys) {
    const columns = this.columns.map((column) => ({ ...column, values: rows.map((row) => column.values[row]) }));
    const alike = ({ name, values }) => keys.includes(name) && values.every((value) => value === values[0]);
    return new Table(this.name, columns.filter((column) => !alike(column)));
  }
}

/** A column's values, from any of the forms in which it is stored. */
function decoded({ values, levels, codes, runs }) {
  if (values) return values;
  if (codes) return codes.map((code) => levels[code]);
  const found = [];
  for (let k = 0; k < runs.length; k += 2) {
    for (let n = 0; n < runs[k + 1]; n++) found.push(levels[runs[k]]);
  }
  return found;
}

const tables = new Map();

/** An embedded table, read when first asked for; null where the page has none of this name. */
function table(name) {
  if (!tables.has(name)) {
    const node = [...document.querySelectorAll("script[data-table]")].find((each) => each.dataset.table === name);
    const stored = node && JSON.parse(node.textContent);
    const read = (column, k) => ({ ...column, values: decoded(stored[k]) });
    tables.set(name, node ? new Table(name, JSON.parse(node.dataset.columns).map(read)) : null);
  }
  return tables.get(name);
}

const CONDITION = /^([\w-]+)(<=|>=|!=|=|<|>)(.+)$/;
const COMPARE = {
  ...{ "<": (a, b) => a < b, "<=": (a, b) => a <= b, "=": (a, b) => a === b },
  ...{ ">": (a, b) => a > b, ">=": (a, b) => a >= b, "!=": (a, b) => a !== b },
};

/** Which rows hold every term of `text`: `column<number`, `column=text`, or part of any cell of text. */
function matching(data, text) {
  let rows = Array.from({ length: data.rows }, (_, row) => row);
  for (const term of text.toLowerCase().split(/\s+/).filter(Boolean)) {
    const [, name, sign, wanted] = term.match(CONDITION) ?? [];
    const column = data.columns.find((each) => each.name.toLowerCase() === name);
    const asked = column ? [column] : data.columns.filter((each) => !each.number);
    const holds = (cell, number) => {
      if (number) return cell !== null && COMPARE[sign](cell, Number(wanted));
      const lower = String(cell ?? "").toLowerCase();
      return column ? COMPARE[sign](lower, wanted) : lower.includes(term);
    };
    rows = rows.filter((row) => asked.some((each) => holds(each.values[row], each.number)));
  }
  return rows;
}

/** `rows` by a column; empty cells last, equal ones as they came. */
function sorted(rows, { values, number }, direction) {
  const collator = new Intl.Collator("en", { numeric: true });
  const empty = (value) => value === null || value === "";
  return [...rows].sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    if (empty(x) || empty(y)) return empty(x) - empty(y) || a - b;
    return direction * (number ? x - y : collator.compare(x, y)) || a - b;
  });
}

/** Save rows, in this order, as tab-separated text. */
function download(data, rows) {
  const cells = rows.map((row) => data.columns.map(({ values }) => values[row] ?? ""));
  const lines = [data.columns.map(({ name }) => name), ...cells].map((line) => `${line.join("\t")}\n`);
  const href = URL.createObjectURL(new Blob(lines));
  make("a", { href, download: `${data.name.split("/").pop()}.tsv` }).click();
  URL.revokeObjectURL(href);
}

function showTable(host, data) {
  const view = { rows: [], column: null, direction: 1, first: 0 };
  const button = (text, click, title) => make("button", { type: "button", click, title }, text);
  const turn = (step) => () => {
    view.first += step;
    show();
  };
  const sort = (column) => () => {
    const again = view.column === column;
    if (again && view.direction < 0) view.column = null;
    else [view.column, view.direction] = [column, again ? -1 : 1];
    refresh();
  };
  const body = make("tbody");
  const count = make("span", { class: "muted", role: "status" });
  const words = { placeholder: "Filter rows", "aria-label": `Filter the rows of ${data.name}` };
  const filter = make("input", { type: "search", ...words, input: refresh });
  const [before, after] = [button("Previous", turn(-PAGE)), button("Next", turn(PAGE))];
  const save = button("Download rows", () => download(data, view.rows), "These rows, in this order, as TSV text");
  const aligned = (column) => (column.number ? "number" : null);
  const headings = data.columns.map((column) => {
    const meaning = [column.text, column.unit && `Unit: ${column.unit}.`].filter(Boolean).join(" ");
    return make("th", { scope: "col", class: aligned(column) }, button(column.name, sort(column), meaning));
  });

  function refresh() {
    view.first = 0;
    view.rows = matching(data, filter.value);
    if (view.column) view.rows = sorted(view.rows, view.column, view.direction);
    headings.forEach((heading, k) => {
      const sorted = view.direction > 0 ? "ascending" : "descending";
      if (data.columns[k] === view.column) heading.setAttribute("aria-sort", sorted);
      else heading.removeAttribute("aria-sort");
    });
    show();
  }

  function cell(column, row) {
    const value = column.values[row];
    const text = short(value, column.type);
    return make("td", { class: aligned(column), title: text === String(value ?? "") ? null : value }, text);
  }

  function show() {
    const rows = view.rows.slice(view.first, view.first + PAGE);
    body.replaceChildren(...rows.map((row) => make("tr", {}, data.columns.map((column) => cell(column, row)))));
    const range = `rows ${view.first + 1} to ${view.first + rows.length} of ${grouped.format(view.rows.length)}`;
    count.textContent = rows.length ? range : "no row meets all of these conditions";
    before.disabled = view.first === 0;
    after.disabled = view.first + PAGE >= view.rows.length;
  }

  const grid = make("table", {}, make("thead", {}, make("tr", {}, headings)), body);
  host.replaceChildren(
    make("div", { class: "bar" }, filter, count, before, after, save),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": data.name }, grid),
  );
  refresh();
}

for (const details of document.querySelectorAll("details.table")) {
  details.addEventListener("toggle", () => {
    const host = details.querySelector(".grid-host");
    const data = table(details.dataset.table);
    if (!details.open || !host || !data || host.dataset.shown) return;
    host.dataset.shown = "yes";
    showTable(host, data);
  });
}
