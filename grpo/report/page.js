// The page's other parts: state of the run, base against trained, curves, recipe, environment; and the live page.

const REFRESH = 2000; // milliseconds between looks at a run that goes on

function duration(seconds) {
  const whole = Math.round(seconds ?? 0), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

const moment = (seconds) => new Date(seconds * 1000).toLocaleString();

function fact(value, words) {
  return make("div", { class: "fact" }, make("b", {}, value), make("span", {}, words));
}

function facts(data) {
  const rows = data.comparison.rows, accuracy = rows.find((row) => row.label === "pass@1");
  const found = [];
  if (accuracy?.base && accuracy?.trained)
    found.push(fact(`${accuracy.base.value.toFixed(3)} → ${accuracy.trained.value.toFixed(3)}`, `held-out pass@1, step ${data.comparison.steps.join(" to ")}`));
  found.push(fact(data.steps ? `${data.done} of ${data.steps}` : String(data.done), "steps"));
  found.push(fact(short(data.tokens), "tokens sampled in training"));
  found.push(fact(duration(data.seconds), data.ended ? "whole run, h:mm:ss" : "in steps so far"));
  byId("facts").replaceChildren(...found);
}

/** The interval of base and trained on a line from 0 to 1. */
function forest(row) {
  const svg = draw("svg", { width: 160, height: 22, "aria-hidden": "true" });
  const x = (value) => 4 + 152 * value;
  svg.append(draw("line", { class: "axis", x1: 4, x2: 156, y1: 11, y2: 11 }));
  [["base", "grey", 6], ["trained", "k0", 16]].forEach(([name, tone, y]) => {
    const part = row[name];
    if (!part) return;
    if (part.interval) svg.append(draw("line", { class: `error ${tone}`, x1: x(part.interval[0]), x2: x(part.interval[1]), y1: y, y2: y }));
    svg.append(draw("circle", { class: `mark ${tone}`, cx: x(part.value), cy: y, r: 3 }));
  });
  return svg;
}

function comparison(data) {
  const { rows, final, set, prompts, samples, steps, gain } = data.comparison, box = byId("comparison");
  if (!rows.length) return box.replaceChildren(make("p", { class: "note" }, "No held-out evaluation yet."));
  const share = (row) => ["base", "trained"].every((name) => !row[name] || [row[name].value, ...(row[name].interval ?? [])].every((v) => v >= 0 && v <= 1));
  const cell = (part) => {
    if (!part) return make("td", {}, "–");
    const write = (value) => Math.abs(value) < 10 ? value.toFixed(3) : value.toFixed(1);
    return make("td", {}, write(part.value), part.interval ? make("small", {}, ` [${part.interval.map(write).join(", ")}]`) : null);
  };
  const about = final ? `${set}: ${prompts} prompts, ${samples} completions each; mean and 95 % interval`
    : `${set}, the half that may select a checkpoint: the run has not ended, so this is no final figure`;
  box.replaceChildren(make("table", {}, make("caption", {}, about),
    make("thead", {}, make("tr", {}, ...["", `base (step ${steps[0]})`, `${final ? "trained" : "newest"} (step ${steps[1]})`, "0 to 1"].map((word) => make("th", {}, word)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, make("td", {}, row.label), cell(row.base), cell(row.trained), make("td", {}, share(row) ? forest(row) : ""))))));
  if (gain) box.append(make("p", { class: "gain" }, gain));
}

/** A nested mapping as terms and values. */
function listed(value, path = "") {
  if (value !== null && typeof value === "object" && !Array.isArray(value))
    return Object.entries(value).flatMap(([key, inner]) => listed(inner, path ? `${path}.${key}` : key));
  const words = path === "command" ? value.join(" ") : Array.isArray(value) ? value.join(", ") || "none" : String(value ?? "none");
  const size = path.endsWith("_bytes") ? `${(value / 2 ** 30).toFixed(1)} GiB` : words;
  return [make("dt", {}, path.replace(/^(packages|hardware)\./, "").replace(/_bytes$/, "")), make("dd", {}, size)];
}

function show(data, samples) {
  document.title = data.name;
  byId("name").textContent = data.name;
  byId("status").textContent = data.ended ? "finished" : `not finished: last written ${moment(data.written)}`;
  byId("status").className = data.ended ? "ended" : "";
  facts(data);
  comparison(data);
  const onStep = (step) => {
    if (!samples.source.steps.length) return;
    samples.choose(samples.nearest(step), samples.prompt);
    byId("samples").scrollIntoView();
  };
  byId("curves-note").textContent = !data.panels.length ? "No step is written yet."
    : data.thinned ? `${data.thinned[0]} of ${data.thinned[1]} steps are drawn, evenly spaced, with every evaluation.` : "";
  byId("panels").replaceChildren(...data.panels.map((panel) => panelOf(panel, onStep)));
  const others = byId("others-box");
  const fill = () => others.open && byId("others").replaceChildren(...data.others.map((panel) => panelOf(panel, onStep)));
  others.hidden = !data.others.length;
  others.ontoggle = fill;
  fill();
  byId("recipe-text").textContent = data.recipe || "There is no recipe.yaml in the folder.";
  byId("environment-list").replaceChildren(...listed(data.environment));
  byId("made").textContent = `${data.folder}, as it was ${moment(data.made)}`;
  samples.refresh();
}

/** The samples of a page that holds them. */
function held(data) {
  const byStep = new Map(data.samples.map((step) => [step.step, step]));
  const kept = data.samples.length < data.sampled ? ` of ${data.sampled}` : "";
  const prompts = data.samples.some((step) => step.groups.length < step.prompts) ? ", some of the prompts of each" : "";
  byId("samples-note").textContent = !data.sampled ? "No samples are written yet."
    : kept || prompts ? `Left out to keep this file small: it holds ${data.samples.length}${kept} steps${prompts}. grpo report --steps and --groups take more; grpo watch --serve shows all.` : "";
  return { steps: [...byStep.keys()], get: async (step) => byStep.get(step) };
}

/** The samples of a live page: each step is asked for when it is looked at. */
function fetched(data) {
  const known = new Map();
  return {
    steps: data.samples,
    async get(step) {
      if (!known.has(step)) {
        const answer = await fetch(`samples/${step}.json`);
        if (!answer.ok) return null;
        known.set(step, await answer.json());
      }
      return known.get(step);
    },
  };
}

async function follow(samples) {
  let tag = "";
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, REFRESH));
    try {
      const answer = await fetch("data.json", { headers: tag ? { "If-None-Match": tag } : {} });
      if (answer.status === 200) {
        tag = answer.headers.get("ETag");
        const data = await answer.json();
        samples.source.steps = data.samples;
        show(data, samples);
      }
    } catch {
      byId("status").textContent = "grpo watch has ended: this is what it last showed";
    }
  }
}

const data = JSON.parse(byId("data").textContent);
const samples = new Samples(data.live ? fetched(data) : held(data));
show(data, samples);
if (data.live) follow(samples);
