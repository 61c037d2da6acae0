// Fills the panel beside the map of a page that carries its answers inside, for one photo or many.
// Knows nothing of how an answer is worded or of how the map is drawn.
"use strict";

(() => {
  const { node } = AnswerView;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const page = read("page-data");
  const panel = document.getElementById("panel");
  const showAll = document.getElementById("show-all");

  const state = { photo: 0, prior: false };
  const library = new Library(page.items, (index) => show(index, "all-photos"));

  // Cells of the page are shared by all photos: an answer names them by number.
  function cellsOf(shown) {
    return shown.cells.map(([index, probability]) =>
      ({ rings: page.cells[index], probability }));
  }

  const item = () => page.items[state.photo];

  function drawMap(animate) {
    const shown = state.prior ? page.prior : item();
    map.show(shown.answer, cellsOf(shown), item().truth);
    map.fit(animate);
  }

  // A place of the list, or of the map when it shows the photo's answer.
  function choose(rank) {
    if (state.prior) setPrior(false);
    map.zoomTo(rank);
    AnswerView.markChosen(panel, rank);
  }

  function setPrior(on) {
    state.prior = on;
    drawMap(true);
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
    state.prior = false;
    document.getElementById("prior-badge").hidden = true;
    const prior = page.prior && page.prior.answer;
    panel.replaceChildren(...[prior && AnswerView.demoNotice(prior), library.view(map)]
      .filter((part) => part !== null));
    if (focused) document.getElementById(focused).focus();
  }

  function picture({ thumbnail, title }) {
    return thumbnail ? node("img", { class: "photo", src: thumbnail, alt: title }) : null;
  }

  // Show one photo, and keep the keyboard where it was.
  function show(index, focused) {
    state.photo = index;
    state.prior = false;
    document.getElementById("prior-badge").hidden = true;
    const { answer, shown, truth } = item();
    const prior = page.prior && page.prior.answer;
    panel.replaceChildren(...[
      selector(), picture(item()), prior && AnswerView.demoNotice(prior), AnswerView.calibrationNotice(answer),
      AnswerView.abstention(answer),
      AnswerView.bestGuess(answer, truth), AnswerView.placeList(answer.predictions, choose),
      AnswerView.information(answer, shown), AnswerView.evidence(answer),
      prior && AnswerView.priorSection(prior, setPrior),
    ].filter((part) => part !== null));
    drawMap(false);
    if (!focused) return;
    AnswerView.say(`Photo ${index + 1} of ${page.items.length}: ${item().title}`);
    const target = document.getElementById(focused);
    (target.disabled ? document.getElementById("photo-list") : target).focus();
  }

  const map = new LocationMap(document.getElementById("map"), read("land-data"),
    (rank) => (state.prior ? map.zoomTo(rank) : choose(rank)));
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
