// Fills the panel beside the map of a page that carries its answers inside, for one photo or many.
// Knows nothing of how an answer is worded or of how the map is drawn.
"use strict";

(() => {
  const { node } = AnswerView;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const page = read("page-data");
  const panel = document.getElementById("panel");
  const showAll = document.getElementById("show-all");

  const state = { photo: 0 };
  const library = new Library(page.items, (index) => show(index, "all-photos"));

  // Cells of the page are shared by all photos: an answer names them by number.
  function cellsOf(shown) {
    return shown.cells.map(([index, probability, lift]) =>
      ({ rings: page.cells[index], cell: page.tokens[index], probability, lift }));
  }

  const item = () => page.items[state.photo];

  function choose(rank) {
    map.zoomTo(rank);
    AnswerView.markChosen(panel, rank);
  }

  function setPrior(on) {
    if (on) {
      const { answer } = page.prior;
      const predictions = answer.predictions.slice(0, item().answer.predictions.length);
      prior.show({ ...answer, predictions }, cellsOf(page.prior));
    } else {
      prior.hide();
      map.fit();
    }
    AnswerView.markPrior(on);
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
      node("button", { type: "button", id: "all-photos", class: "button",
        onclick: () => showAllPhotos("library-title") }, "All photos"),
      node("label", { for: "photo-list" }, `Photo ${state.photo + 1} of ${page.items.length}`),
      node("div", { class: "selector-row" }, step(-1, "photo-previous", "Previous"), list,
        step(1, "photo-next", "Next")));
  }

  // Show all photos together.
  function showAllPhotos(focused) {
    prior.hide();
    const before = page.prior && page.prior.answer;
    panel.replaceChildren(...[before && AnswerView.demoNotice(before), library.view(map)]
      .filter((part) => part !== null));
    if (focused) document.getElementById(focused).focus();
  }

  function picture({ thumbnail, title }) {
    return thumbnail ? node("img", { class: "photo", src: thumbnail, alt: title }) : null;
  }

  // Show one photo, and keep the keyboard where it was.
  function show(index, focused) {
    state.photo = index;
    prior.hide();
    const { answer, shown, truth } = item();
    const before = page.prior && page.prior.answer;
    panel.replaceChildren(...[selector(), picture(item()), ...AnswerView.answer(answer, { choose, truth, shown,
      count: answer.predictions.length, prior: before, onPrior: setPrior })].filter(Boolean));
    map.show(answer, cellsOf(item()), { area: item().area.flatMap((index) => page.cells[index]), truth });
    map.fit(false);
    if (!focused) return;
    AnswerView.say(`Photo ${index + 1} of ${page.items.length}: ${item().title}`);
    const target = document.getElementById(focused);
    (target.disabled ? document.getElementById("photo-list") : target).focus();
  }

  const land = read("land-data");
  const map = new LocationMap(document.getElementById("map"), land, choose);
  const prior = new PriorMap(map, (container) => {
    const own = new LocationMap(container, land, (rank) => own.zoomTo(rank));
    return own;
  }, () => {
    setPrior(false);
    document.getElementById("prior-toggle").focus();
  });
  showAll.addEventListener("click", () => map.fit());
  if (page.items.length > 1 && page.items.some(({ thumbnail }) => thumbnail)) {
    showAllPhotos(null);
  } else if (page.items.length) {
    show(0, null);
  } else {
    showAll.hidden = true;
    panel.replaceChildren(node("p", {}, "There are no photos to show: none could be located."));
  }
})();
