// CLIP's byte-level BPE from vocab.json and merges.txt, in plain JavaScript. Check it with the exported test_vectors.jsonl.
import { readFileSync } from "node:fs";
import { join } from "node:path";

// Bytes that print as themselves keep their character; the others get one from 256 upwards.
function byteCharacters() {
  const table = new Map();
  for (let b = 0; b < 256; b++) {
    const prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    if (prints) table.set(b, String.fromCharCode(b));
  }
  let next = 256;
  for (let b = 0; b < 256; b++) if (!table.has(b)) table.set(b, String.fromCharCode(next++));
  return table;
}

export class ClipTokenizer {
  constructor(folder, length = 77) {
    this.vocabulary = new Map(Object.entries(JSON.parse(readFileSync(join(folder, "vocab.json"), "utf8"))));
    const lines = readFileSync(join(folder, "merges.txt"), "utf8").split("\n").slice(1).filter(Boolean);
    this.ranks = new Map(lines.map((line, rank) => [line, rank]));
    const config = JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8"));
    const text = (token) => (typeof token === "string" ? token : token.content);
    this.start = this.vocabulary.get(text(config.bos_token));
    this.end = this.vocabulary.get(text(config.eos_token));
    this.pad = this.vocabulary.get(text(config.pad_token));
    this.length = length;
    this.bytes = byteCharacters();
    this.words = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;
  }

  // Join the pair of lowest rank until no pair is in the table.
  merge(parts) {
    while (parts.length > 1) {
      let best = -1;
      let bestRank = Infinity;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (rank < bestRank) [best, bestRank] = [i, rank];
      }
      if (best < 0) break;
      parts.splice(best, 2, parts[best] + parts[best + 1]);
    }
    return parts;
  }

  // Text to `length` ids: start, at most length - 2 tokens, end, padding.
  encode(text) {
    const clean = [...text.normalize("NFC").replace(/\s+/gu, " ")].map((c) => c.toLowerCase()).join("");
    const ids = [];
    for (const [word] of clean.matchAll(this.words)) {
      if (word === "<|startoftext|>" || word === "<|endoftext|>") {
        ids.push(this.vocabulary.get(word));
        continue;
      }
      const parts = [...new TextEncoder().encode(word)].map((b) => this.bytes.get(b));
      parts[parts.length - 1] += "</w>";
      for (const part of this.merge(parts)) ids.push(this.vocabulary.get(part) ?? this.end);
    }
    const whole = [this.start, ...ids.slice(0, this.length - 2), this.end];
    return [...whole, ...Array(this.length - whole.length).fill(this.pad)];
  }
}
