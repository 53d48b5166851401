// node index.mjs RUN/exports/onnx "a photo of a cat"
// Checks the tokenizer against every exported test vector, then runs the hardened encoder.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { ClipTokenizer } from "./tokenizer.mjs";

const [folder, prompt = "a photo of a cat"] = process.argv.slice(2);
if (!folder) {
  console.error("usage: node index.mjs RUN/exports/onnx [prompt]");
  process.exit(2);
}
const tokenizer = new ClipTokenizer(join(folder, "tokenizer"));
const rows = readFileSync(join(folder, "tokenizer", "test_vectors.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
const wrong = rows.filter((row) => tokenizer.encode(row.text).some((id, i) => id !== row.ids[i]));
console.log(`tokenizer: ${rows.length - wrong.length} of ${rows.length} test vectors agree`);
for (const row of wrong.slice(0, 5)) console.log(`  differs (${row.tests}): ${JSON.stringify(row.text.slice(0, 60))}`);

const session = await InferenceSession.create(join(folder, "text_encoder", "model.onnx"));
const ids = Int32Array.from(tokenizer.encode(prompt));
const output = await session.run({ input_ids: new Tensor("int32", ids, [1, ids.length]) });
const pooled = output.pooler_output;
console.log(JSON.stringify({ prompt, last_hidden_state: output.last_hidden_state.dims, pooled: [...pooled.data.slice(0, 8)].map((v) => Number(v.toFixed(4))) }));
process.exit(wrong.length ? 1 : 0);
