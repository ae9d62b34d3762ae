import { FormatError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { copyOf } from "./bytes.ts";
import { openSafetensors } from "./safetensors.ts";
import { MAX_AXES, placeOf, requireCover, SUBJECT } from "./safetensors-header.ts";

/** The longest header, in bytes: what the engine makes of text is many times as large. */
const LONGEST = 2 ** 24;

/**
 * Reads a safetensors file of 32-bit floats by what the engine has for JSON: `readSafetensors` for `spikegrad/infer`. As strict
 * about tensors; of numbers it knows the value alone, not how they are written.
 *
 * @throws FormatError as `readSafetensors`, and for any other element type
 */
export function readWeights(bytes: Uint8Array): {
  tensors: Map<string, Tensor>;
  metadata: Readonly<Record<string, string | undefined>>;
} {
  const { text, data } = openSafetensors(bytes, LONGEST);
  const { __metadata__: metadata, ...entries } = parse(text);
  const places = Object.entries(entries).map(([name, entry]) => {
    const { dtype, shape, data_offsets } = Object(entry);
    if (dtype !== "F32") throw new FormatError(`tensor "${name}".dtype`, dtype, "F32");
    for (const list of [shape, data_offsets]) {
      const whole = Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
      if (!whole || list.length > MAX_AXES)
        throw new FormatError(`${SUBJECT} "${name}"`, list, `at most ${MAX_AXES} whole numbers`);
    }
    return placeOf(name, dtype, 4, shape, data_offsets, data.length);
  });
  requireCover(places, data.length);
  const tensors = places.map(({ name, shape, begin, end }): [string, Tensor] => [
    name,
    { shape, data: new Float32Array(copyOf(data.subarray(begin, end), "tensor", name).buffer) },
  ]);
  return { tensors: new Map(tensors), metadata: Object(metadata) };
}

/** Strings of a JSON text; the group is there where one is a key. */
const STRINGS = /"(?:[^"\\]|\\.)*"(\s*:)?/g;

/** The object that a header is. No key may come twice: the engine would take the last. */
function parse(text: string): Record<string, unknown> {
  let expected = "a JSON object";
  try {
    let members = -1;
    const header = JSON.parse(text, function (this: unknown, _, value) {
      if (!Array.isArray(this)) members++;
      return value;
    });
    for (const [, key] of text.matchAll(STRINGS)) if (key) members--;
    if (text[0] === "{" && members === 0) return header;
    expected += " that has every name once";
  } catch {
    // Falls through to the same error.
  }
  throw new FormatError(SUBJECT, text, expected);
}
