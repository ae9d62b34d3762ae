import { avgPool2d, conv2d, dense, dropout, type LayerDescriptor } from "../index.ts";

/** A network that has a name. */
export interface Preset {
  readonly about: string;
  /** @param probability of dropout after each hidden weight layer, 0 for none */
  readonly layers: (probability: number) => LayerDescriptor[];
}

const dropped = (layer: LayerDescriptor, probability: number): LayerDescriptor[] =>
  probability > 0 ? [layer, dropout(probability)] : [layer];

/** Networks by the names that the command line knows. */
export const PRESETS: Readonly<Record<string, Preset>> = {
  lenet: {
    about: "20C5p2-2A-50C5p2-2A-200-10, the LeNet of Lee et al. 2020",
    layers: (p) => [
      ...dropped(conv2d(20, 5, { padding: 2 }), p),
      avgPool2d(2),
      ...dropped(conv2d(50, 5, { padding: 2 }), p),
      avgPool2d(2),
      ...dropped(dense(200), p),
      dense(10),
    ],
  },
};
