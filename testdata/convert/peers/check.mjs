// Reads a GGUF file with Hugging Face's npm package.
//
//	npm install --no-save @huggingface/gguf && node check.mjs FILE.gguf
import { gguf, GGMLQuantizationType } from "@huggingface/gguf";

const { metadata, tensorInfos } = await gguf(process.argv[2], { allowLocalFile: true });
const types = {};
for (const t of tensorInfos) {
  const name = GGMLQuantizationType[t.dtype];
  types[name] = (types[name] ?? 0) + 1;
}
console.log("architecture", metadata["general.architecture"], "prediction", metadata["sdgo.prediction"]);
console.log(tensorInfos.length, "tensors;", types);
