// Elements and numbers. Every piece of text becomes a text node, so that no name can become markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = ["svg", "path", "line", "rect"];

/** An element with attributes (functions are listeners) and children (text or elements; null is left out). */
function make(name, attributes = {}, ...children) {
  const element = DRAWN.includes(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key === "style") element.style.cssText = value;
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const known = (value) => typeof value === "number" && Number.isFinite(value);
const grouped = new Intl.NumberFormat("en");
const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
const minus = (text) => text.replaceAll("-", "−");
const fixed = (value, digits = 4) => (known(value) ? minus(value.toFixed(digits).replace(/^-(0\.0*)$/, "$1")) : "–");
const interval = (low, high) => (known(low) && known(high) ? `[${fixed(low)}, ${fixed(high)}]` : "");

/** A value of a column of its type, short; the whole value is in the element's title. */
function short(value, type) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number" || type === "integer" || Number.isInteger(value)) return String(value);
  return minus(Math.abs(value) >= 1e-4 ? String(Number(value.toPrecision(5))) : value.toExponential(2));
}

function probability(value) {
  if (!known(value)) return "–";
  if (value >= 0.001) return value.toFixed(value < 0.01 ? 4 : 3);
  return value === 0 ? "0" : minus(value.toExponential(1));
}
