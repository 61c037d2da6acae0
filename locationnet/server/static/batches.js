// Has many photos located, a few at a time, and goes on where the service asks for patience.
// Knows nothing of the page: it changes the state of entries and says so.
//
// An entry is {photo, state, answer, reason}; its state is one of "waiting", "sending", "located",
// "unsure" and "failed".
"use strict";

const Batches = (() => {
  // So few that the first answers come soon, and that what is sent again after a failure is little.
  const PHOTOS = 8;
  const TRIES = 5;
  const PATIENCE_S = 2; // where the service does not say how long to wait
  const LATER = [429, 503]; // of one photo of a batch

  function pause(seconds, signal) {
    return new Promise((resolve) => {
      const ended = setTimeout(resolve, 1000 * seconds);
      signal.addEventListener("abort", () => {
        clearTimeout(ended);
        resolve();
      });
    });
  }

  function settle(entry, { answer, reason }) {
    entry.answer = answer || null;
    entry.reason = reason || "";
    entry.state = !answer ? "failed" : answer.located ? "located" : "unsure";
  }

  // Send a batch until the service takes it; null where `signal` ended it.
  async function send(batch, region, onWait, signal) {
    for (let tried = 1; ; tried += 1) {
      try {
        return await Service.locateMany(batch.map(({ photo }) => photo), region, () => {}, signal);
      } catch (error) {
        if (!LATER.includes(error.status) || tried === TRIES) throw error;
        const seconds = error.seconds || PATIENCE_S * tried;
        onWait(seconds);
        await pause(seconds, signal);
        if (signal.aborted) return null;
      }
    }
  }

  // Locate all entries that wait, at most `limit` in a request. `onChange` is called whenever the
  // state of some has changed, `onWait` with the seconds until it goes on. What the service did not
  // get waits again when this throws a Failure.
  async function locateAll(entries, limit, region, { onChange, onWait }, signal) {
    const tries = new Map();
    for (;;) {
      const batch = entries.filter(({ state }) => state === "waiting")
        .slice(0, Math.min(PHOTOS, limit));
      if (!batch.length || signal.aborted) return;
      const become = (state) => {
        batch.forEach((entry) => Object.assign(entry, { state }));
        onChange();
      };
      become("sending");
      let results;
      try {
        results = await send(batch, region, onWait, signal);
      } catch (error) {
        become("waiting");
        throw error;
      }
      if (!results) {
        become("waiting");
        return;
      }
      batch.forEach((entry, i) => {
        const tried = (tries.get(entry) || 0) + 1;
        tries.set(entry, tried);
        if (LATER.includes(results[i].status) && tried < TRIES) entry.state = "waiting";
        else settle(entry, results[i]);
      });
      onChange();
      if (batch.every(({ state }) => state === "waiting")) {
        onWait(PATIENCE_S);
        await pause(PATIENCE_S, signal);
      }
    }
  }

  return { locateAll };
})();
