// The page: takes a photo, has it located, and shows the answer in the panel and on the map.
// Knows nothing of how a photo is read, sent or drawn.
"use strict";

(() => {
  const { node, say } = AnswerView;
  const byId = (id) => document.getElementById(id);
  const options = document.body.dataset;
  const MAX_BYTES = Number(options.maxBytes);
  const TYPES = byId("file").accept.split(",").filter((type) => type.startsWith("image/"));
  const COUNTS = [3, 5, 10, 25, 100];
  const PRODUCT = "LocationNet";

  const [intro, photoCard, problem, keyForm, result] =
    ["intro", "photo", "problem", "key-form", "result"].map(byId);
  const [thumbnail, file, address] = ["thumbnail", "file", "url"].map(byId);

  const state = { photo: null, answer: null, count: 5, running: null, taking: 0 };

  byId("limits").textContent = `${Photos.list(TYPES)}, up to ${Photos.megabytes(MAX_BYTES)}.`;

  // The map.

  const map = new LocationMap(byId("map"), null, choose);
  map.fit(false);
  byId("tile-note").hidden = !options.tileUrl;
  let land = null; // asked for once, also where two maps draw it
  drawLand(map);

  // Nobody waits for the land: without it everything else works.
  async function drawLand(on) {
    try {
      land ||= fetch(options.land).then((answer) => answer.json());
      on.drawLand(await land);
    } catch {
      land = null;
      say("The coasts could not be loaded.", true);
    }
    if (options.tileUrl) on.addTiles(options.tileUrl, options.tileAttribution);
  }

  const prior = new PriorMap(map, (container) => {
    const own = new LocationMap(container, null, (rank) => own.zoomTo(rank));
    drawLand(own);
    return own;
  }, () => {
    setPrior(false);
    byId("prior-toggle").focus();
  });

  const album = new Album(byId("album"), Number(options.batch),
    { onChoose: showEntry, onKey: askForKey });
  const region = new KnownRegion(map, (known) => {
    if (album.isOpen) album.locateAnew(known);
    else if (state.photo) locate();
  });

  const guess = new Guess(map, () => {
    if (!state.answer) return;
    showAnswer();
    result.focus({ preventScroll: true });
    say(guess.outcome(state.answer));
  });

  function choose(rank) {
    map.zoomTo(rank);
    AnswerView.markChosen(result, rank);
  }

  function setPrior(on) {
    if (on) {
      showPrior();
    } else {
      prior.hide();
      map.fit();
    }
    AnswerView.markPrior(on);
  }

  // The places are there at once, the cells when they have come.
  async function showPrior() {
    const { answer } = state;
    const { predictions } = answer.prior;
    const show = () => prior.show(
      { ...answer.prior, predictions: predictions.slice(0, state.count) }, answer.priorCells || []);
    show();
    if (answer.priorCells) return;
    try {
      answer.priorCells = await Service.prior(region.known);
      if (prior.isOpen && state.answer === answer) show();
    } catch (error) {
      if (state.answer !== answer) return;
      if (error.needsKey) askForKey(error, () => setPrior(true));
      else say(error.message, true);
    }
  }

  async function toggleCells() {
    const button = byId("show-cells");
    const on = button.getAttribute("aria-pressed") === "false";
    button.disabled = true;
    try {
      await drawCells(on ? map.view() : null);
      button.setAttribute("aria-pressed", String(on));
      const of = AnswerView.number(Number(options.cells));
      say(on ? `The grid of ${of} cells is shown; zoom in for the smaller ones.`
        : "Only the answer's cells are shown.");
    } catch (error) {
      if (error.needsKey) askForKey(error, toggleCells);
      else say(error.message, true);
    } finally {
      button.disabled = false;
      button.focus();
    }
  }

  // What of the grid is shown, or will be when it has come.
  let gridView = null;

  async function drawCells(view) {
    const before = gridView;
    gridView = view;
    try {
      const cells = view && await Service.cells({ zoom: view.zoom, bbox: view.bbox });
      if (gridView === view) map.showGrid(cells);
    } catch (error) {
      if (gridView === view) gridView = before;
      throw error;
    }
  }

  function followCells() {
    if (!gridView) return;
    const view = map.view(gridView);
    if (view !== gridView) drawCells(view).catch((error) => say(error.message, true));
  }

  // The panel.

  // As many cities, or cells, as chosen.
  function places() {
    const { cities, predictions } = state.answer;
    return { cities: cities.slice(0, state.count), predictions: cities.length ? predictions
      : predictions.slice(0, state.count) };
  }

  function countChoice() {
    const most = LocationMap.ranked(state.answer).length;
    const list = node("select", { id: "count", onchange: () => {
      state.count = Number(list.value);
      showAnswer();
      byId("count").focus();
    } }, ...COUNTS.filter((count, i) => !i || COUNTS[i - 1] < most)
      .map((count) => node("option", { value: count }, String(Math.min(count, most)))));
    list.value = String(state.count);
    return node("div", { class: "count" }, node("label", { for: "count" }, "How many"), list);
  }

  function drawn({ heatmap: { features } }) {
    const probability = features.reduce((sum, { properties }) => sum + properties.probability, 0);
    return { probability, cells: features.length, of: Number(options.cells) };
  }

  function timing({ timing_ms: { fetch: fetching, decode, infer }, model }) {
    const parts = [["fetching", fetching], ["decoding", decode], ["recognising", infer]]
      .filter(([, ms]) => ms > 0).map(([name, ms]) => `${name} ${AnswerView.number(ms)} ms`);
    return node("p", { class: "quiet", id: "timing" },
      `Model ${model.name} ${model.version}. Time on the server: ${parts.join(", ")}.`);
  }

  function showAnswer() {
    const { answer } = state;
    const waiting = byId("guess-first").checked && !guess.point && !state.revealed;
    byId("show-all").hidden = waiting;
    result.hidden = false;
    if (waiting) {
      map.clear();
      result.replaceChildren(node("h2", {}, "Where was it taken?"),
        node("p", {}, "The answer is ready. Make your guess on the map first."),
        node("div", { class: "row" },
          node("button", { type: "button", id: "reveal", class: "button", onclick: () => {
            state.revealed = true;
            guess.stop();
            showAnswer();
            result.focus({ preventScroll: true });
          } }, "Show the answer without a guess")));
      document.title = `Your turn – ${PRODUCT}`;
      return;
    }
    state.revealed = true;
    photoCard.classList.add("small");
    result.replaceChildren(...AnswerView.answer(answer, { choose, count: state.count, extra: countChoice(),
      shown: drawn(answer), more: timing(answer), game: guess.section(answer), prior: answer.prior,
      onPrior: setPrior }));
    map.show({ ...answer, ...places() }, Service.outlines(answer.heatmap),
      { area: Service.outlines(answer.area).flatMap(({ rings }) => rings), truth: guess.truth });
    if (prior.isOpen) setPrior(true);
    else map.fit(false);
    document.title = `${answer.summary.split(". ")[0]} – ${PRODUCT}`;
  }

  function announce() {
    say(byId("reveal") ? "The answer is ready. Your guess first." : state.answer.summary);
  }

  // A photo on its way.

  function showPhoto(photo) {
    if (thumbnail.src) URL.revokeObjectURL(thumbnail.src);
    thumbnail.removeAttribute("src");
    thumbnail.hidden = true;
    if (photo.blob) thumbnail.src = URL.createObjectURL(photo.blob);
    byId("photo-name").textContent = photo.name;
    byId("photo-fields").textContent = photo.blob ? Photos.megabytes(photo.blob.size)
      : "Fetched by the server; this page does not load it.";
    photoCard.classList.remove("small");
    photoCard.hidden = false;
    intro.hidden = true;
  }
  thumbnail.addEventListener("load", () => {
    thumbnail.hidden = false;
  });

  function clearAnswer() {
    state.answer = null;
    state.revealed = false;
    result.hidden = true;
    result.replaceChildren();
    hideProblem();
    keyForm.hidden = true;
    byId("show-all").hidden = true;
    prior.hide();
    map.clear();
  }

  function setWorking(on) {
    byId("working").hidden = !on;
    byId("cancel").hidden = !on;
    byId("another").hidden = on;
    document.body.classList.toggle("busy", on);
  }

  function step(share) {
    const bar = byId("progress");
    const sending = share < 1;
    const text = sending ? "Sending the photo…"
      : state.photo.url ? "The server fetches the photo and looks at it…"
        : "Looking at the photo…";
    if (byId("step").textContent !== text) {
      byId("step").textContent = text;
      say(text);
    }
    if (sending) bar.value = share;
    else bar.removeAttribute("value");
  }

  // Several photos.

  const MARKS = { located: "", unsure: "unsure" };

  // An entry of the album, or null for all of them on one map.
  function showEntry(entry) {
    stopRequest();
    clearAnswer();
    guess.clear();
    state.photo = entry && entry.photo;
    photoCard.hidden = true;
    if (!entry) {
      const shown = album.entries.map((one, i) => ({ ...one, i })).filter(({ answer }) => answer);
      map.showPhotos(shown.map(({ answer, photo, state: came, i }) => {
        const { lat, lng } = answer.predictions[0];
        return { lat, lng, text: String(i + 1), className: MARKS[came],
          label: `${photo.name}: ${answer.summary}` };
      }), (picked) => album.choose(shown[picked].i));
      map.fit(false);
      document.title = `${album.entries.length} photos – ${PRODUCT}`;
      return;
    }
    showPhoto(entry.photo);
    byId("another").hidden = true;
    if (entry.state === "failed") fail(entry.reason);
    else if (entry.answer) showWhole(entry);
  }

  // The answers of a batch hold no cells: those of the chosen photo are asked for.
  async function showWhole(entry) {
    const running = state.running = new AbortController();
    try {
      entry.whole ||= await Service.locate(entry.photo, region.known, () => {}, running.signal);
      if (!entry.whole || state.running !== running) return;
      state.answer = entry.whole;
      showAnswer();
    } catch (error) {
      if (state.running !== running) return;
      if (!(error instanceof Service.Failure)) throw error;
      if (error.needsKey) askForKey(error, () => showEntry(entry));
      else fail(error.message, error.retry ? () => showEntry(entry) : null);
    } finally {
      if (state.running === running) state.running = null;
    }
  }

  // Back to the beginning.
  function reset() {
    stopRequest();
    album.close();
    region.clear();
    clearAnswer();
    guess.stop();
    guess.clear();
    state.photo = null;
    photoCard.hidden = true;
    intro.hidden = false;
    map.fit(true);
    document.title = `${PRODUCT}: where was this photo taken?`;
  }

  function stopRequest() {
    state.taking += 1; // whoever is still reading a file gives up
    if (state.running) state.running.abort();
    state.running = null;
    setWorking(false);
  }

  // Say why there is no answer; `again` tries once more.
  function fail(message, again) {
    problem.replaceChildren(node("p", {}, node("b", {}, "That did not work. "), message));
    if (again) {
      problem.append(node("button", { type: "button", id: "again", class: "button",
        onclick: again }, "Try again"));
    }
    photoCard.after(problem);
    problem.hidden = false;
    document.title = `That did not work – ${PRODUCT}`;
    problem.scrollIntoView({ block: "nearest" });
  }

  // An address that leads to no answer stays in its field, with the reason below, to be mended.
  function failAddress(text, message, again) {
    photoCard.hidden = true;
    intro.hidden = false;
    address.value = text;
    fail(message, again);
    byId("url-form").append(problem);
    address.setAttribute("aria-invalid", "true");
    address.setAttribute("aria-describedby", "problem");
    address.focus({ preventScroll: true });
    problem.scrollIntoView({ block: "nearest" });
  }

  function hideProblem() {
    problem.hidden = true;
    address.removeAttribute("aria-invalid");
    address.removeAttribute("aria-describedby");
  }

  function askForKey(error, again) {
    if (error.message) fail(error.message);
    keyForm.hidden = false;
    keyForm.onsubmit = (event) => {
      event.preventDefault();
      Service.useKey(byId("key").value);
      byId("key").value = "";
      keyForm.hidden = true;
      hideProblem();
      again();
    };
    byId("key").focus();
  }

  async function locate() {
    const { photo } = state;
    stopRequest();
    clearAnswer();
    if (photoCard.hidden) showPhoto(photo);
    const running = state.running = new AbortController();
    setWorking(true);
    step(photo.url ? 1 : 0);
    document.title = `Locating… – ${PRODUCT}`;
    byId("cancel").focus({ preventScroll: true });
    try {
      const answer = await Service.locate(photo, region.known, step, running.signal);
      if (!answer || state.running !== running) return; // cancelled, or replaced by another photo
      state.answer = answer;
      setWorking(false);
      showAnswer();
      announce();
      result.focus({ preventScroll: true });
      if (byId("reveal")) guess.start("guess", false);
      window.scrollTo({ top: 0 });
    } catch (error) {
      if (state.running !== running) return;
      if (!(error instanceof Service.Failure)) throw error;
      setWorking(false);
      const again = error.retry ? locate : null;
      if (error.needsKey) askForKey(error, locate);
      else if (photo.url) failAddress(photo.url, error.message, again);
      else fail(error.message, again);
    } finally {
      if (state.running === running) state.running = null;
    }
  }

  // Take what was chosen: a function that returns, or resolves to, a photo of Photos. `refuse` says
  // why it does not.
  async function take(read, refuse = fail) {
    stopRequest();
    const taking = state.taking;
    let photo;
    try {
      photo = await read();
    } catch (error) {
      if (taking !== state.taking) return;
      if (album.isOpen) {
        fail(error.message);
      } else {
        if (state.photo) reset();
        refuse(error.message);
      }
      return;
    }
    if (taking !== state.taking) return; // another one was chosen meanwhile
    guess.stop();
    guess.clear();
    album.close();
    state.photo = photo;
    showPhoto(photo);
    map.fit(false);
    await locate();
  }

  function takeAddress(text) {
    return take(() => Photos.fromAddress(text), (message) => failAddress(text, message));
  }

  function takeFiles(files) {
    const read = (one) => Photos.fromFile(one, MAX_BYTES, TYPES);
    if (files.length === 1) return take(() => read(files[0]));
    reset();
    intro.hidden = true;
    return album.open(files, read);
  }

  // What people do.

  byId("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    const files = [...file.files];
    file.value = ""; // so that the same file can be chosen again
    if (files.length) takeFiles(files);
  });
  byId("url-form").addEventListener("submit", (event) => {
    event.preventDefault();
    takeAddress(address.value);
  });
  byId("cancel").addEventListener("click", () => {
    reset();
    say("Cancelled.");
    byId("choose").focus();
  });
  byId("another").addEventListener("click", () => {
    reset();
    byId("choose").focus();
  });
  byId("other-photos").addEventListener("click", () => {
    reset();
    byId("choose").focus();
  });
  byId("show-all").addEventListener("click", () => map.fit());
  byId("show-cells").addEventListener("click", toggleCells);
  map.onMove(followCells);

  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input")) return;
    const { files, text } = Photos.fromTransfer(event.clipboardData);
    if (!files.length && !text) return;
    event.preventDefault();
    if (files.length) takeFiles(files);
    else takeAddress(text);
  });

  // Entering a child fires before leaving its parent: what is dragged is gone when both are even.
  let depth = 0;
  const dragging = (by) => {
    depth = by ? Math.max(0, depth + by) : 0;
    document.body.classList.toggle("dragging", depth > 0);
  };
  document.addEventListener("dragenter", () => dragging(1));
  document.addEventListener("dragleave", () => dragging(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(0);
    const { files, text } = Photos.fromTransfer(event.dataTransfer);
    if (files.length) takeFiles(files);
    else if (text) takeAddress(text);
    else say("There was no photo in that.", true);
  });
})();
