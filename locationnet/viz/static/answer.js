// The parts of a panel that say an answer in words: best guess, ranked places, evidence, prior.
// Knows nothing of the page around them or of the map; all text goes in as text, never as markup.
"use strict";

const AnswerView = (() => {
  function node(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  const number = (value, digits = 0) =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const kilometres = (km) => `${number(km, km < 10 ? 1 : 0)} km`;
  const coordinates = ({ lat, lng }) => `${lat.toFixed(4)}, ${lng.toFixed(4)}`;
  const isNamed = ({ place, cell }) => Boolean(place || cell);
  const placeName = ({ place, cell }) => place || (cell ? `Cell ${cell}` : "An unnamed place");

  function percent(share) {
    if (share > 0 && share < 0.0001) return "< 0.01 %";
    if (share < 1 && share >= 0.9995) return "> 99.9 %";
    return `${number(100 * share, share < 0.01 ? 2 : 1)} %`;
  }

  // Tell screen readers, and on request the eye.
  function say(text, seen = false) {
    const status = document.getElementById("status");
    status.textContent = text;
    if (!seen) return;
    status.classList.add("seen");
    setTimeout(() => status.classList.remove("seen"), 2500);
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      say(`Copied ${text}`, true);
    } catch {
      say(`This browser does not let the page copy. The coordinates are ${text}`, true);
    }
  }

  function links(place, what) {
    const at = `${place.lat.toFixed(5)}/${place.lng.toFixed(5)}`;
    const marker = `mlat=${place.lat.toFixed(5)}&mlon=${place.lng.toFixed(5)}`;
    return node("span", { class: "links" },
      node("button", { type: "button", class: "link", "aria-label": `Copy coordinates of ${what}`,
        onclick: () => copy(coordinates(place)) }, "Copy"),
      node("a", { class: "link", target: "_blank", rel: "noopener noreferrer",
        "aria-label": `${what} on OpenStreetMap, opens in a new tab`,
        href: `https://www.openstreetmap.org/?${marker}#map=10/${at}` }, "OpenStreetMap"));
  }

  // Up, down, home and end move between the places; Enter zooms, as on any button.
  function moveBetweenPlaces(event) {
    const buttons = [...event.currentTarget.querySelectorAll(".place-button")];
    const here = buttons.indexOf(event.target);
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: buttons.length - 1 };
    if (here < 0 || !(event.key in there)) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, there[event.key]))].focus();
  }

  function placeEntry(place, largest, choose) {
    const bar = node("span", { class: "bar", "aria-hidden": "true" }, node("span"));
    bar.firstChild.style.width = `${Math.max(1, (100 * place.probability) / largest)}%`;
    return node("li", { class: "place", "data-rank": place.rank },
      node("button", { type: "button", class: "place-button", onclick: () => choose(place.rank) },
        node("span", { class: "pin pin-rank", "aria-hidden": "true" }, String(place.rank)),
        node("span", { class: "place-name" }, placeName(place)),
        node("span", { class: "place-share" }, percent(place.probability)),
        bar),
      node("div", { class: "place-fields" },
        node("span", { class: "number" }, coordinates(place)),
        node("span", { class: "cell", title: "S2 cell" }, place.cell),
        links(place, `place ${place.rank}`)));
  }

  // `choose` is called with the rank of a place that is picked; `extra` goes below the heading.
  function placeList(places, choose, extra = null) {
    const largest = Math.max(...places.map((place) => place.probability), 1e-12);
    return node("section", {},
      node("h2", { id: "places-title" }, "Ranked places"), extra,
      node("ol", { class: "places", "aria-labelledby": "places-title",
        onkeydown: moveBetweenPlaces },
      ...places.map((place) => placeEntry(place, largest, choose))));
  }

  // Mark a place of a list as the chosen one; no rank, none.
  function markChosen(panel, rank) {
    for (const entry of panel.querySelectorAll(".place")) {
      const chosen = Number(entry.dataset.rank) === rank;
      entry.classList.toggle("chosen", chosen);
      if (chosen) entry.querySelector("button").setAttribute("aria-current", "true");
      else entry.querySelector("button").removeAttribute("aria-current");
    }
  }

  function bestGuess({ best, radius_km: radius }, truth = null) {
    return node("section", { class: "best" },
      node("h2", {}, node("span", { class: "sign pin-best", "aria-hidden": "true" }),
        "Best single guess"),
      node("p", { class: "best-name" }, isNamed(best) ? placeName(best) : coordinates(best)),
      node("div", { class: "place-fields" },
        isNamed(best) ? node("span", { class: "number" }, coordinates(best)) : null,
        links(best, "the best guess")),
      node("p", {}, "Half of the probability lies within ", node("b", {}, kilometres(radius["50"])),
        " of it, nine tenths within ", node("b", {}, kilometres(radius["90"])), "."),
      truth ? node("p", { class: "truth" },
        node("span", { class: "sign pin-truth", "aria-hidden": "true" }),
        `The photo was taken at ${coordinates(truth)}, `,
        node("b", {}, kilometres(truth.km)), " from the best guess.") : null);
  }

  // `shown` says of the coloured cells their `probability`, how many `cells`, `of` how many.
  function information({ information_bits: bits }, shown) {
    return node("p", { class: "quiet" },
      "The photo moved the answer by ", node("b", {}, `${number(bits, 2)} bits`),
      ". The coloured cells hold ", `${percent(shown.probability)} of the probability `,
      `(${number(shown.cells)} of ${number(shown.of)} cells).`);
  }

  function abstention({ abstained }) {
    return abstained ? node("p", { class: "notice", id: "abstained" },
      node("b", {}, "The model abstains. "),
      "This photo says too little about where it was taken; what follows is little more than ",
      "where photos are taken anyway.") : null;
  }

  function evidence({ evidence: found }) {
    const rows = found.map(({ label, probability, bits }) => node("tr", {},
      node("th", { scope: "row" }, label),
      node("td", {}, percent(probability)), node("td", {}, `${number(bits, 2)} bits`)));
    return node("section", {},
      node("h2", { id: "evidence-title" }, "Evidence"),
      rows.length ? node("table", { "aria-labelledby": "evidence-title" },
        node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "Seen in the photo"),
          node("th", { scope: "col" }, "Sureness"), node("th", { scope: "col" }, "Moved it by"))),
        node("tbody", {}, ...rows))
        : node("p", { class: "quiet" }, "The model names nothing in this photo as its reason."));
  }

  function demoNotice(prior) {
    const [first] = prior.predictions;
    return node("p", { class: "notice", id: "demo" }, node("b", {}, "Demo model. "),
      "Real but weak: read its answer beside the prior's, which without any photo puts ",
      `${placeName(first)} first (${percent(first.probability)}).`);
  }

  function calibrationNotice({ calibrated }) {
    return calibrated === false ? node("p", { class: "notice", id: "uncalibrated" },
      node("b", {}, "Not calibrated. "),
      "Nobody has compared these probabilities with how often they are right: they order the ",
      "places, and say little about how sure to be.") : null;
  }

  // As many places as of the answer; `toggle` is called with whether the prior's map shall be shown.
  function priorSection(prior, count, toggle) {
    const button = node("button", { type: "button", id: "prior-toggle", class: "button",
      "aria-pressed": "false",
      onclick: () => toggle(button.getAttribute("aria-pressed") === "false") },
    "Show it on a map beside");
    return node("section", { class: "prior" },
      node("h2", { id: "prior-title" }, "Without looking at the photo"),
      node("p", { class: "quiet" }, "The model's answer before it sees anything (its prior). ",
        `Half of it lies within ${kilometres(prior.radius_km["50"])} of `,
        `${isNamed(prior.best) ? placeName(prior.best) : coordinates(prior.best)}.`),
      node("ol", { class: "prior-places", "aria-labelledby": "prior-title" },
        ...prior.predictions.slice(0, count).map((place) => node("li", {},
          node("span", { class: "place-name" }, placeName(place)),
          node("span", { class: "place-share" }, percent(place.probability))))),
      button);
  }

  // Say, and mark on the button, whether the prior has a map beside.
  function markPrior(on) {
    document.getElementById("prior-toggle").setAttribute("aria-pressed", String(on));
    say(on ? "A map beside shows the answer without the photo." : "The map beside is closed.");
  }

  return { node, number, kilometres, coordinates, percent, placeName, say, copy, placeList,
    markChosen, bestGuess, information, abstention, evidence, demoNotice, calibrationNotice,
    priorSection, markPrior };
})();
