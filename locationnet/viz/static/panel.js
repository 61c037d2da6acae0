// Fills the panel beside the map: which photo, its ranked places, how sure, the evidence, the prior.
// Knows nothing of how the map is drawn; all text goes in as text, never as markup.
"use strict";

(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const page = read("page-data");
  const panel = document.getElementById("panel");
  const status = document.getElementById("status");
  const showAll = document.getElementById("show-all");

  const state = { photo: 0, prior: false };

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
  const placeName = ({ place, cell }) => place || (cell ? `Cell ${cell}` : "An unnamed place");

  function percent(share) {
    if (share > 0 && share < 0.0001) return "< 0.01 %";
    if (share < 1 && share >= 0.9995) return "> 99.9 %";
    return `${number(100 * share, share < 0.01 ? 2 : 1)} %`;
  }

  // Cells of the page are shared by all photos: an answer names them by number.
  function cellsOf(shown) {
    return shown.cells.map(([index, probability]) =>
      ({ rings: page.cells[index], probability }));
  }

  const item = () => page.items[state.photo];

  function drawMap(animate) {
    const shown = state.prior ? page.prior : item();
    document.getElementById("prior-badge").hidden = !state.prior;
    map.show(shown.answer, cellsOf(shown), item().truth);
    map.fit(animate);
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      status.textContent = `Copied ${text}`;
    } catch {
      status.textContent = `This browser does not let the page copy. The coordinates are ${text}`;
    }
    status.classList.add("seen");
    setTimeout(() => status.classList.remove("seen"), 2500);
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

  // A place of the list, or of the map when it shows the photo's answer.
  function choose(rank) {
    if (state.prior) setPrior(false);
    map.zoomTo(rank);
    for (const entry of panel.querySelectorAll(".place")) {
      const chosen = Number(entry.dataset.rank) === rank;
      entry.classList.toggle("chosen", chosen);
      if (chosen) entry.querySelector("button").setAttribute("aria-current", "true");
      else entry.querySelector("button").removeAttribute("aria-current");
    }
  }

  // Up, down, home and end move between the places; Enter zooms, as on any button.
  function moveBetweenPlaces(event) {
    const buttons = [...panel.querySelectorAll(".place-button")];
    const here = buttons.indexOf(event.target);
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: buttons.length - 1 };
    if (here < 0 || !(event.key in there)) return;
    event.preventDefault();
    const next = buttons[Math.max(0, Math.min(buttons.length - 1, there[event.key]))];
    next.focus();
  }

  function placeEntry(place, largest) {
    const bar = node("span", { class: "bar", "aria-hidden": "true" }, node("span"));
    bar.firstChild.style.width = `${Math.max(1, (100 * place.probability) / largest)}%`;
    return node("li", { class: "place", "data-rank": place.rank },
      node("button", { type: "button", class: "place-button", onclick: () => choose(place.rank) },
        node("span", { class: "pin pin-rank", "aria-hidden": "true" }, String(place.rank)),
        node("span", { class: "place-name" }, placeName(place)),
        node("span", { class: "place-share" }, percent(place.probability)),
        bar),
      node("div", { class: "place-facts" },
        node("span", { class: "number" }, coordinates(place)),
        node("span", { class: "cell", title: "S2 cell" }, place.cell),
        links(place, `place ${place.rank}`)));
  }

  function placeList(answer) {
    const largest = Math.max(...answer.predictions.map((place) => place.probability), 1e-12);
    return node("section", {},
      node("h2", { id: "places-title" }, "Ranked places"),
      node("ol", { class: "places", "aria-labelledby": "places-title",
        onkeydown: moveBetweenPlaces },
      ...answer.predictions.map((place) => placeEntry(place, largest))));
  }

  function bestGuess({ answer, truth }) {
    const { best, radius_km: radius } = answer;
    return node("section", { class: "best" },
      node("h2", {}, node("span", { class: "sign pin-best", "aria-hidden": "true" }),
        "Best single guess"),
      node("p", { class: "best-name" }, placeName(best)),
      node("div", { class: "place-facts" }, node("span", { class: "number" }, coordinates(best)),
        links(best, "the best guess")),
      node("p", {}, "Half of the probability lies within ", node("b", {}, kilometres(radius["50"])),
        " of it, nine tenths within ", node("b", {}, kilometres(radius["90"])), "."),
      truth ? node("p", { class: "truth" },
        node("span", { class: "sign pin-truth", "aria-hidden": "true" }),
        `The photo was taken at ${coordinates(truth)}, `,
        node("b", {}, kilometres(truth.km)), " from the best guess.") : null);
  }

  function information({ answer, shown }) {
    return node("p", { class: "quiet" },
      "The photo moved the answer by ", node("b", {}, `${number(answer.information_bits, 2)} bits`),
      ". The coloured cells hold ", `${percent(shown.probability)} of the probability `,
      `(${number(shown.cells)} of ${number(shown.of)} cells).`);
  }

  function abstention({ answer }) {
    return answer.abstained ? node("p", { class: "notice", id: "abstained" },
      node("b", {}, "The model abstains. "),
      "This photo says too little about where it was taken; what follows is little more than ",
      "where photos are taken anyway.") : null;
  }

  function evidence({ answer }) {
    const rows = answer.evidence.map(({ label, probability, bits }) => node("tr", {},
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

  function setPrior(on) {
    state.prior = on;
    drawMap(true);
    const toggle = document.getElementById("prior-toggle");
    toggle.setAttribute("aria-pressed", String(on));
    status.textContent = on ? "The map shows the answer without the photo."
      : "The map shows the answer for the photo.";
  }

  function priorSection() {
    if (!page.prior) return null;
    const { answer } = page.prior;
    return node("section", { class: "prior" },
      node("h2", { id: "prior-title" }, "Without looking at the photo"),
      node("p", { class: "quiet" }, "The model's answer before it sees anything (its prior). ",
        "Half of it lies within ", `${kilometres(answer.radius_km["50"])} of `,
        `${placeName(answer.best)}.`),
      node("ol", { class: "prior-places", "aria-labelledby": "prior-title" },
        ...answer.predictions.map((place) => node("li", {},
          node("span", { class: "place-name" }, placeName(place)),
          node("span", { class: "place-share" }, percent(place.probability))))),
      node("button", { type: "button", id: "prior-toggle", class: "button", "aria-pressed": "false",
        onclick: () => setPrior(!state.prior) }, "Show the prior on the map"));
  }

  function selector() {
    if (page.items.length < 2) return node("p", { class: "photo-name" }, item().title);
    const last = page.items.length - 1;
    const list = node("select", { id: "photo-list",
      onchange: (event) => show(Number(event.target.value), "photo-list") },
    ...page.items.map(({ title }, i) => node("option", { value: i }, title)));
    list.value = String(state.photo);
    const step = (by, id, text) => node("button", { type: "button", id, class: "button",
      disabled: state.photo + by < 0 || state.photo + by > last ? "" : null,
      onclick: () => show(state.photo + by, id) }, text);
    return node("nav", { class: "selector", "aria-label": "Photos" },
      node("label", { for: "photo-list" }, `Photo ${state.photo + 1} of ${page.items.length}`),
      node("div", { class: "selector-row" }, step(-1, "photo-previous", "Previous"), list,
        step(1, "photo-next", "Next")));
  }

  // Show one photo, and keep the keyboard where it was.
  function show(index, focused) {
    state.photo = index;
    state.prior = false;
    panel.replaceChildren(...[
      selector(),
      page.prior ? node("p", { class: "notice", id: "demo" }, node("b", {}, "Demo model. "),
        "Real but weak: read its answer beside the prior's.") : null,
      abstention(item()), bestGuess(item()), placeList(item().answer), information(item()),
      evidence(item()), priorSection(),
    ].filter((part) => part !== null));
    drawMap(false);
    if (!focused) return;
    status.textContent = `Photo ${index + 1} of ${page.items.length}: ${item().title}`;
    const target = document.getElementById(focused);
    (target.disabled ? document.getElementById("photo-list") : target).focus();
  }

  const map = new LocationMap(document.getElementById("map"), read("land-data"),
    (rank) => (state.prior ? map.zoomTo(rank) : choose(rank)));
  showAll.addEventListener("click", () => map.fit());
  if (page.items.length) {
    show(0, null);
  } else {
    showAll.hidden = true;
    panel.replaceChildren(node("p", {}, "There are no photos to show: none could be located."));
  }
})();
