import type { Network } from "../index.ts";
import { draw, type Picture, pictureOf } from "./picture.ts";
import { clean, styleOf } from "./terminal.ts";

/** One sample to classify. */
export interface Sample {
  readonly name: string;
  readonly values: Float32Array | Uint8Array;
  /** Key of its random numbers: its place in its set. */
  readonly place: number;
  readonly label?: number;
}

/** Classifies samples one by one and draws them on standard output with the answers. */
export async function predictAndDraw(network: Network, samples: readonly Sample[]): Promise<void> {
  const style = styleOf(process.stdout);
  const pictures: { picture: Picture; caption: string }[] = [];
  for (const { name, values, place, label } of samples) {
    // The same random numbers, and so the same answer, as in an evaluation of the whole set.
    const { outputs, classes } = await network.predict(values, { firstSample: place });
    const verdict = label === undefined ? "" : classes[0] === label ? " right" : ` WRONG: is ${label}`;
    const caption = `${clean(name, 40)}: ${classes[0]}${verdict}`;
    const picture = pictureOf(values, network.inputShape);
    if (picture) pictures.push({ picture, caption });
    else process.stdout.write(`${caption}, output ${outputs.data[classes[0]!]!.toFixed(3)}\n`);
  }
  process.stdout.write(draw(pictures, style));
}
