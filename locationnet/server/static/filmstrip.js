// Many photos in a row, each with its state; one of them is chosen. Knows nothing of how they are
// located or shown on the map.
//
// An entry is that of Batches.
"use strict";

const Filmstrip = (() => {
  const { node } = AnswerView;
  const PIXELS = 144;
  const SIGNS = { waiting: "…", sending: "…", located: "✓", unsure: "?", failed: "!" };
  const WORDS = { waiting: "waiting", sending: "being looked at", located: "located",
    unsure: "not sure", failed: "failed" };

  // A small copy, so that fifty photos do not stay decoded; null where the browser cannot read it.
  async function thumbnail(blob) {
    try {
      const whole = await createImageBitmap(blob);
      const share = Math.min(1, PIXELS / Math.min(whole.width, whole.height));
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(whole.width * share));
      canvas.height = Math.max(1, Math.round(whole.height * share));
      canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
      whole.close();
      return await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.8); });
    } catch {
      return null;
    }
  }

  return class Filmstrip {
    // `list` is the element to fill; `onChoose` is called with the number of a chosen photo.
    constructor(list, onChoose) {
      this.list = list;
      this.onChoose = onChoose;
      this.entries = [];
      this.addresses = [];
      this.chosen = null;
      list.addEventListener("keydown", (event) => this._move(event));
    }

    show(entries) {
      this.clear();
      this.entries = entries;
      this.list.replaceChildren(...entries.map(({ photo }, i) => node("li", {},
        node("button", { type: "button", class: "frame", tabindex: i ? "-1" : "0",
          onclick: () => this.onChoose(i) },
        node("img", { alt: "", hidden: "" }),
        node("span", { class: "frame-state", "aria-hidden": "true" }),
        node("span", { class: "frame-name" }, photo.name),
        node("span", { class: "unseen frame-words" })))));
      this.update();
      this._drawThumbnails(entries);
    }

    // One after the other: decoding all at once would take gigabytes.
    async _drawThumbnails(entries) {
      for (const [i, { photo }] of entries.entries()) {
        const small = photo.blob && await thumbnail(photo.blob);
        if (this.entries !== entries) return; // others are shown by now
        if (!small) continue;
        const image = this.list.children[i].querySelector("img");
        this.addresses.push(image.src = URL.createObjectURL(small));
        image.hidden = false;
      }
    }

    // Show the state that each entry has now.
    update() {
      this.entries.forEach(({ state }, i) => {
        const frame = this.list.children[i].firstChild;
        frame.dataset.state = state;
        frame.querySelector(".frame-state").textContent = SIGNS[state];
        frame.querySelector(".frame-words").textContent = `, ${WORDS[state]}`;
      });
    }

    choose(index) {
      this.chosen = index;
      [...this.list.children].forEach(({ firstChild: frame }, i) => {
        if (i === index) frame.setAttribute("aria-current", "true");
        else frame.removeAttribute("aria-current");
        frame.tabIndex = i === (index ?? 0) ? 0 : -1;
      });
      if (index !== null) this.list.children[index].scrollIntoView({ block: "nearest", inline: "nearest" });
    }

    // Choose the next or the last photo before, and say whether there was one.
    step(by) {
      const index = this.chosen === null ? 0 : this.chosen + by;
      if (!this.entries.length || index < 0 || index >= this.entries.length) return false;
      this.onChoose(index);
      return true;
    }

    _move(event) {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const ends = { Home: 0, End: this.entries.length - 1 };
      if (by) this.step(by);
      else if (event.key in ends) this.onChoose(ends[event.key]);
      else return;
      event.preventDefault();
      event.stopPropagation();
      this.list.children[this.chosen].firstChild.focus();
    }

    clear() {
      this.addresses.forEach((address) => URL.revokeObjectURL(address));
      this.addresses = [];
      this.entries = [];
      this.chosen = null;
      this.list.replaceChildren();
    }
  };
})();
