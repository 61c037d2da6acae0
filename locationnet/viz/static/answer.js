// The parts of a panel that say an answer in words: headline, countries, places, what was raised, details.
// Knows nothing of the page around them or of the map; all text goes in as text, never as markup.
"use strict";

const AnswerView = (() => {
  // As summary.py says it.
  const WHAT_HELPS = "A landmark, a street, a sign or a landscape says more than things that are everywhere.";

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

  // Shares and lifts as summary.py writes them.
  function percent(share) {
    const percents = 100 * share;
    if (percents > 99.5) return share < 1 ? "more than 99 %" : "100 %";
    if (percents > 0 && percents < 0.005) return "less than 0.01 %";
    if (percents > 0 && percents < 0.05) return `${number(percents, 2)} %`;
    if (!percents) return "0 %";
    return `${number(percents, percents < 9.95 ? 1 : 0)} %`;
  }

  function times(lift) {
    if (lift >= 9.95) return `× ${number(lift)}`;
    return `× ${lift >= 0.095 ? number(lift, 1) : Number(lift.toPrecision(2))}`;
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

  // A share of 100 %, to be compared with those of any other answer.
  function bar(share) {
    const made = node("span", { class: "bar", "aria-hidden": "true" }, node("span"));
    made.firstChild.style.width = `${100 * share}%`;
    return made;
  }

  function placeEntry(place, choose) {
    return node("li", { class: "place", "data-rank": place.rank },
      node("button", { type: "button", class: "place-button", onclick: () => choose(place.rank) },
        node("span", { class: "pin-rank", "aria-hidden": "true" }, String(place.rank)),
        node("span", { class: "place-name" }, placeName(place)),
        node("span", { class: "place-share" }, percent(place.probability)),
        bar(place.probability), lift(place)),
      node("div", { class: "place-fields" },
        place.cells > 1 ? node("span", {}, `${number(place.cells)} cells`) : null,
        node("span", { class: "number" }, coordinates(place)),
        links(place, `place ${place.rank}`)));
  }

  const lift = (place) => node("span", { class: "place-lift" }, times(place.lift));

  // `choose` is called with the rank of a place that is picked; `extra` goes below the heading.
  function placeList(places, choose, extra = null) {
    return node("section", {},
      node("h2", { id: "places-title" }, "Most likely places"), extra,
      node("ol", { class: "places", "aria-labelledby": "places-title",
        onkeydown: moveBetweenPlaces },
      ...places.map((place) => placeEntry(place, choose))));
  }

  // Names with their shares and lifts, as a list with a heading.
  function shares(id, title, groups, after = null) {
    return groups.length ? node("section", {},
      node("h2", { id }, title),
      node("ol", { class: "shares", "aria-labelledby": id }, ...groups.map((group) => node("li", {},
        node("span", { class: "place-name" }, group.name),
        node("span", { class: "place-share" }, percent(group.probability)),
        bar(group.probability), lift(group)))), after) : null;
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

  // The sentence that sums an answer up; of "Not sure. …" the first words are the headline.
  function headline({ summary, abstained, explanation }) {
    const [first, rest] = summary.split(/(?<=^Not sure[^.]*)\. /);
    return node("section", { class: "headline" },
      node("h2", { id: "headline" }, rest ? `${first}.` : first),
      rest ? node("p", { id: "headline-rest" }, `${rest}.`) : null,
      abstained ? node("p", { id: "abstained" }, WHAT_HELPS) : null,
      ...(explanation && !abstained ? [node("p", { id: "explanation" }, `${explanation.replaceAll("× ", "×\u00a0")}.`),
        node("p", { class: "quiet" }, "× 2 is twice as likely as without the photo.")] : []));
  }

  // What the photo raised, with how often such hints were right.
  function raised({ raised: groups, hint }) {
    const after = hint ? node("p", { class: "quiet", id: "hint" }, hint.text) : null;
    return shares("raised-title", "What the photo raised", groups.slice(0, 4), after);
  }

  // What needs explaining first; `shown` says of the coloured cells their `probability`, how many
  // `cells`, `of` how many; `extra` is put below.
  function details(answer, shown, extra = null) {
    return node("details", { id: "details", class: "details" }, node("summary", {}, "Details"),
      bestPoint(answer), evidence(answer), neighbours(answer), cellTable(answer),
      node("p", { class: "quiet" },
        "The photo moved the answer by ", node("b", {}, `${number(answer.information_bits, 2)} bits`),
        `. The coloured cells hold ${percent(shown.probability)} of the probability `,
        `(${number(shown.cells)} of ${number(shown.of)} cells).`),
      extra);
  }

  function bestPoint({ best, radius_km: radius }) {
    return node("section", { class: "best" },
      node("h3", {}, "Best single point for the score (GeoScore)"),
      node("p", {}, isNamed(best) ? `${placeName(best)}, ` : "",
        node("span", { class: "number" }, coordinates(best)), " ", links(best, "the best point")),
      node("p", { class: "quiet" }, `Half of the probability lies within ${kilometres(radius["50"])} of it, `,
        `nine tenths within ${kilometres(radius["90"])}.`));
  }

  function cellTable({ predictions }) {
    return node("section", {},
      node("h3", { id: "cells-title" }, "Most likely cells"),
      node("table", { "aria-labelledby": "cells-title" },
        node("thead", {}, node("tr", {}, ...["S2 cell", "Level", "Share", "Lift"]
          .map((name) => node("th", { scope: "col" }, name)))),
        node("tbody", {}, ...predictions.slice(0, 5).map((place) => node("tr", {},
          node("th", { scope: "row" }, node("span", { class: "cell" }, place.cell)),
          node("td", {}, String(place.level)), node("td", {}, percent(place.probability)),
          node("td", {}, times(place.lift)))))));
  }

  function truthNote({ best }, truth) {
    return truth ? node("p", { class: "truth" },
      node("span", { class: "sign pin-truth", "aria-hidden": "true" }),
      `The photo was taken at ${coordinates(truth)}, `, node("b", {}, kilometres(truth.km)),
      ` from the best point${isNamed(best) ? `, ${placeName(best)}` : ""}.`) : null;
  }

  // All that is said of an answer, as parts of a panel. Where the model abstains, what it would say
  // all the same is folded away. `parts` holds those that differ from page to page: `shown` and
  // `more` for the details, `choose` and `count` for the places, `extra` below their heading,
  // `truth`, `game`, and `prior` with `onPrior`.
  function answer(found, { choose, count, extra, shown, more, truth, game, prior, onPrior }) {
    const places = LocationMap.ranked(found).slice(0, count);
    // Where no place can be named, what changed says more than what is likely anyway.
    const demo = prior ? demoNotice(prior) : null;
    const rest = [
      found.abstained ? null : calibrationNotice(found), found.located ? null : raised(found),
      shares("countries-title", "Countries", found.countries.slice(0, 4)),
      placeList(places, choose, extra), found.located ? raised(found) : demo,
      prior ? priorSection(prior, count, onPrior) : null,
      details(found, shown, more),
    ].filter(Boolean);
    return [
      headline(found), found.located ? demo : null, truthNote(found, truth),
      ...(found.abstained ? [node("details", { class: "all-the-same" },
        node("summary", {}, "What the model would answer all the same"), ...rest)] : rest),
      game,
    ].filter(Boolean);
  }

  // Photos of others: their names and pages are text from a table, never markup.
  function neighbours({ neighbours: found }) {
    if (!found || !found.length) return null;
    const rows = found.map((one) => node("tr", {},
      node("th", { scope: "row" }, one.page
        ? node("a", { href: one.page, rel: "noopener noreferrer nofollow", target: "_blank" }, one.id)
        : one.id),
      node("td", {}, number(one.similarity, 2)),
      node("td", {}, `${number(one.distance_km, 1)} km`),
      node("td", {}, [one.author, one.licence].filter(Boolean).join(" · "))));
    return node("section", { id: "neighbours" },
      node("h3", { id: "neighbours-title" }, "Look-alikes"),
      node("table", { "aria-labelledby": "neighbours-title" },
        node("thead", {}, node("tr", {}, ...["Photo", "Similarity", "From first place", "Whose"]
          .map((title) => node("th", { scope: "col" }, title)))),
        node("tbody", {}, ...rows)));
  }

  function evidence({ evidence: found }) {
    const rows = found.map(({ label, probability, bits }) => node("tr", {},
      node("th", { scope: "row" }, label),
      node("td", {}, percent(probability)), node("td", {}, `${number(bits, 2)} bits`)));
    return node("section", {},
      node("h3", { id: "evidence-title" }, "Evidence"),
      rows.length ? node("table", { "aria-labelledby": "evidence-title" },
        node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "Seen in the photo"),
          node("th", { scope: "col" }, "Sureness"), node("th", { scope: "col" }, "Moved it by"))),
        node("tbody", {}, ...rows))
        : node("p", { class: "quiet" }, "The model names nothing in this photo as its reason."));
  }

  function demoNotice(prior) {
    const [first] = prior.predictions;
    return node("p", { class: "notice", id: "demo" }, node("b", {}, "Demo model. "),
      "Real but weak: read its answer beside what it says without any photo, which puts ",
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

  return { node, number, kilometres, coordinates, percent, times, say, copy, markChosen, answer,
    demoNotice, markPrior };
})();
