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
  };
  const isHEIC = (bytes) => starts(bytes, "ftyp", 4)
    && ["heic", "heix", "mif1", "msf1"].some((brand) => starts(bytes, brand, 8));

  function megabytes(bytes) {
    const size = bytes / 2 ** 20;
    if (size < 1) return `${Math.ceil(bytes / 2 ** 10)} kB`;
    return `${Number(size.toFixed(size < 10 ? 1 : 0))} MB`;
  }

  // Resolve to {name, blob, type}, or throw an Error whose message is for the reader.
  // By its first bytes: a name or a declared type may be missing or wrong.
  async function fromFile(file, maxBytes) {
    let bytes;
    try {
      bytes = new Uint8Array(await file.slice(0, 16).arrayBuffer());
    } catch {
      throw new Error("The browser cannot read that. Is it a folder?");
    }
    if (!file.size) throw new Error("That file is empty.");
    const type = Object.keys(TYPES).find((name) => TYPES[name](bytes));
    if (!type && isHEIC(bytes)) {
      throw new Error("That is a HEIC photo. Save it as JPEG first: this server reads JPEG, PNG "
        + "and WebP.");
    }
    if (!type) throw new Error("That file is no photo that this server reads: JPEG, PNG or WebP.");
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

  return { fromFile, fromAddress, fromTransfer, megabytes };
})();
