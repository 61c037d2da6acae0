// All photos of a page together: a list with thumbnails, filters by country and certainty, and a marker
// for each on the map. Knows nothing of how one answer is worded in full.
"use strict";

const Library = (() => {
  const { node, say } = AnswerView;
  const CERTAINTIES = { located: "located", unsure: "not sure", none: "do not say where" };

  const certainty = ({ answer }) =>
    (answer.abstained ? "none" : answer.located ? "located" : "unsure");
  // What a photo is counted under; the countries of an answer that abstains are everybody's.
  const country = ({ answer }) => (answer.abstained ? null : answer.countries[0] || null);
  // Where a photo is on the map: at what is likely, or else at what it raised most.
  function place(item) {
    const { located, cities, raised, predictions } = item.answer;
    return (located ? cities[0] : raised[0]) || predictions[0];
  }

  // In a few words: the sentence is long where the model is not sure.
  function words(item) {
    const { answer } = item;
    if (certainty(item) !== "unsure") return answer.summary;
    const { name, place: cell, lift } = place(item);
    const times = lift < 9.95 ? lift.toFixed(1) : Math.round(lift).toLocaleString("en");
    return `Not sure: raised ${name || cell || "a cell"} most, × ${times}`;
  }

  // The sizes of groups, the largest first: [[name, text, count], …].
  function counted(items, group) {
    const counts = new Map();
    items.forEach((item) => {
      const found = group(item);
      if (!found) return;
      const [name, text] = found;
      counts.set(name, [name, text, ((counts.get(name) || [])[2] || 0) + 1]);
    });
    return [...counts.values()].sort((a, b) => b[2] - a[2] || a[1].localeCompare(b[1]));
  }

  return class Library {
    // `onPhoto` is called with the number of a photo that is picked.
    constructor(items, onPhoto) {
      this.items = items;
      this.onPhoto = onPhoto;
      this.filters = { country: "", certainty: "" };
    }

    // Put the photos on a map, and return the list of them.
    view(map) {
      this.map = map;
      this.list = node("ol", { class: "library", "aria-labelledby": "library-title" });
      this.title = node("h2", { id: "library-title", tabindex: "-1" });
      const countries = counted(this.items, (item) => {
        const found = country(item);
        return found && [found.country, found.name];
      });
      const certainties = counted(this.items, (item) => {
        const found = certainty(item);
        return [found, CERTAINTIES[found]];
      });
      const section = node("section", {}, this.title,
        node("div", { class: "filters" },
          this._filter("country", "Country", "All countries", countries),
          this._filter("certainty", "Certainty", "All photos", certainties)),
        this.list);
      this._update();
      return section;
    }

    _filter(name, label, all, groups) {
      const list = node("select", { id: `filter-${name}`, onchange: ({ target }) => {
        this.filters[name] = target.value;
        this._update();
        say(this.title.textContent);
      } }, node("option", { value: "" }, all), ...groups.map(([value, text, count]) =>
        node("option", { value }, `${text || "Unknown"} (${count})`)));
      list.value = this.filters[name];
      return node("label", { class: "filter" }, node("span", {}, label), list);
    }

    _isShown(item) {
      const { country: code, certainty: level } = this.filters;
      if (level && certainty(item) !== level) return false;
      return !code || (country(item) || {}).country === code;
    }

    _update() {
      const shown = this.items.map((item, i) => ({ item, i })).filter(({ item }) => this._isShown(item));
      const all = this.items.length;
      this.title.textContent = shown.length === all ? `${all} photos` : `${shown.length} of ${all} photos`;
      this.list.replaceChildren(...shown.map(({ item, i }) => this._entry(item, i)));
      const placed = shown.filter(({ item }) => certainty(item) !== "none");
      this.map.showPhotos(placed.map(({ item, i }) => {
        const { lat, lng } = place(item);
        return { lat, lng, text: String(i + 1), image: item.thumbnail,
          className: certainty(item) === "located" ? "" : "unsure",
          label: `${item.title}: ${words(item)}` };
      }), (picked) => this.onPhoto(placed[picked].i));
      this.map.fit(false);
    }

    _entry(item, i) {
      const picture = item.thumbnail
        ? node("img", { src: item.thumbnail, alt: "", loading: "lazy" })
        : node("span", { class: "pin pin-rank", "aria-hidden": "true" }, String(i + 1));
      return node("li", {}, node("button", { type: "button", class: "library-photo",
        "data-certainty": certainty(item), onclick: () => this.onPhoto(i) },
      picture, node("span", { class: "library-name" }, item.title),
      node("span", { class: "library-words" }, words(item))));
    }
  };
})();
