// Takes a photo, or the address of one, from what a person chose, dropped or pasted.
// Knows nothing of the page or of the service; says in a sentence why something is no photo.
"use strict";

const Photos = (() => {
  const starts = (bytes, text, at = 0) =>
    [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
  const TYPES = {
    "image/jpeg": (bytes) => starts(bytes, "\xff\xd8\xff"),
    "image/png": (bytes) => starts(bytes, "\x89PNG"),
    "image/webp": (bytes) => starts(bytes, "RIFF") && starts(bytes, "WEBP", 8),
    "image/avif": (bytes) => named(bytes, "avif", "avis"),
    "image/heic": (bytes) => named(bytes, "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm",
      "hevs") || (named(bytes, "mif1", "msf1") && !named(bytes, "avif", "avis")),
  };
  const NAMES = { "image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WebP",
    "image/avif": "AVIF", "image/heic": "HEIC" };

  // Whether a file of the family of MP4 names one of some brands.
  function named(bytes, ...brands) {
    if (!starts(bytes, "ftyp", 4)) return false;
    const end = Math.min(bytes[2] * 256 + bytes[3], bytes.length);
    for (let at = 8; at + 4 <= end; at += at === 8 ? 8 : 4) {
      if (brands.some((brand) => starts(bytes, brand, at))) return true;
    }
    return false;
  }

  // Such as "JPEG, PNG or WebP".
  function list(types) {
    const names = types.map((type) => NAMES[type]);
    return `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
  }

  function megabytes(bytes) {
    const size = bytes / 2 ** 20;
    if (size < 1) return `${Math.ceil(bytes / 2 ** 10)} kB`;
    return `${Number(size.toFixed(size < 10 ? 1 : 0))} MB`;
  }

  // Resolve to {name, blob, type}, or throw an Error whose message is for the reader.
  // By its first bytes: a name or a declared type may be missing or wrong. `types` are what the server
  // reads.
  async function fromFile(file, maxBytes, types) {
    let bytes;
    try {
      bytes = new Uint8Array(await file.slice(0, 256).arrayBuffer());
    } catch {
      throw new Error("The browser cannot read that. Is it a folder?");
    }
    if (!file.size) throw new Error("That file is empty.");
    const type = Object.keys(TYPES).find((name) => TYPES[name](bytes));
    if (type && !types.includes(type)) {
      throw new Error(`That is a ${NAMES[type]} photo. Save it as JPEG first: this server reads `
        + `${list(types)}.`);
    }
    if (!type) throw new Error(`That file is no photo that this server reads: ${list(types)}.`);
    if (starts(bytes, "ftyp", 4) && file.size < bytes[2] * 256 + bytes[3]) {
      throw new Error(`That ${NAMES[type]} photo is cut off.`);
    }
    if (file.size > maxBytes) {
      throw new Error(`That photo is too large: it has ${megabytes(file.size)}, and this server `
        + `reads up to ${megabytes(maxBytes)}.`);
    }
    return { name: file.name || "Pasted photo", blob: file, type };
  }

  // Return {name, url}, or throw an Error whose message is for the reader.
  function fromAddress(text) {
    const address = text.trim();
    const url = URL.canParse(address) ? new URL(address) : null;
    if (!url || !/^https?:$/.test(url.protocol)) {
      throw new Error("That is no address of a photo: it must begin with https:// or http://.");
    }
    return { name: address, url: address };
  }

  // What was dropped or pasted: {files, text}.
  function fromTransfer(transfer) {
    const text = transfer.getData("text/uri-list") || transfer.getData("text/plain");
    const lines = text.split(/\r?\n/).filter((line) => line && !line.startsWith("#"));
    return { files: [...transfer.files], text: lines[0] || "" };
  }

  return { fromFile, fromAddress, fromTransfer, list, megabytes };
})();
