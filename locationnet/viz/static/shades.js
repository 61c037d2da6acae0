// How strongly a map shows a cell: the number of its colour, and its opacity. Knows nothing of maps;
// lift_scale.py does the same for pictures, and explains it.
"use strict";

const CellShades = (() => {
  const COLOURS = 6;
  const [STRONGEST, FAINTEST, FULL_LEVEL] = [0.85, 0.12, 6];
  const [PALEST_SHADE, PALE] = [1, 0.35];

  // Where one colour ends and the next begins: equal ratios from the least to the most probable
  // cell. Nearly equal cells stay pale, and what is far below the top shares the palest colour.
  function colourSteps(probabilities) {
    const [low, top] = [Math.min(...probabilities), Math.max(...probabilities)];
    const ratio = Math.max(1.3, Math.min(3, (top / low) ** (1 / COLOURS)));
    const least = Math.max(low, top / ratio ** COLOURS);
    return Array.from({ length: COLOURS - 1 }, (_, i) =>
      Number((least * ratio ** (i + 1)).toPrecision(2)));
  }

  // The level of an S2 cell by its token.
  function levelOf(token) {
    const digit = parseInt(token.at(-1), 16);
    return 2 * token.length - 2 - Math.log2(digit & -digit) / 2;
  }

  // The number of the colour and the opacity of each cell, where colours stand for lifts; see
  // lift_scale.py, which explains the formula.
  function liftStrengths(cells, steps, abstained) {
    const top = Math.max(...cells.map(({ probability }) => probability));
    return cells.map(({ probability, lift, cell }) => {
      const shade = steps.filter((limit) => lift >= limit).length;
      const width = Math.sqrt(2 ** Math.min(0, levelOf(cell) - FULL_LEVEL));
      const strength = Math.max(FAINTEST, STRONGEST * Math.sqrt(probability / top) * width);
      return abstained ? { shade: Math.min(shade, PALEST_SHADE), opacity: PALE * strength }
        : { shade, opacity: strength };
    });
  }

  // The same where colours stand for probabilities.
  function probabilityStrengths(cells, steps, abstained) {
    return cells.map(({ probability, cell }) => {
      const width = Math.sqrt(2 ** Math.min(0, levelOf(cell) - FULL_LEVEL));
      const opacity = Math.max(FAINTEST, STRONGEST * width) * (abstained ? PALE : 1);
      return { shade: steps.filter((limit) => probability >= limit).length, opacity };
    });
  }

  return { COLOURS, colourSteps, liftStrengths, probabilityStrengths };
})();
