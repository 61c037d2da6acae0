// Several photos at once: has them located, counts what came of them, and offers the results as files.
// Knows nothing of how one answer is shown.
"use strict";

const Album = (() => {
  const { node, say } = AnswerView;
  const MOST = 50;
  const COUNTED = [["located", "located"], ["unsure", "not sure"], ["failed", "failed"]];

  return class Album {
    // `limit` is the number of photos that a request may hold. `onChoose` is called with an entry (see
    // Batches) whose turn it is, or null for all of them together; `onKey` with the Failure that asks
    // for a key, and what to call then.
    constructor(section, limit, { onChoose, onKey }) {
      const part = (name) => section.querySelector(`.album-${name}`);
      this.section = section;
      this.limit = limit;
      this.onChoose = onChoose;
      this.onKey = onKey;
      this.entries = [];
      this.sending = null;
      [this.count, this.bar, this.again, this.stop, this.all, this.files] =
        ["count", "progress", "again", "stop", "all", "files"].map(part);
      this.strip = new Filmstrip(part("strip"), (index) => this.choose(index));
      this.again.addEventListener("click", () => this.locate());
      this.stop.addEventListener("click", () => this.end());
      this.all.addEventListener("click", () => this.choose(null));
      this.files.addEventListener("click", ({ target }) => {
        if (target.dataset.kind) Results.download(this.entries, target.dataset.kind);
      });
      // Wherever the eye is; where something of its own moves by these keys, they are its.
      document.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by || !this.isOpen || event.defaultPrevented) return;
        if (event.target.closest("input, select, textarea, #map, .places")) return;
        if (this.strip.step(by)) event.preventDefault();
      });
    }

    get isOpen() {
      return this.entries.length > 0;
    }

    // Take files, and locate them. `read` resolves to a photo of Photos, or rejects with the reason.
    async open(files, read) {
      this.close();
      const chosen = files.slice(0, MOST);
      const entries = this.entries = await Promise.all(chosen.map(async (file) => {
        try {
          return { photo: await read(file), state: "waiting", answer: null, reason: "" };
        } catch (error) {
          return { photo: { name: file.name }, state: "failed", answer: null, reason: error.message };
        }
      }));
      if (files.length > MOST) {
        say(`The first ${MOST} of ${files.length} photos are located.`, true);
      }
      this.section.hidden = false;
      this.strip.show(entries);
      this.choose(null);
      await this.locate();
    }

    // Locate what waits; asked again, go on where it ended.
    async locate(region = this.region || {}) {
      this.end();
      this.region = region;
      const { entries } = this;
      const sending = this.sending = new AbortController();
      const isOurs = () => this.sending === sending;
      let failure = null;
      this._update();
      try {
        await Batches.locateAll(entries, this.limit, region, {
          onChange: () => isOurs() && this._update(),
          onWait: (seconds) => isOurs()
            && say(`The server is busy: it goes on in ${Math.ceil(seconds)} seconds.`, true),
        }, sending.signal);
      } catch (error) {
        if (!isOurs()) return;
        if (!(error instanceof Service.Failure)) throw error;
        failure = error;
        this.problem = error.message;
      }
      if (!isOurs()) return;
      this.sending = null;
      this._update();
      say(this._counts());
      // Last: who shows all photos anew takes away what else is asked.
      if (failure && failure.needsKey) this.onKey(failure, () => this.locate());
    }

    // Locate all anew, where something else is known of where they are from.
    locateAnew(region) {
      this.end();
      this.entries.filter(({ photo }) => photo.blob)
        .forEach((entry) => Object.assign(entry, { state: "waiting", answer: null, whole: null }));
      this.choose(null);
      return this.locate(region);
    }

    // Show one photo by its number, or all of them.
    choose(index) {
      this.strip.choose(index);
      this.all.setAttribute("aria-pressed", String(index === null));
      const entry = index === null ? null : this.entries[index];
      if (entry) say(`Photo ${index + 1} of ${this.entries.length}: ${entry.photo.name}`);
      this._show(entry);
    }

    _show(entry) {
      this.shownState = entry && entry.state;
      this.onChoose(entry);
    }

    // Stop sending; what has come stays.
    end() {
      if (this.sending) this.sending.abort();
      this.sending = null;
      this.problem = "";
      // The batch on its way is given up: nobody will say what came of it.
      this.entries.filter(({ state }) => state === "sending")
        .forEach((entry) => Object.assign(entry, { state: "waiting" }));
      this._update();
    }

    close() {
      this.end();
      this.entries = [];
      this.region = {};
      this.strip.clear();
      this.section.hidden = true;
    }

    _counts() {
      const of = (name) => this.entries.filter(({ state }) => state === name).length;
      const counts = COUNTED.map(([name, words]) => `${of(name)} ${words}`).join(", ");
      const left = of("waiting") + of("sending");
      return left ? `${counts}, ${left} to go` : counts;
    }

    _update() {
      if (!this.isOpen) return;
      const done = this.entries.filter(({ answer, reason }) => answer || reason).length;
      const left = this.entries.length - done;
      this.count.replaceChildren(...[node("b", {}, this._counts()), this.problem
        && ` ${this.problem}`].filter(Boolean));
      this.bar.max = this.entries.length;
      this.bar.value = done;
      this.bar.hidden = !this.sending;
      this.stop.hidden = !this.sending;
      this.again.hidden = Boolean(this.sending) || !left;
      this.files.hidden = !done;
      this.strip.update();
      const chosen = this.strip.chosen === null ? null : this.entries[this.strip.chosen];
      // All are drawn anew as they come; one, when its own answer has come.
      if (!chosen || chosen.state !== this.shownState) this._show(chosen);
    }
  };
})();
