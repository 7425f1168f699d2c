// Browsing completions by step and prompt; each token is shaded by how improbable it was when it was drawn.

const byId = (id) => document.getElementById(id);

const TITLE = 200; // characters of a prompt's title

/** The last line of a prompt that says something. */
function lastLine(prompt) {
  const lines = prompt.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines[lines.length - 1] ?? "(empty)";
}

/** What each prompt does not share with all others at its beginning and end, in whole words; else its last line. */
function titles(prompts) {
  if (prompts.length < 2) return prompts.map(lastLine);
  const split = prompts.map((prompt) => prompt.match(/\n|\S+/g) ?? []), first = split[0];
  const shortest = Math.min(...split.map((words) => words.length));
  let start = 0, end = 0; // words that all share
  while (start < shortest && split.every((words) => words[start] === first[start])) start++;
  while (end < shortest - start && split.every((words) => words.at(-1 - end) === first.at(-1 - end))) end++;
  const bare = /^[^\p{L}\n]+$/u; // numbers and signs: those beside a title belong to it, as 12 to + 7
  while (start && bare.test(first[start - 1])) start--;
  while (end && bare.test(first.at(-end))) end--;
  return split.map((words, index) => {
    const own = words.slice(start, words.length - end).filter((word) => word !== "\n").join(" ");
    return own.slice(0, TITLE) || lastLine(prompts[index]);
  });
}

/** A prompt of the list: its title, a bar a completion, and the range of rewards. */
function promptButton(group, title, lowest, highest) {
  const rewards = group.rows.map((row) => row.reward), known = rewards.filter((reward) => reward !== null);
  const bars = rewards.map((reward) => {
    const bar = make("i");
    bar.style.height = `${reward === null ? 0 : 15 * (reward - lowest) / (highest - lowest || 1)}px`;
    return bar;
  });
  const ends = known.length ? [...new Set([Math.min(...known), Math.max(...known)])].map(short).join(" to ") : "no reward";
  return make("button", { type: "button" }, make("span", { class: "name" }, title),
    make("span", { class: "rewards" }, ...bars, make("span", {}, ends)));
}

/** Tokens as spans; --u is 1 less the probability of the token. */
function tokens(row, texts) {
  const found = row.pieces.map((piece, index) => {
    const text = texts[piece], logprob = row.logprobs[index];
    const span = make("span", { class: text.includes("\n") ? "t line" : "t" }, text);
    if (logprob === null) {
      span.classList.add("given");
      span.title = "not sampled by the policy";
    } else {
      const probability = Math.exp(logprob / 1000);
      span.style.setProperty("--u", (1 - probability).toFixed(3));
      span.title = `${JSON.stringify(text)}  probability ${probability.toFixed(3)}, log-prob ${(logprob / 1000).toFixed(3)}`;
    }
    return span;
  });
  if (row.left_out) found.splice(row.head, 0, make("span", { class: "gap" }, ` … ${row.left_out} tokens left out … `));
  return found;
}

function chip(name, value, tone = "") {
  return make("span", { class: `chip ${tone}` }, `${name} `, make("b", {}, value));
}

/** One completion with its scores, reward and advantage. */
function completion(row, step) {
  const sign = row.advantage > 0 ? "good" : row.advantage < 0 ? "bad" : "";
  const advantage = row.advantage === null ? "–" : `${row.advantage > 0 ? "+" : ""}${row.advantage.toFixed(2)}`;
  const scores = step.rules.map((rule, k) => {
    const status = row.status[k] === "ok" || row.status[k] === null ? "" : ` (${row.status[k]})`;
    return chip(rule, short(row.scores[k]) + status, status && "bad");
  });
  const chance = row.mean_logprob === null ? "" : `, mean probability ${Math.exp(row.mean_logprob).toFixed(2)} (geometric)`;
  const cut = row.finish_reason === "length" ? "cut at max_tokens" : `ended by ${row.finish_reason}`;
  const head = make("div", { class: "head" }, make("b", {}, `#${row.sample}`), chip("advantage", advantage, sign),
    chip("reward", short(row.reward)), ...scores, make("span", { class: "more" }, `${row.tokens} tokens, ${cut}${chance}`));
  const text = make("div", { class: "text" }, ...(row.pieces ? tokens(row, step.texts) : [row.text]));
  const extras = step.rules.flatMap((rule, k) => Object.entries(row.extras[k]).map(([name, value]) => `${rule} ${name}: ${value}`));
  return make("article", { class: "completion" }, head, text,
    extras.length ? make("div", { class: "extras" }, extras.join(" · ")) : null);
}

