// The review page: a day's photos, the place proposed for one of them, and what a person says to it.
// Knows the routes of review.py; a change that the server did not take is not shown.
"use strict";

(() => {
  const token = document.body.dataset.token;
  const at = (id) => document.getElementById(id);
  const RUN_GAP_S = 3600; // photos of a run follow one another within an hour
  const STEP = 1 / 40; // of the map's width, for a pin moved by keys
  const NO_DAY = "without a time";

  let photos = [];
  let days = [];
  let day = 0;
  let current = null;
  let pin = null; // where the current photo would be accepted: [lat, lng] or null
  const done = []; // changes that undo takes back, each a list of {number, place}
  let busy = Promise.resolve();

  const map = new LocationMap(at("map"), null, () => {});
  const layer = L.layerGroup().addTo(map.map);

  const say = (text) => { at("status").textContent = text; };
  const km = (value) => (value < 1 ? `${Math.round(1000 * value)} m` : `${Number(value.toPrecision(2)).toLocaleString("en")} km`);

  async function send(changes) {
    const answer = await fetch("decisions", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Token": token },
      body: JSON.stringify({ changes }),
    });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  // What would bring a photo back to how it is now.
  const back = (photo) => ({
    number: photo.number,
    place: photo.state === "accepted" ? [photo.lat, photo.lng] : photo.rejected ? null : "forget",
  });

  // One after the other, so that undo takes back what came last.
  function change(changes, undoing) {
    busy = busy.then(async () => {
      const byNumber = new Map(photos.map((photo) => [photo.number, photo]));
      const before = changes.map(({ number }) => back(byNumber.get(number)));
      try {
        (await send(changes)).forEach((row) => Object.assign(byNumber.get(row.number), row));
      } catch (error) {
        say(`Not saved: ${error.message}`);
        at("state").textContent = `Not saved: ${error.message}`;
        return;
      }
      if (!undoing) done.push(before);
      at("undo").disabled = !done.length;
      changes.forEach(({ number }) => mark(byNumber.get(number)));
      counts();
      if (undoing) show(byNumber.get(changes[0].number));
      else nextProposal();
    });
    return busy;
  }

  const decidable = (photo) => photo && photo.state !== "known";

  function accept() {
    if (decidable(current) && pin) change([{ number: current.number, place: pin }]);
  }

  function reject() {
    if (decidable(current)) change([{ number: current.number, place: null }]);
  }

  function acceptRun() {
    if (!decidable(current) || !pin) return;
    const line = days[day].photos;
    const here = line.indexOf(current);
    const run = [current];
    [-1, 1].forEach((step) => {
      for (let i = here + step; i >= 0 && i < line.length; i += step) {
        if (line[i].state !== "proposed" || Math.abs(line[i].when - line[i - step].when) > RUN_GAP_S) break;
        run.push(line[i]);
      }
    });
    change(run.map((photo) => ({
      number: photo.number, place: photo === current ? pin : [photo.lat, photo.lng],
    })));
  }

  function undo() {
    const last = done.pop();
    if (last) change(last, true);
  }

  function counts() {
    const open = photos.filter((photo) => photo.state === "proposed").length;
    const accepted = photos.filter((photo) => photo.state === "accepted").length;
    at("counts").textContent = `${open.toLocaleString("en")} proposed, ${accepted.toLocaleString("en")} accepted, ${photos.length.toLocaleString("en")} photos`;
  }

  const button = (photo) => document.querySelector(`#film [data-number="${photo.number}"]`);

  function mark(photo) {
    const found = button(photo);
    if (found) {
      found.dataset.state = photo.state;
      found.setAttribute("aria-label", `${photo.name}, ${photo.time}, ${photo.state}`);
    }
  }

  function showDay(index, photo) {
    day = index;
    at("day").value = String(index);
    const film = at("film");
    film.replaceChildren(...days[index].photos.map((one) => {
      const item = document.createElement("li");
      const open = document.createElement("button");
      open.type = "button";
      open.dataset.number = one.number;
      const image = document.createElement("img");
      image.loading = "lazy";
      image.alt = "";
      image.src = `thumb/${one.number}?token=${token}`;
      open.append(image);
      open.addEventListener("click", () => show(one));
      item.append(open);
      return item;
    }));
    days[index].photos.forEach(mark);
    show(photo || days[index].photos[0]);
  }

  function show(photo) {
    const index = days.findIndex((one) => one.name === photo.day);
    if (index !== day) {
      showDay(index, photo);
      return;
    }
    const before = document.querySelector('#film [aria-current="true"]');
    if (before) before.removeAttribute("aria-current");
    current = photo;
    pin = photo.lat === null ? null : [photo.lat, photo.lng];
    const chosen = button(photo);
    chosen.setAttribute("aria-current", "true");
    chosen.scrollIntoView({ block: "nearest", inline: "center" });
    at("photo").src = `thumb/${photo.number}?token=${token}`;
    at("photo").alt = photo.name;
    at("name").textContent = photo.name;
    at("time").textContent = photo.day === NO_DAY ? NO_DAY : `${photo.day} ${photo.time}`;
    const sure = photo.radius === null ? "" : `, half of the probability within ${km(photo.radius)}`;
    at("state").textContent = photo.state + sure;
    at("reasons").replaceChildren(...photo.reasons.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    ["accept", "accept-run", "reject"].forEach((id) => { at(id).disabled = !decidable(photo); });
    draw(true);
    say(`${photo.name}, ${photo.state}. ${photo.reasons.join("; ")}`);
  }

  function draw(move) {
    layer.clearLayers();
    const known = days[day].photos.filter((photo) => photo.state === "known" || photo.state === "accepted");
    known.filter((photo) => photo !== current).slice(0, 500).forEach((photo) => {
      L.marker([photo.lat, photo.lng], {
        icon: L.divIcon({ className: "known-dot", iconSize: [10, 10] }), title: `${photo.name} ${photo.time}`, keyboard: false,
      }).addTo(layer);
    });
    if (!pin) return;
    if (current.radius !== null) {
      L.circle(pin, { radius: 1000 * Math.min(current.radius, 9000), weight: 2, color: "#b35900", fillOpacity: 0.08, interactive: false }).addTo(layer);
    }
    const marker = L.marker(pin, {
      icon: L.divIcon({ className: "pin-here", iconSize: [18, 18] }), draggable: decidable(current), keyboard: false, zIndexOffset: 1000,
    }).addTo(layer);
    marker.on("dragend", () => movePin(marker.getLatLng()));
    if (move) map.map.setView(pin, current.radius > 300 ? 3 : current.radius > 30 ? 6 : 9, { animate: false });
  }

  function movePin(point) {
    if (!decidable(current)) return;
    const { lat, lng } = L.latLng(point).wrap();
    pin = [Math.max(-90, Math.min(90, lat)), lng];
    draw(false);
    say(`Pin at ${pin.map((part) => part.toFixed(4)).join(", ")}`);
  }

  function step(by) {
    const line = days[day].photos;
    const next = line[line.indexOf(current) + by];
    if (next) show(next);
    else if (days[day + by]) showDay(day + by, by < 0 ? days[day + by].photos.at(-1) : undefined);
  }

  function nextProposal() {
    const here = photos.indexOf(current);
    const next = photos.slice(here + 1).concat(photos.slice(0, here)).find((photo) => photo.state === "proposed");
    show(next || current);
    if (!next) say("No proposals are left");
  }

  function help() {
    at("keys").hidden = !at("keys").hidden;
    at("keys-button").setAttribute("aria-expanded", String(!at("keys").hidden));
  }

  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function nudge([across, down]) {
    if (!pin) pin = [map.map.getCenter().lat, map.map.getCenter().lng];
    const size = STEP * map.map.getSize().x;
    const point = map.map.latLngToContainerPoint(pin).add([across * size, down * size]);
    movePin(map.map.containerPointToLatLng(point));
  }

  const KEYS = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), n: nextProposal, a: accept, A: acceptRun, r: reject, u: undo, "?": help,
    PageUp: () => days[day - 1] && showDay(day - 1), PageDown: () => days[day + 1] && showDay(day + 1),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
    if (!current) return;
    const action = event.shiftKey && MOVES[event.key] ? () => nudge(MOVES[event.key]) : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation(); // the map has keys of its own
    busy.then(action);
  }, true);

  map.map.on("click", (event) => movePin(event.latlng));
  at("accept").addEventListener("click", accept);
  at("accept-run").addEventListener("click", acceptRun);
  at("reject").addEventListener("click", reject);
  at("undo").addEventListener("click", undo);
  at("keys-button").addEventListener("click", help);
  at("day").addEventListener("change", () => showDay(Number(at("day").value)));

  async function start() {
    const [answer, land] = await Promise.all([
      fetch(`photos.json?token=${token}`), fetch(document.body.dataset.land),
    ]);
    map.drawLand(await land.json());
    photos = await answer.json();
    const byDay = new Map();
    photos.forEach((photo) => {
      if (!byDay.has(photo.day)) byDay.set(photo.day, []);
      byDay.get(photo.day).push(photo);
    });
    days = [...byDay].map(([name, list]) => ({ name, photos: list }));
    at("day").replaceChildren(...days.map(({ name, photos: list }, i) => new Option(`${name} (${list.length})`, i)));
    counts();
    if (!days.length) {
      say("The library is empty");
      return;
    }
    const first = photos.find((photo) => photo.state === "proposed") || photos[0];
    showDay(days.findIndex(({ name }) => name === first.day), first);
  }

  start().catch((error) => { at("state").textContent = `Cannot be loaded: ${error.message}`; });
})();
