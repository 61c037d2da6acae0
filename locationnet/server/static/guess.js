// A person's own guess: where it is, how it is made, and how far it is from the model's best point.
// Knows nothing of photos or of the service.
"use strict";

const Guess = (() => {
  const { node } = AnswerView;
  // GeoScore, as the evaluation counts it.
  const POINTS = 5000;
  const SCALE_KM = 1492.7;

  return class Guess {
    // `onChange` is called when there is another guess, or none.
    constructor(map, onChange) {
      this.map = map;
      this.onChange = onChange;
      this.point = null;
      this.points = false;
      this.area = document.querySelector(".map-area");
      this.bar = document.getElementById("guess-bar");
      this.button = document.getElementById("guess");
      this.button.addEventListener("click", () => this.start());
      const center = () => this._set(map.map.getCenter());
      document.getElementById("guess-here").addEventListener("click", center);
      document.getElementById("guess-stop").addEventListener("click", () => {
        this.stop();
        this.button.focus();
      });
      map.map.on("click", ({ latlng }) => this.isOpen && this._set(latlng));
      map.container.addEventListener("keydown", (event) => {
        if (event.target !== map.container || event.key !== "Enter" || !this.isOpen) return;
        event.preventDefault();
        center();
      });
    }

    get isOpen() {
      return !this.bar.hidden;
    }

    // Wait for a guess on the map.
    start(focus = true) {
      this.bar.hidden = false;
      this.button.hidden = true;
      this.area.classList.add("guessing");
      AnswerView.say("Guess on the map: click, or move the map and press Enter.");
      if (focus) this.map.container.focus();
      this.area.scrollIntoView({ block: "nearest" });
    }

    stop() {
      this.bar.hidden = true;
      this.button.hidden = false;
      this.area.classList.remove("guessing");
    }

    // Forget the guess.
    clear() {
      this.point = null;
      this.map.showGuess(null);
    }

    _set({ lat, lng }) {
      this.stop();
      this.point = { lat: Math.max(-90, Math.min(90, lat)), lng: lng - 360 * Math.round(lng / 360) };
      this.map.showGuess(this.point);
      this.onChange();
    }

    // The part of the panel that compares the guess with an answer; null where there is none.
    section({ best }) {
      if (!this.point) return null;
      const km = LocationMap.distanceKm(this.point, best);
      const wanted = node("input", { type: "checkbox", id: "points",
        onchange: () => {
          this.points = wanted.checked;
          points.hidden = !wanted.checked;
        } });
      wanted.checked = this.points;
      const score = Math.round(POINTS * Math.exp(-km / SCALE_KM));
      const points = node("p", { id: "score" },
        node("b", {}, `${AnswerView.number(score)} of ${AnswerView.number(POINTS)} points. `),
        "Measured from the model's best point: the true place is not known here.");
      points.hidden = !this.points;
      return node("section", { class: "guess" },
        node("h2", {}, node("span", { class: "sign pin-guess", "aria-hidden": "true" }),
          "Your guess"),
        node("p", {}, node("b", {}, AnswerView.kilometres(km)), " from the model's best point. ",
          node("span", { class: "quiet number" }, AnswerView.coordinates(this.point))),
        node("label", { class: "check" }, wanted,
          node("span", {}, "Count points (GeoScore)")), points,
        node("button", { type: "button", id: "remove-guess", class: "button", onclick: () => {
          this.clear();
          this.onChange();
        } }, "Remove the guess"));
    }
  };
})();