/** The browser of samples. `source.steps` are those there are, `source.get(step)` promises one. */
class Samples {
  constructor(source) {
    this.source = source;
    this.prompt = 0;
    this.step = null;
    this.follows = true; // the newest step, until a step is chosen
    byId("step").onchange = (event) => this.choose(Number(event.target.value), this.prompt);
    byId("order").onchange = () => this.show();
    byId("previous").onclick = () => this.move(-1);
    byId("next").onclick = () => this.move(1);
    window.addEventListener("hashchange", () => this.fromAddress());
  }

  /** Takes up the steps that there are now. */
  refresh() {
    const steps = this.source.steps;
    byId("browser").hidden = !steps.length;
    byId("step").replaceChildren(...steps.map((step) => make("option", { value: step }, String(step))));
    if (!steps.length) return;
    if (this.step === null && this.fromAddress()) return;
    if (this.follows || !steps.includes(this.step)) this.choose(steps[steps.length - 1], this.prompt, true);
    else this.mark();
  }

  /** The step nearest to a wanted one. */
  nearest(wanted) {
    return this.source.steps.reduce((best, step) => Math.abs(step - wanted) < Math.abs(best - wanted) ? step : best);
  }

  /** Goes to what the address names, as #step=4&prompt=2; false where it names no step. */
  fromAddress() {
    const named = new URLSearchParams(location.hash.slice(1));
    if (!named.has("step") || !this.source.steps.length) return false;
    this.choose(this.nearest(Number(named.get("step"))), Number(named.get("prompt") ?? 0));
    return true;
  }

  move(by) {
    const steps = this.source.steps, to = steps[steps.indexOf(this.step) + by];
    if (to !== undefined) this.choose(to, this.prompt);
  }

  mark() {
    const steps = this.source.steps;
    byId("step").value = this.step;
    byId("previous").disabled = this.step === steps[0];
    byId("next").disabled = this.step === steps[steps.length - 1];
  }

  async choose(step, prompt, followed = false) {
    if (step === this.step && prompt === this.prompt && this.loaded) return;
    [this.step, this.prompt, this.follows] = [step, prompt, followed];
    this.mark();
    const loaded = await this.source.get(step);
    if (step !== this.step || !loaded) return; // another was chosen meanwhile
    this.loaded = loaded;
    this.prompt = Math.max(0, Math.min(loaded.groups.length - 1, this.prompt));
    if (!followed) history.replaceState(null, "", `#step=${step}&prompt=${this.prompt}`);
    this.show();
  }

  show() {
    const step = this.loaded;
    const rewards = step.groups.flatMap((group) => group.rows.map((row) => row.reward)).filter((r) => r !== null);
    const lowest = Math.min(0, ...rewards), highest = Math.max(0, ...rewards);
    const names = titles(step.groups.map((group) => group.prompt));
    byId("prompts").replaceChildren(...step.groups.map((group, index) => {
      const button = promptButton(group, names[index], lowest, highest);
      button.setAttribute("aria-current", index === this.prompt);
      button.onclick = () => this.choose(this.step, index);
      return make("li", {}, button);
    }));
    if (step.groups.length < step.prompts)
      byId("prompts").append(make("li", { class: "note" }, `${step.prompts - step.groups.length} more prompts of this step are left out`));
    const group = step.groups[this.prompt];
    if (!group) return byId("group").replaceChildren("No completion of this step is in the page.");
    const rows = [...group.rows];
    if (byId("order").value === "advantage") rows.sort((a, b) => (b.advantage ?? -Infinity) - (a.advantage ?? -Infinity));
    byId("group").replaceChildren(make("pre", { class: "prompt" }, group.prompt),
      group.answer === null ? "" : make("div", {}, chip("answer", group.answer)),
      ...rows.map((row) => completion(row, step)));
  }
}
