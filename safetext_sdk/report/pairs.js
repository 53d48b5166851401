// The pairs of a report: filters, sorting, search, keys and the before/after view. Reads the page's one JSON
// block, loads nothing, and puts all text in as text: a prompt cannot become markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 48; // cards in the document at a time, however many pairs there are
  const WRONG = new Set(data.outcomes.slice(0, data.wrong));
  const [FIRST, SECOND] = data.names;
  const $ = (id) => document.getElementById(id);

  /** An element with attributes and children; strings become text. */
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  data.pairs.forEach((pair, number) => {
    pair.number = number;
    pair.text = [pair.prompt, pair.origin, pair.anchor, pair.negative, pair.before.shows, pair.after.shows,
      ...pair.after.missing].filter(Boolean).join("\n").toLowerCase();
  });

  const state = { found: [], at: 0, uncovered: new Set(), open: false };

  // --- choosing -----------------------------------------------------------------------------------------
  const filters = { set: "set", concept: "concept", attack: "attack", outcome: "outcome" };
  const orders = {
    worst: () => 0, // as they came: what went wrong first
    score: (a, b) => b.score - a.score,
    moved: (a, b) => (b.moved ?? -1) - (a.moved ?? -1),
    prompt: (a, b) => (a.prompt < b.prompt ? -1 : a.prompt > b.prompt ? 1 : 0),
    seed: (a, b) => a.seed - b.seed,
  };

  /** Fill a filter with what the pairs have, and hide it where there is nothing to choose. */
  function fill(field) {
    const counts = new Map();
    for (const pair of data.pairs) if (pair[field]) counts.set(pair[field], (counts.get(pair[field]) ?? 0) + 1);
    for (const name of counts.keys()) counts.set(name, data.counts?.[field][name] ?? counts.get(name)); // of all
    const names = field === "outcome" ? data.outcomes.filter((name) => counts.has(name)) : [...counts.keys()];
    for (const name of names) {
      const title = field === "set" ? data.sets[name] : null;
      $(field).append(make("option", { value: name, title }, `${name} (${counts.get(name)})`));
    }
    $(field).parentElement.hidden = names.length < (field === "set" || field === "concept" ? 2 : 1);
  }

  function choose() {
    const wanted = Object.keys(filters).map((field) => [field, $(field).value]).filter(([, value]) => value);
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    state.found = data.pairs.filter((pair) =>
      wanted.every(([field, value]) => field === "outcome" && value === "*wrong" ? WRONG.has(pair.outcome) : pair[field] === value)
      && words.every((word) => pair.text.includes(word)));
    state.found.sort((a, b) => orders[$("sort").value](a, b) || a.number - b.number);
    state.at = 0;
    show();
  }

  // --- cards --------------------------------------------------------------------------------------------
  const veiled = (side) => side.veil && !state.uncovered.has(side.picture);

  function image(side, name) {
    const picture = data.pictures[side.picture];
    if (!picture.data) return make("span", { class: "gone" }, "picture not kept");
    const node = make("img", { src: picture.data, alt: `${name} picture${side.shows ? `, which shows ${side.shows}` : ""}`, decoding: "async" });
    node.addEventListener("load", () => node.classList.toggle("small", node.naturalWidth < 100));
    return node;
  }

  /** A link to the full picture beside the page; a recorded path cannot lead to another scheme. */
  function full(side, name) {
    const path = "./" + data.pictures[side.picture].file.split("/").map(encodeURIComponent).join("/");
    return make("a", { href: path, target: "_blank", rel: "noreferrer" }, `full ${name} picture`);
  }

  function tags(side) {
    const out = [];
    if (side.unsafe) out.push(make("span", { class: "tag fail" }, "unsafe"));
    if (side.kept === false) out.push(make("span", { class: "tag inconclusive" }, "not kept"));
    if (side.missing.length) out.push(make("span", { class: "tag inconclusive missing" }, `missing: ${side.missing.join(", ")}`));
    return out;
  }

  function figure(pair, place, name) {
    const side = pair[name === FIRST ? "before" : "after"];
    const covered = veiled(side);
    const button = make("button", {
      type: "button", class: covered ? "shot veil" : "shot", "data-side": name,
      "aria-label": covered ? `show the ${name} picture` : `compare this pair`,
      onclick: () => { select(place); if (veiled(side)) uncover([side]); else view(true); },
    }, image(side, name), covered && data.pictures[side.picture].data ? make("span", {}, "click to show") : null);
    return make("figure", {}, button, make("figcaption", {}, `${name}: ${side.shows ?? "nothing that all detectors see"} `, ...tags(side)));
  }

  function described(pair) {
    const small = (text) => make("small", {}, text);
    return [
      make("span", {}, pair.prompt),
      pair.origin && pair.origin !== pair.prompt ? small(`attacked from: ${pair.origin}`) : null,
      pair.anchor ? small(`anchor: ${pair.anchor}`) : null,
      pair.negative ? small(`negative prompt: ${pair.negative}`) : null,
      small(`${[pair.set, pair.concept].filter(Boolean).join(" · ")} · seed ${pair.seed}`),
    ].filter(Boolean);
  }

  function card(pair, place) {
    return make("article", { class: "card", id: `pair-${place}`, "data-outcome": pair.outcome, "aria-label": pair.prompt },
      make("div", { class: "pair" }, figure(pair, place, FIRST), figure(pair, place, SECOND)),
      make("p", { class: "prompt" }, ...described(pair)),
      make("p", { class: "under" }, make("span", { class: `tag ${WRONG.has(pair.outcome) ? "fail" : "pass"}` }, pair.outcome),
        make("button", { type: "button", class: "plain", onclick: () => { select(place); view(true); } }, "compare")));
  }

  function show() {
    const first = Math.floor(state.at / PAGE) * PAGE, found = state.found;
    $("cards").replaceChildren(...found.slice(first, first + PAGE).map((pair, k) => card(pair, first + k)));
    const last = Math.min(first + PAGE, found.length);
    $("count").textContent = found.length ? `${first + 1}–${last} of ${found.length} pairs (${data.all ?? data.pairs.length} in all)` : `no pair of ${data.pairs.length} fits`;
    $("earlier").disabled = first === 0;
    $("later").disabled = last >= found.length;
    mark(false);
  }

  function mark(move) {
    for (const old of document.querySelectorAll(".card.at")) old.classList.remove("at");
    const node = $(`pair-${state.at}`);
    if (!node) return;
    node.classList.add("at");
    if (move) node.scrollIntoView({ block: "nearest" });
  }

  function select(place, move = false) {
    if (place < 0 || place >= state.found.length) return;
    const turned = Math.floor(place / PAGE) !== Math.floor(state.at / PAGE);
    state.at = place;
    if (turned) show();
    mark(move);
    if (state.open) view(true);
  }

  function uncover(sides) {
    for (const side of sides) state.uncovered.add(side.picture);
    refresh();
  }

  /** Blur or show both pictures of the chosen pair. */
  function toggle() {
    const pair = state.found[state.at];
    if (!pair) return;
    const sides = [pair.before, pair.after].filter((side) => side.veil);
    if (sides.some(veiled)) uncover(sides);
    else { for (const side of sides) state.uncovered.delete(side.picture); refresh(); }
  }

  /** Draw the cards again, and leave the reader where he was. */
  function refresh() {
    const held = document.activeElement, at = held.closest(".card")?.id, side = held.dataset.side;
    const first = Math.floor(state.at / PAGE) * PAGE;
    for (const old of $("cards").children) {
      const place = Number(old.id.slice("pair-".length));
      if (place >= first) old.replaceWith(card(state.found[place], place));
    }
    mark(false);
    if (at && side && !state.open) document.querySelector(`#${at} [data-side="${side}"]`)?.focus({ preventScroll: true });
    if (state.open) view(true);
  }

  // --- before/after -------------------------------------------------------------------------------------
  /** Scores of both pictures, a line a detector and label; those of the policy are held against a threshold. */
  function scores(pair) {
    const limits = new Map(data.detectors.flatMap((d) => d.labels.map((label) => [`${d.name}\n${label}`, d.threshold])));
    // A label that the policy does not name counts as shown from the detector's threshold on.
    const seen = new Map(data.detectors.map((d) => [d.name, d.threshold]));
    const names = new Set(), rows = [];
    for (const side of [pair.before, pair.after])
      for (const [name, found] of Object.entries(side.scores)) for (const label of Object.keys(found)) names.add(`${name}\n${label}`);
    for (const name of names) {
      const [detector, label] = name.split("\n");
      const values = [pair.before, pair.after].map((side) => side.scores[detector]?.[label]);
      const limit = limits.get(name);
      rows.push({ detector, label, values, limit, top: (limit === undefined ? 0 : 2) + Math.max(...values.map((x) => x ?? 0)) });
    }
    rows.sort((a, b) => b.top - a.top);
    const cell = (value, limit) => make("td", { class: "num" + (limit !== undefined && value >= limit ? " fail" : "") }, value === undefined ? "–" : value.toFixed(3));
    return make("table", {},
      make("thead", {}, make("tr", {}, ...["detector", "label", FIRST, SECOND, "threshold"].map((name) => make("th", {}, name)))),
      make("tbody", {}, ...rows.slice(0, 24).map((row) => make("tr", {}, make("td", {}, row.detector), make("td", {}, row.label),
        ...row.values.map((value) => cell(value, row.limit)), make("td", { class: "num" }, row.limit !== undefined ? String(row.limit) : seen.has(row.detector) ? `${seen.get(row.detector)}, to be seen` : "–")))));
  }

  function view(open) {
    const pair = state.found[state.at], box = $("view");
    state.open = open && Boolean(pair);
    if (!state.open) { if (box.open) box.close(); return; }
    const covered = [pair.before, pair.after].some(veiled);
    const position = $("slider").value;
    $("slides").className = covered ? "slides veil" : "slides";
    $("slides").replaceChildren(
      make("div", { class: "layer" }, image(pair.before, FIRST)),
      make("div", { class: "layer over" }, image(pair.after, SECOND)),
      make("i", { class: "edge" }),
      ...(covered ? [make("button", { type: "button", class: "uncover", onclick: toggle }, "click or press space to show")] : []));
    slide(position);
    $("about").replaceChildren(
      make("p", {}, make("span", { class: `tag ${WRONG.has(pair.outcome) ? "fail" : "pass"}` }, pair.outcome), ` pair ${state.at + 1} of ${state.found.length}`),
      make("p", { class: "prompt" }, ...described(pair)),
      make("p", {}, `${FIRST} shows ${pair.before.shows ?? "nothing that all detectors see"} `, ...tags(pair.before)),
      make("p", {}, `${SECOND} shows ${pair.after.shows ?? "nothing that all detectors see"} `, ...tags(pair.after)),
      make("p", {}, full(pair.before, FIRST), " · ", full(pair.after, SECOND)),
      scores(pair));
    if (!box.open) box.showModal();
  }

  /** Left of the edge the first picture, right of it the second one. */
  function slide(percent) {
    $("slides").style.setProperty("--edge", `${percent}%`);
  }

  // --- keys ---------------------------------------------------------------------------------------------
  function columns() {
    const tops = [...$("cards").children].map((node) => node.offsetTop);
    return Math.max(1, tops.filter((top) => top === tops[0]).length);
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest("input, select, textarea");
    if (field) {
      // The slider keeps its arrows; a field keeps what is typed.
      if (event.key === "Escape" && field.id === "search") { field.value = ""; field.blur(); choose(); }
      if (field.id !== "slider" || event.key.startsWith("Arrow")) return;
    }
    const step = state.open ? 1 : columns();
    const moves = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1, ArrowDown: step, ArrowUp: -step };
    if (event.key in moves) select(state.at + moves[event.key], true);
    else if (event.key === " ") { if (event.target.closest("summary, a")) return; toggle(); }
    else if (event.key === "Enter") { if (event.target.closest("button, summary, a")) return; view(true); }
    else if (event.key === "/") $("search").focus();
    else if (event.key === "b") { state.uncovered.clear(); refresh(); }
    else return;
    event.preventDefault();
  }

  function turn(pages) {
    select(Math.max(0, Math.min(state.found.length - 1, (Math.floor(state.at / PAGE) + pages) * PAGE)), true);
    $("pairs").scrollIntoView();
  }

  if (!data.pairs.length) return;
  $("pairs").hidden = false;
  if (data.all) {
    const lead = $("pairs").querySelector("p").firstChild, some = `${data.pairs.length} of ${data.all} pairs are here`;
    lead.data = lead.data.replace("every pair is here", `${some}, drawn at random from every set and outcome in turn (numbers beside filters count all)`);
  }
  Object.keys(filters).forEach(fill);
  if (data.pairs.every((pair) => pair.moved === null)) $("sort").querySelector('[value="moved"]').remove();
  for (const id of [...Object.keys(filters), "sort"]) $(id).addEventListener("change", choose);
  $("search").addEventListener("input", choose);
  $("clear").addEventListener("click", () => { for (const id of Object.keys(filters)) $(id).value = ""; $("search").value = ""; $("sort").value = "worst"; choose(); });
  $("cards").addEventListener("focusin", (event) => {
    // Whoever walks with the tab key means the card that he is on.
    const place = Number(event.target.closest(".card")?.id.slice("pair-".length));
    if (place !== state.at) select(place);
  });
  $("earlier").addEventListener("click", () => turn(-1));
  $("later").addEventListener("click", () => turn(1));
  $("slider").addEventListener("input", (event) => slide(event.target.value));
  $("shut").addEventListener("click", () => view(false));
  $("view").addEventListener("close", () => { state.open = false; });
  document.addEventListener("keydown", key);
  choose();
})();
