"use strict";
// Line charts in SVG, drawn to the width they have, with a cross-hair that tells the values of a step.

const HEIGHT = 190, LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 22;
const COLOURS = 6, DENSE = 300; // points beyond which a curve is drawn thin

/** An HTML element; text children become text, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** An SVG element. */
function draw(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** A number in few characters: 0.0312, 31.4, 2.1k, 3.2e-7. */
function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e12 || (size > 0 && size < 1e-3)) return Number(value.toPrecision(2)).toExponential().replace("e+", "e");
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (size >= unit) return `${Number((value / unit).toPrecision(3))}${name}`;
  return String(Number(value.toPrecision(3)));
}

/** Round values from low to high, about `count` of them. */
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= raw) ?? 10);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) found.push(index * step);
  return found;
}

/** Curves of a panel with their colours; training beside held-out is grey. */
function coloured(panel) {
  let colour = 0;
  return panel.series.map((series) => ({ ...series, tone: series.kind === "training" ? "grey" : `k${colour++ % COLOURS}` }));
}

/** The lowest and highest value of a panel's axis. */
function extent(panel, curves) {
  const values = curves.flatMap((c) => [...c.y, ...c.low, ...c.high]).filter((v) => v !== null);
  if (panel.zero) values.push(0);
  let low = Math.min(...values), high = panel.top ?? Math.max(...values);
  if (high <= low) [low, high] = panel.zero ? [low, low + 1] : [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
  const room = panel.top ? 0 : (high - low) * 0.06;
  return [panel.zero && low === 0 ? 0 : low - room, high + room];
}

/** One panel: its caption, keys with the newest values, and the chart. `onStep` is told of a click on a step. */
function panelOf(panel, onStep) {
  const curves = coloured(panel), steps = [...new Set(curves.flatMap((c) => c.x))].sort((a, b) => a - b);
  const keys = make("div", { class: "keys" }, ...curves.map((c) =>
    make("span", { class: c.tone }, make("i"), `${c.name} `, make("b", {}, short(c.y[c.y.length - 1])))));
  const words = `${panel.title}: ${curves.map((c) => `${c.name} ${short(c.y[0])} to ${short(c.y[c.y.length - 1])}`).join(", ")}`;
  const svg = draw("svg", { height: HEIGHT, role: "img", tabindex: 0, "aria-label": words });
  const tip = make("div", { class: "tip", hidden: "" });
  const figure = make("figure", { class: "panel" },
    make("figcaption", {}, make("b", {}, panel.title), make("span", {}, panel.unit)), keys, svg, tip);
  let scale = null, at = -1;

  function redraw() {
    const width = svg.clientWidth;
    if (!width || !steps.length) return;
    scale = plot(svg, panel, curves, steps, width);
    if (at >= 0) point(at);
  }

  function point(index) {
    at = Math.max(0, Math.min(steps.length - 1, index));
    const step = steps[at], x = scale.x(step);
    scale.cross.setAttribute("x1", x);
    scale.cross.setAttribute("x2", x);
    scale.cross.removeAttribute("visibility");
    tip.replaceChildren(make("b", {}, `step ${step}`), ...curves.flatMap((c) => {
      const found = c.x.indexOf(step);
      if (found < 0) return [];
      const ends = c.low.length ? ` [${short(c.low[found])}, ${short(c.high[found])}]` : "";
      return [make("div", { class: `keys ${c.tone}` }, make("span", {}, make("i"), `${c.name} ${short(c.y[found])}${ends}`))];
    }));
    tip.hidden = false;
    const left = x > svg.clientWidth / 2 ? x - tip.offsetWidth - 4 : x + 28;
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${svg.offsetTop + 6}px`;
  }

  function leave() {
    at = -1;
    tip.hidden = true;
    scale?.cross.setAttribute("visibility", "hidden");
  }

  svg.addEventListener("pointermove", (event) => {
    if (!scale) return;
    const wanted = scale.step(event.clientX - svg.getBoundingClientRect().left);
    point(steps.reduce((best, step, index) => Math.abs(step - wanted) < Math.abs(steps[best] - wanted) ? index : best, 0));
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("click", () => at >= 0 && onStep(steps[at]));
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move && scale) point(at < 0 ? steps.length - 1 : at + move);
    else if (event.key === "Enter" && at >= 0) onStep(steps[at]);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(redraw).observe(svg);
  return figure;
}

/** Fills the SVG with axes and curves; gives the scales and the cross-hair's line. */
function plot(svg, panel, curves, steps, width) {
  const [low, high] = extent(panel, curves), first = steps[0], span = steps[steps.length - 1] - first || 1;
  const only = steps.length === 1;
  const x = (step) => only ? (LEFT + width - RIGHT) / 2 : LEFT + (step - first) / span * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const parts = [];
  for (const value of ticks(low, high, 4)) {
    parts.push(draw("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    parts.push(draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  const marks = only ? [first] : ticks(first, first + span, Math.min(6, width / 70)).filter(Number.isInteger);
  for (const step of marks)
    parts.push(draw("text", { x: x(step), y: HEIGHT - 6, "text-anchor": x(step) > width - 24 ? "end" : "middle" }, String(step)));
  for (const curve of curves) parts.push(...shapes(curve, x, y));
  const cross = draw("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  svg.replaceChildren(...parts, cross);
  return { x, cross, step: (at) => first + (at - LEFT) / (width - LEFT - RIGHT) * span };
}

/** The shapes of one curve: band, line with gaps, marks. */
function shapes(curve, x, y) {
  const known = curve.x.map((step, index) => index).filter((index) => curve.y[index] !== null);
  const at = (index, values) => `${x(curve.x[index]).toFixed(1)},${y(values[index]).toFixed(1)}`;
  const group = (tag, attributes) => draw(tag, { ...attributes, class: `${attributes.class} ${curve.tone}` });
  const found = [], ends = curve.kind === "held-out" && known.length <= 2;
  if (curve.low.length && ends)
    for (const i of known) found.push(group("line", { class: "error", x1: x(curve.x[i]), x2: x(curve.x[i]), y1: y(curve.low[i]), y2: y(curve.high[i]) }));
  else if (curve.low.length)
    found.push(group("polygon", { class: "band", points: [...known.map((i) => at(i, curve.high)), ...known.toReversed().map((i) => at(i, curve.low))].join(" ") }));
  let path = "", pen = "M";
  curve.y.forEach((value, index) => {
    if (value !== null) path += pen + at(index, curve.y);
    pen = value === null ? "M" : "L";
  });
  if (!ends && path) found.push(group("path", { class: known.length > DENSE ? "curve dense" : "curve", d: path }));
  if (curve.kind === "held-out" || known.length === 1)
    for (const i of known) found.push(group("circle", { class: "mark", cx: x(curve.x[i]), cy: y(curve.y[i]), r: ends ? 4 : 3 }));
  return found;
}
